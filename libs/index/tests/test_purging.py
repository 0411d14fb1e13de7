"""What is destroyed in the index: for ever, also in one that never saw the objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from gantry.amendment.v1.amendment_pb2 import (
    AMENDMENT_KIND_HIDE,
    AMENDMENT_KIND_PURGE,
    AMENDMENT_KIND_RESTORE,
    Amendment,
)
from gantry.index.v1.index_pb2 import VERDICT_STATE_TOMBSTONED
from gantry_index.aggregates import differences
from gantry_index.amendments import apply_amendment, covered_receptions, is_hidden, waiting_receptions
from gantry_index.purging import (
    gone_keys,
    old_duplicates,
    patients_of,
    still_shown,
    studies_to_purge,
    survivors_of,
)
from gantry_index.verdicts import undecided
from gantry_testing.index_records import index_record

STUDY = "1.1"
SCOPE = "5c" * 20
MADE_AT = datetime(2026, 1, 1, tzinfo=UTC)


def records():
    return [index_record(order=n, study=STUDY, series="1.1.1", sop=f"9.{n}") for n in range(4)]


def amendment(kind, revision, **fields):
    made_at = round(MADE_AT.timestamp() * 1e6)
    return Amendment(
        partition="main",
        study_instance_uid=STUDY,
        kind=kind,
        revision=revision,
        made_at_us=made_at,
        **fields,
    )


async def hide(pool, revision, sop=None):
    covered = await covered_receptions(pool, "main", STUDY, None, sop)
    record = amendment(AMENDMENT_KIND_HIDE, revision, receptions=covered)
    await apply_amendment(pool, record, SCOPE)
    return record, [reception.object_key for reception in covered]


async def test_what_is_purged_stays_tombstoned_and_is_never_restored(pool, writer):
    await writer.index_chunk(records())
    _, keys = await hide(pool, 1)
    await apply_amendment(pool, amendment(AMENDMENT_KIND_PURGE, 2, purges=1), SCOPE)
    await apply_amendment(pool, amendment(AMENDMENT_KIND_RESTORE, 3, undoes=1), SCOPE)
    assert await waiting_receptions(pool, "main", STUDY) == []
    assert await gone_keys(pool, keys) == set(keys)
    assert await undecided(pool, keys) == set()
    assert await is_hidden(pool, "main", STUDY)
    verdicts = await writer.index_chunk(records())
    assert {verdict.state for verdict in verdicts} == {VERDICT_STATE_TOMBSTONED}
    assert await pool.fetch("SELECT 1 FROM instance") == []


async def test_a_new_index_knows_from_the_amendments_alone_that_nothing_is_to_be_looked_for(pool, writer):
    await writer.index_chunk(records())
    hidden, keys = await hide(pool, 1)
    for table in ("reception", "hidden", "amendment"):
        await pool.execute(f"DELETE FROM {table}")
    await apply_amendment(pool, hidden, SCOPE)
    assert await undecided(pool, keys) == set(keys)
    await apply_amendment(pool, amendment(AMENDMENT_KIND_PURGE, 2, purges=1), SCOPE)
    assert await undecided(pool, keys) == set()
    assert await gone_keys(pool, keys) == set(keys)


async def test_who_restored_before_the_purge_has_won(pool, writer):
    await writer.index_chunk(records())
    _, keys = await hide(pool, 1)
    await apply_amendment(pool, amendment(AMENDMENT_KIND_RESTORE, 2, undoes=1), SCOPE)
    await apply_amendment(pool, amendment(AMENDMENT_KIND_PURGE, 3, purges=1), SCOPE)
    assert await gone_keys(pool, keys) == set()
    assert len(await waiting_receptions(pool, "main", STUDY)) == 4


async def test_metadata_goes_with_its_segment_and_what_shares_one_is_derived_again(pool, writer):
    await writer.index_chunk(records()[:2])
    await writer.index_chunk(records()[2:])
    for revision, sop in enumerate(("9.0", "9.1"), 1):
        await hide(pool, revision, sop)
    assert len(await pool.fetch("SELECT 1 FROM segment")) == 2
    await apply_amendment(pool, amendment(AMENDMENT_KIND_PURGE, 3, purges=1), SCOPE)
    # Both instances of the first segment are hidden, so it goes whole.
    assert len(await pool.fetch("SELECT 1 FROM segment")) == 1
    await hide(pool, 4, "9.2")
    await apply_amendment(pool, amendment(AMENDMENT_KIND_PURGE, 5, purges=4), SCOPE)
    rows = await pool.fetch("SELECT object_key, scope FROM renewal")
    assert [tuple(row) for row in rows] == [(records()[3].reception.object_key, SCOPE)]
    assert [difference async for difference in differences(pool)] == []


async def test_a_deletion_is_due_when_it_is_old_enough_and_stands(pool, writer):
    await writer.index_chunk(records())
    _, keys = await hide(pool, 1)
    later = MADE_AT + timedelta(days=1)
    assert await studies_to_purge(pool, MADE_AT, None, 10) == []
    assert await studies_to_purge(pool, later, None, 10) == [("main", STUDY)]
    assert await studies_to_purge(pool, later, "other", 10) == []
    assert await still_shown(pool, keys) == []
    await apply_amendment(pool, amendment(AMENDMENT_KIND_RESTORE, 2, undoes=1), SCOPE)
    assert await studies_to_purge(pool, later, None, 10) == []
    assert sorted(await still_shown(pool, keys)) == sorted(keys)


async def test_a_duplicate_can_go_unless_something_else_was_received_for_its_instance(pool, writer):
    same = {"study": STUDY, "series": "1.1.1", "sop": "9.0"}
    first, again = index_record(order=1, **same), index_record(order=2, **same)
    await writer.index_chunk([first, again])
    now = datetime.now(UTC) + timedelta(minutes=1)
    found = await old_duplicates(pool, now, None, 10)
    assert [one.object_key for one in found] == [again.reception.object_key]
    assert await old_duplicates(pool, now - timedelta(days=1), None, 10) == []
    assert await survivors_of(pool, [again.reception.object_key]) == {
        again.reception.object_key: first.reception.object_key
    }
    await writer.index_chunk([index_record(order=3, **same, content="other")])
    assert await old_duplicates(pool, now, None, 10) == []


@pytest.mark.parametrize("ids", [("P1", "P1"), ("P1", "P2")])
async def test_everybody_whom_the_study_names_is_known(pool, writer, ids):
    await writer.index_chunk(
        [
            index_record(order=n, study=STUDY, series="1.1.1", sop=f"9.{n}", patient_id=patient_id)
            for n, patient_id in enumerate(ids)
        ]
    )
    assert {patient for patient, _ in await patients_of(pool, "main", STUDY)} == set(ids)
