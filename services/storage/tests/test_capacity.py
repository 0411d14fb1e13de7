"""What is left and how long it lasts, as the gauges say it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from gantry_dicom.errors import BadRequest
from gantry_index.capacity import rooms, totals
from gantry_index.writer import IndexWriter
from gantry_objectstore.store import open_store
from gantry_storage import capacity as module
from gantry_storage.capacity import CapacityKeeper, CapacitySettings
from gantry_testing.index_records import index_record
from pydantic import ValidationError

SIZE = 1350


@pytest.fixture
async def files(file_url):
    store = open_store(file_url)
    yield store
    await store.close()


async def receive(parts, days_ago, count, first):
    records = [
        index_record(order=first + n, study="1.1", series="1.1.1", sop=f"9.{first + n}") for n in range(count)
    ]
    for record in records:
        received = datetime.now(UTC) - timedelta(days=days_ago)
        record.reception.received_at_us = round(received.timestamp() * 1e6)
    await IndexWriter(parts.pool).index_chunk(records)


def value(gauge, *labels):
    return gauge.labels(*labels)._value.get()


async def test_a_quota_is_used_up_in_as_many_days_as_the_line_says(parts, files):
    for days_ago in range(1, 31):
        await receive(parts, days_ago, 2, 100 * days_ago)
    quota = 60 * SIZE + 200 * SIZE
    keeper = CapacityKeeper(parts.pool, {"main": files}, CapacitySettings(quotas=f"main={quota}"))
    await keeper.turn()
    assert value(module.BYTES, "main", "main") == 60 * SIZE
    assert value(module.INSTANCES, "main", "main") == 60
    assert value(module.ROOM, "main") == 200 * SIZE
    assert value(module.DAYS_LEFT, "main") == pytest.approx(100)
    [room] = await rooms(parts.pool)
    assert (room.room_bytes, room.quota_bytes) == (200 * SIZE, quota)


async def test_without_a_quota_the_disk_counts_and_what_does_not_grow_lasts_for_ever(parts, files):
    await CapacityKeeper(parts.pool, {"main": files}, CapacitySettings()).turn()
    free = shutil.disk_usage(files.root).free
    assert value(module.ROOM, "main") == pytest.approx(free, rel=0.1)
    assert value(module.DAYS_LEFT, "main") == float("inf")


async def test_the_first_turn_counts_what_was_there_before_and_a_partition_that_emptied_shows_nothing(
    parts, files
):
    await receive(parts, 3, 2, 1)
    await parts.pool.execute("DELETE FROM capacity_difference")
    keeper = CapacityKeeper(parts.pool, {"main": files}, CapacitySettings())
    await keeper.turn()
    assert [one.instances for one in await totals(parts.pool)] == [2]
    await parts.pool.execute("DELETE FROM instance")
    await keeper.turn()
    assert value(module.INSTANCES, "main", "main") == 0


@pytest.mark.parametrize("quotas", ["main", "main=", "main=x", "=5", "main=1,main=2"])
def test_quotas_that_make_no_sense_are_refused(quotas):
    with pytest.raises(ValidationError):
        CapacitySettings(quotas=quotas)


async def test_a_quota_of_a_store_that_is_not_there_is_refused(parts, files):
    with pytest.raises(BadRequest, match="elsewhere"):
        CapacityKeeper(parts.pool, {"main": files}, CapacitySettings(quotas="elsewhere=5"))
