"""The storage service and the indexer as real processes."""

from __future__ import annotations

import asyncio
import os
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from gantry_embedded.ports import free_port
from gantry_messaging.connections import connect
from gantry_storage.bootstrap import make_parts
from gantry_storage.entrypoints.worker import clear_leftovers

QUICK = {
    "lease_seconds": "1.5",
    "sweep_margin_seconds": "0.5",
    "sweep_seconds": "0.3",
    "feed_after_seconds": "1",
    "feed_again_seconds": "3",
}


async def test_acknowledged_instances_whose_messages_were_lost_are_indexed(
    gone, indexed, front, database, processes
):
    receptions = await front.store(1, 2, 3)
    await front.die()
    processes("gantry_storage", "worker", **QUICK)
    processes("gantry_indexer", "consume")
    await indexed(receptions)
    await gone()
    assert await database.fetchval("SELECT instance_count FROM study") == 3


async def test_a_flush_of_redis_in_between_is_made_up_for(
    gone, indexed, until, settings, store, front, database, processes
):
    receptions = await front.store(*range(1, 21))
    await front.receiver.close()
    processes("gantry_storage", "worker", **QUICK)

    async def fed():
        async with connect(settings.redis_url) as redis:
            return await redis.xlen("index.replay") == 20

    await until(fed, 30)
    async with connect(settings.redis_url) as redis:
        await redis.flushall()
    processes("gantry_indexer", "consume")
    await indexed(receptions)
    await gone()


async def test_poison_ends_in_quarantine_and_lets_the_journal_go(
    gone, indexed, store, front, database, processes
):
    receptions = await front.store(1, 2, 3)
    await front.die()
    environment = {
        "faults": "1",
        "fault_kill_sop_uids": receptions[1].sop_instance_uid,
        "dead_after_seconds": "1.5",
    }
    processes("gantry_storage", "worker", **QUICK)
    processes("gantry_indexer", "worker", **environment)
    consumer = processes("gantry_indexer", "consume", **environment)
    await asyncio.to_thread(consumer.wait, 40)
    processes("gantry_indexer", "consume", dead_after_seconds="1.5", faults="1",
              fault_kill_sop_uids=receptions[1].sop_instance_uid)  # fmt: skip
    await indexed(receptions)
    rows = await database.fetch("SELECT state FROM reception ORDER BY object_key")
    assert [row["state"] for row in rows] == [2, 5, 2]
    await gone()


async def test_what_was_damaged_after_its_acknowledgement_ends_in_quarantine(
    gone, store, front, database, processes
):
    """A store that acknowledges from memory may lose power before the sweeper looks."""
    good, bad = await front.store(1, 2)
    await front.die()
    whole = await store.get(bad.object_key)
    await store.put(bad.object_key, whole[:-3])
    processes("gantry_storage", "worker", **QUICK)
    processes("gantry_indexer", "worker")
    processes("gantry_indexer", "consume")
    await gone()
    rows = await database.fetch("SELECT object_key, state FROM reception ORDER BY object_key")
    assert [tuple(row) for row in rows] == [(good.object_key, 2), (bad.object_key, 5)]


async def test_replay_restores_what_the_index_lost(indexed, store, front, database, processes):
    receptions = await front.store(*range(1, 81))
    await front.receiver.close()
    processes("gantry_indexer", "worker")
    since = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    run = processes("gantry_storage", "replay", "--since", since)
    assert await asyncio.to_thread(run.wait, 60) == 0
    assert run.stdout.read() == b"1 manifests with 80 lines; 80 had no verdict\n"
    await indexed(receptions)
    # As after a restore of an older copy.
    await database.execute(
        "TRUNCATE reception, patient, study, study_document, study_modality, series, series_document,"
        " segment, instance, finding CASCADE"
    )
    again = processes("gantry_storage", "replay", "--since", since, "--partition", "main")
    assert await asyncio.to_thread(again.wait, 60) == 0
    await indexed(receptions)
    assert await database.fetchval("SELECT instance_count FROM study") == 80


async def test_the_service_lives_and_stops_while_everything_else_is_down(until, processes, tmp_path):
    port, nowhere = free_port(), free_port()
    child = processes(
        "gantry_storage",
        "worker",
        http_port=str(port),
        redis_url=f"redis://127.0.0.1:{nowhere}/0",
        index_dsn=f"postgresql://nobody@127.0.0.1:{nowhere}/none",
        **QUICK,
    )

    def live():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    async def asked():
        return await asyncio.to_thread(live)

    await until(asked, 30)
    child.terminate()
    assert await asyncio.to_thread(child.wait, 20) == 0


@pytest.mark.parametrize("age", [timedelta(hours=1), timedelta(days=3)])
async def test_what_puts_left_behind_is_cleared_away_after_a_day(settings, tmp_path, age):
    parts = make_parts(settings)
    await clear_leftovers(parts)
    folder = next((tmp_path / "store").glob(".*"))
    left = folder / "abandoned"
    left.write_bytes(b"half an object")
    then = (datetime.now(UTC) - age).timestamp()
    os.utime(left, (then, then))
    await clear_leftovers(parts)
    assert left.exists() == (age < timedelta(days=1))
    await parts.close()
