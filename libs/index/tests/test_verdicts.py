"""The state machine of one received object."""

from __future__ import annotations

import asyncio

import pytest
from gantry.events.v1.events_pb2 import EVENT_KIND_INSTANCE_QUARANTINED, IndexEvent
from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_INDEXED,
    VERDICT_STATE_PENDING,
    VERDICT_STATE_QUARANTINED,
)
from gantry_dicom.errors import NotFound
from gantry_index.verdicts import begin_attempt, quarantine, standing_verdicts, undecided
from gantry_testing.index_records import index_record


async def test_attempts_are_counted_before_anything_is_decided(pool):
    reception = index_record().reception
    numbers = [(await begin_attempt(pool, "main", reception)).number for _ in range(3)]
    assert numbers == [1, 2, 3]
    verdicts = await standing_verdicts(pool, [reception.object_key])
    assert verdicts[reception.object_key].state == VERDICT_STATE_PENDING


async def test_attempts_at_once_are_all_counted(pool):
    reception = index_record().reception
    attempts = await asyncio.gather(*(begin_attempt(pool, "main", reception) for _ in range(8)))
    assert sorted(attempt.number for attempt in attempts) == list(range(1, 9))


async def test_a_pending_object_is_indexed_like_a_new_one(pool, writer):
    record = index_record()
    await begin_attempt(pool, "main", record.reception)
    [verdict] = await writer.index_chunk([record])
    assert verdict.state == VERDICT_STATE_INDEXED
    row = await pool.fetchrow("SELECT state, attempts, decided_at FROM reception")
    assert (row["state"], row["attempts"]) == (VERDICT_STATE_INDEXED, 1)
    assert row["decided_at"] is not None


async def test_no_attempt_is_begun_at_what_is_decided(pool, writer):
    record = index_record()
    await writer.index_chunk([record])
    attempt = await begin_attempt(pool, "main", record.reception)
    assert attempt.number == 0
    assert attempt.verdict.state == VERDICT_STATE_INDEXED


async def test_a_quarantined_object_stays_so_and_is_not_indexed(pool, writer):
    record = index_record()
    await begin_attempt(pool, "main", record.reception)
    verdict = await quarantine(pool, record.reception.object_key, "it kills\0 its worker")
    assert (verdict.state, verdict.reason) == (VERDICT_STATE_QUARANTINED, "it kills its worker")
    [again] = await writer.index_chunk([record])
    assert again == verdict
    assert await pool.fetch("SELECT 1 FROM study") == []
    event = IndexEvent.FromString((await pool.fetchrow("SELECT payload FROM outbox"))["payload"])
    assert event.kind == EVENT_KIND_INSTANCE_QUARANTINED
    assert list(event.sop_instance_uids) == [record.reception.sop_instance_uid]


async def test_a_quarantine_that_comes_after_the_index_changes_nothing(pool, writer):
    record = index_record()
    await writer.index_chunk([record])
    await pool.execute("DELETE FROM outbox")
    verdict = await quarantine(pool, record.reception.object_key, "late")
    assert (verdict.state, verdict.reason) == (VERDICT_STATE_INDEXED, "")
    assert await pool.fetch("SELECT 1 FROM outbox") == []


async def test_a_quarantine_between_reading_and_writing_is_noticed(pool, writer, monkeypatch):
    record, healthy = index_record(order=1), index_record(order=2, sop="9")
    await begin_attempt(pool, "main", record.reception)
    from gantry_index import writer as module

    write = module._write
    interfered = []

    async def interfere(connection, rows):
        if not interfered:
            interfered.append(await quarantine(pool, record.reception.object_key, "now"))
        await write(connection, rows)

    monkeypatch.setattr(module, "_write", interfere)
    verdicts = await writer.index_chunk([record, healthy])
    assert [verdict.state for verdict in verdicts] == [VERDICT_STATE_QUARANTINED, VERDICT_STATE_INDEXED]
    assert (await pool.fetchrow("SELECT instance_count FROM study"))["instance_count"] == 1


async def test_quarantine_needs_an_attempt(pool):
    with pytest.raises(NotFound):
        await quarantine(pool, "o/main/00/none/00000001", "reason")


async def test_undecided_are_those_without_a_row_and_the_pending(pool, writer):
    decided, pending = index_record(order=1), index_record(order=2, sop="2")
    await writer.index_chunk([decided])
    await begin_attempt(pool, "main", pending.reception)
    keys = [decided.reception.object_key, pending.reception.object_key, "o/main/00/unknown/1"]
    assert await undecided(pool, keys) == set(keys[1:])
    assert set(await standing_verdicts(pool, keys)) == set(keys[:2])
