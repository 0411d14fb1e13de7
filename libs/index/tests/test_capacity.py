"""What is stored, known without counting it: by every road that changes it, folded or not."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime

import pytest
from gantry.amendment.v1.amendment_pb2 import (
    AMENDMENT_KIND_HIDE,
    AMENDMENT_KIND_PURGE,
    AMENDMENT_KIND_RESTORE,
    Amendment,
)
from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_CONFLICT_LOSER,
    VERDICT_STATE_DUPLICATE,
    VERDICT_STATE_INDEXED,
    VERDICT_STATE_TOMBSTONED,
)
from gantry_index.amendments import apply_amendment, covered_receptions
from gantry_index.capacity import (
    counted_at,
    daily_growth,
    days_left,
    fold,
    growth,
    note_room,
    recount,
    rooms,
    totals,
    usage,
)
from gantry_index.records import ConflictPolicy
from gantry_testing.index_records import index_record
from hypothesis import given
from hypothesis import strategies as st

SCOPE = "5c" * 20
SIZE = 1350
NOVEMBER = date(2023, 11, 1)


async def amend(pool, revision, kind, **fields):
    record = Amendment(partition="main", study_instance_uid="1.1", kind=kind, revision=revision, **fields)
    await apply_amendment(pool, record, SCOPE)


async def hide(pool, revision, sop=None):
    covered = await covered_receptions(pool, "main", "1.1", None, sop)
    await amend(pool, revision, AMENDMENT_KIND_HIDE, receptions=covered)


def records(count, first=0, **fields):
    known = {"study": "1.1", "series": "1.1.1"} | fields
    return [index_record(order=n, sop=f"9.{n}", **known) for n in range(first, first + count)]


async def counts(pool):
    return {(one.state, one.modality): (one.instances, one.bytes) for one in await usage(pool)}


async def test_every_object_is_counted_once_as_what_it_is(pool, writer):
    await writer.index_chunk(records(3))
    await writer.index_chunk(records(2, 10, series="1.1.2", modality="SR"))
    await writer.index_chunk([index_record(order=50, study="1.1", series="1.1.1", sop="9.0")])
    await writer.index_chunk([index_record(order=51, study="1.1", series="1.1.1", sop="9.1", content="x")])
    expected = {
        (VERDICT_STATE_INDEXED, "CT"): (3, 3 * SIZE),
        (VERDICT_STATE_INDEXED, "SR"): (2, 2 * SIZE),
        (VERDICT_STATE_DUPLICATE, ""): (1, SIZE),
        (VERDICT_STATE_CONFLICT_LOSER, ""): (1, SIZE),
    }
    assert await counts(pool) == expected
    assert await fold(pool) > 0
    assert await counts(pool) == expected
    assert {one.month for one in await usage(pool)} == {NOVEMBER}
    assert await usage(pool, "other") == []
    [total] = await totals(pool)
    assert (total.partition, total.store_id, total.instances) == ("main", "main", 7)


async def test_what_is_deleted_still_takes_room_until_it_is_purged(pool, writer):
    await writer.index_chunk(records(3))
    await hide(pool, 1, "9.0")
    tombstoned = (VERDICT_STATE_TOMBSTONED, "")
    assert await counts(pool) == {
        (VERDICT_STATE_INDEXED, "CT"): (2, 2 * SIZE),
        tombstoned: (1, SIZE),
    }
    await fold(pool)
    await amend(pool, 2, AMENDMENT_KIND_PURGE, purges=1)
    assert await counts(pool) == {(VERDICT_STATE_INDEXED, "CT"): (2, 2 * SIZE)}
    await hide(pool, 3)
    assert await counts(pool) == {tombstoned: (2, 2 * SIZE)}
    await fold(pool)
    assert await recount(pool) == 0


async def test_a_count_of_everything_takes_in_what_was_there_before_and_mends_what_is_wrong(pool, writer):
    await writer.index_chunk(records(3))
    true = await counts(pool)
    await pool.execute("DELETE FROM capacity_difference")
    assert (await counts(pool), await counted_at(pool)) == ({}, None)
    assert await recount(pool) == 1
    assert await counts(pool) == true
    assert await counted_at(pool) is not None
    await pool.execute("UPDATE capacity SET bytes = bytes + 1")
    assert await recount(pool) == 1
    assert await recount(pool) == 0
    assert await counts(pool) == true


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_the_sums_are_what_a_count_gives(pool, writer, seed):
    chance = random.Random(seed)
    revision = 0
    for _ in range(25):
        match chance.randrange(6):
            case 0 | 1 | 2:
                chunk = [
                    index_record(
                        order=chance.randrange(60),
                        study="1.1",
                        series=f"1.1.{(sop := chance.randrange(8)) % 3}",
                        sop=f"9.{sop}",
                        content=chance.choice(["", "a", "b"]),
                        modality=("CT", "SR", None)[sop % 3],
                    )
                    for _ in range(chance.randrange(1, 5))
                ]
                policy = chance.choice(list(ConflictPolicy))
                await writer.index_chunk(
                    list({record.reception.object_key: record for record in chunk}.values()), policy=policy
                )
            case 3:
                revision += 1
                await hide(pool, revision, chance.choice([None, "9.1", "9.2"]))
            case 4 if revision:
                kind = chance.choice([AMENDMENT_KIND_RESTORE, AMENDMENT_KIND_PURGE])
                target = chance.randrange(1, revision + 1)
                name = "undoes" if kind == AMENDMENT_KIND_RESTORE else "purges"
                revision += 1
                await amend(pool, revision, kind, **{name: target})
            case 5:
                await fold(pool)
    assert await recount(pool) == 0


async def test_growth_is_told_by_day_and_room_is_kept(pool, writer):
    await writer.index_chunk(records(3))
    day = datetime.fromtimestamp(1_700_000_000, UTC).date()
    found = await growth(pool, day, date(day.year, day.month, day.day + 2))
    assert found == {"main": [3 * SIZE, 0]}
    await note_room(pool, "main", 100, None)
    await note_room(pool, "main", 99, 1000)
    assert [(one.store_id, one.room_bytes, one.quota_bytes) for one in await rooms(pool)] == [
        ("main", 99, 1000)
    ]


def test_the_same_every_day_lasts_as_long_as_it_divides():
    assert days_left([10] * 30, 300) == pytest.approx(30)
    assert days_left([10] * 30, -5) == 0
    assert days_left([10] * 30, None) is None
    assert days_left([0] * 30, 300) is None
    assert days_left([], 300) is None


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=60), st.integers(2, 1000))
def test_twice_the_growth_is_half_the_time(days, factor):
    slope = daily_growth(days)
    assert daily_growth([day * factor for day in days]) == pytest.approx(slope * factor, rel=1e-9, abs=1e-6)
    assert slope >= 0
