"""The same instance again: duplicates, conflicts, and which reception is shown."""

from __future__ import annotations

import itertools

import pytest
from gantry.events.v1.events_pb2 import (
    EVENT_KIND_CONFLICT_FOUND,
    EVENT_KIND_INSTANCE_REPLACED,
    IndexEvent,
)
from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_CONFLICT_LOSER,
    VERDICT_STATE_DUPLICATE,
    VERDICT_STATE_INDEXED,
    VERDICT_STATE_TOMBSTONED,
    VerdictState,
)
from gantry_index import writer as module
from gantry_index.aggregates import differences
from gantry_index.records import ConflictPolicy, FindingKind
from gantry_index.verdicts import standing_verdicts
from gantry_testing.index_records import index_record
from gantry_testing.index_state import index_state

INDEXED, DUPLICATE, LOSER = VERDICT_STATE_INDEXED, VERDICT_STATE_DUPLICATE, VERDICT_STATE_CONFLICT_LOSER
KEEP, REPLACE = ConflictPolicy.KEEP_FIRST, ConflictPolicy.REPLACE


async def shown(pool) -> str:
    return (await pool.fetchrow("SELECT object_key FROM instance"))["object_key"]


async def states(pool, records) -> list[int]:
    verdicts = await standing_verdicts(pool, [record.reception.object_key for record in records])
    return [verdicts[record.reception.object_key].state for record in records]


async def test_the_same_data_set_again_is_a_duplicate(pool, writer):
    first, again = index_record(order=1), index_record(order=2)
    await writer.index_chunk([first])
    version = await pool.fetchrow("SELECT version FROM study")
    [verdict] = await writer.index_chunk([again])
    assert (verdict.state, verdict.survivor_key) == (DUPLICATE, first.reception.object_key)
    assert await shown(pool) == first.reception.object_key
    assert await pool.fetch("SELECT 1 FROM finding") == []
    assert await pool.fetchrow("SELECT version FROM study") == version


async def test_a_duplicate_received_before_the_survivor_takes_its_place(pool, writer):
    early, late = index_record(order=1, meta_length=300), index_record(order=2, meta_length=400)
    await writer.index_chunk([late])
    [verdict] = await writer.index_chunk([early])
    assert verdict.state == INDEXED
    assert await states(pool, [early, late]) == [INDEXED, DUPLICATE]
    instance = await pool.fetchrow("SELECT object_key, meta_length, frame_table FROM instance")
    assert tuple(instance) == (early.reception.object_key, 300, early.frame_table)
    kept = await pool.fetchrow("SELECT frame_table FROM reception WHERE state = $1", DUPLICATE)
    assert kept["frame_table"] == late.frame_table


async def test_the_same_pixels_in_another_transfer_syntax_are_other_bytes(pool, writer):
    first = index_record(order=1)
    other = index_record(order=2, transfer_syntax="1.2.840.10008.1.2.4.90")
    other.reception.data_set_digest = first.reception.data_set_digest
    await writer.index_chunk([first])
    [verdict] = await writer.index_chunk([other])
    assert verdict.state == LOSER


async def test_other_bytes_lose_against_the_first_and_are_found(pool, writer):
    first, other = index_record(order=1), index_record(order=2, content="other")
    await writer.index_chunk([first])
    [verdict] = await writer.index_chunk([other])
    assert (verdict.state, verdict.survivor_key) == (LOSER, first.reception.object_key)
    assert (await pool.fetchrow("SELECT instance_count FROM study"))["instance_count"] == 1
    finding = await pool.fetchrow("SELECT kind, sop_uid, object_key FROM finding")
    assert tuple(finding) == (
        *(FindingKind.INSTANCE_CONFLICT.value, other.reception.sop_instance_uid),
        other.reception.object_key,
    )
    events = [IndexEvent.FromString(row["payload"]) for row in await pool.fetch("SELECT payload FROM outbox")]
    assert events[-1].kind == EVENT_KIND_CONFLICT_FOUND


async def test_the_first_received_wins_also_when_it_is_indexed_later(pool, writer):
    late = index_record(order=2, content="late", modality="MR", study_description="late")
    early = index_record(order=1, content="early", modality="CT", study_description="early")
    await writer.index_chunk([late])
    [verdict] = await writer.index_chunk([early])
    assert verdict.state == INDEXED
    assert await states(pool, [early, late]) == [INDEXED, LOSER]
    study = await pool.fetchrow("SELECT * FROM study")
    assert (study["instance_count"], study["modalities"]) == (1, ["CT"])
    assert study["study_description"] == "early"
    assert [row["object_key"] for row in await pool.fetch("SELECT object_key FROM finding")] == [
        late.reception.object_key
    ]
    events = [IndexEvent.FromString(row["payload"]) for row in await pool.fetch("SELECT payload FROM outbox")]
    assert EVENT_KIND_INSTANCE_REPLACED in {event.kind for event in events}
    assert [row async for row in differences(pool)] == []


@pytest.mark.parametrize("orders", list(itertools.permutations((1, 2, 3))))
@pytest.mark.parametrize("at_once", [True, False])
async def test_replacing_shows_the_last_received_in_any_order_of_arrival(pool, writer, orders, at_once):
    records = {n: index_record(order=n, content=f"{n}", study_description=f"{n}") for n in (1, 2, 3)}
    arriving = [records[n] for n in orders]
    for chunk in [arriving] if at_once else [[record] for record in arriving]:
        await writer.index_chunk(chunk, policy=REPLACE)
    assert await states(pool, list(records.values())) == [LOSER, LOSER, INDEXED]
    study = await pool.fetchrow("SELECT study_description, instance_count FROM study")
    assert tuple(study) == ("3", 1)


async def test_a_source_that_replaces_is_not_undone_by_a_replay_of_the_first(pool, writer):
    first, report = index_record(order=1, content="v1"), index_record(order=2, content="v2")
    await writer.index_chunk([report], policy=REPLACE)
    [verdict] = await writer.index_chunk([first], policy=REPLACE)
    assert (verdict.state, verdict.survivor_key) == (LOSER, report.reception.object_key)
    assert await shown(pool) == report.reception.object_key


async def test_a_source_that_keeps_does_not_replace_another(pool, writer):
    first, second, third = (index_record(order=n, content=f"{n}") for n in (1, 2, 3))
    await writer.index_chunk([first], policy=KEEP)
    await writer.index_chunk([second], policy=REPLACE)
    await writer.index_chunk([third], policy=KEEP)
    assert await states(pool, [first, second, third]) == [LOSER, INDEXED, LOSER]


@pytest.mark.parametrize("orders", list(itertools.permutations((1, 2, 3))))
async def test_an_old_data_set_that_comes_back_is_shown_from_its_first_object(
    pool, writer, index_dsn, orders
):
    records = {
        1: index_record(order=1, content="a", meta_length=301),
        2: index_record(order=2, content="b", meta_length=302),
        3: index_record(order=3, content="a", meta_length=303),
    }
    for n in orders:
        await writer.index_chunk([records[n]], policy=REPLACE)
    assert await states(pool, list(records.values())) == [INDEXED, LOSER, DUPLICATE]
    instance = await pool.fetchrow("SELECT object_key, meta_length, frame_table FROM instance")
    assert tuple(instance) == (records[1].reception.object_key, 301, records[1].frame_table)
    [stored] = (await index_state(index_dsn))["instance"]
    assert stored[5] == records[1].facts.instance.metadata
    assert [row["object_key"] for row in await pool.fetch("SELECT object_key FROM finding")] == [
        records[2].reception.object_key
    ]


async def test_the_study_of_a_replaced_first_instance_takes_the_values_of_the_next(pool, writer, index_dsn):
    first = index_record(order=1, sop="1.1", content="v1", study_description="first", patient_name="First")
    second = index_record(order=2, sop="1.2", study_description="second", patient_name="Second")
    replacing = index_record(order=3, sop="1.1", content="v2", study_description="third")
    await writer.index_chunk([first, second])
    await writer.index_chunk([replacing], policy=REPLACE)
    study = await pool.fetchrow("SELECT * FROM study JOIN study_document ON study_pk = id")
    assert study["study_description"] == "second"
    assert study["document"] == second.facts.study.document
    series = await pool.fetchrow("SELECT * FROM series JOIN series_document ON series_pk = id")
    assert series["document"] == second.facts.series.document
    assert series["order_key"] == study["order_key"]
    assert (await pool.fetchrow("SELECT name FROM patient"))["name"] == "Second"
    assert [row async for row in differences(pool)] == []


async def test_a_replaced_patient_goes_with_the_instance_that_named_it(pool, writer):
    await writer.index_chunk([index_record(order=1, patient_id="100", content="v1")])
    await writer.index_chunk([index_record(order=2, patient_id="200", content="v2")], policy=REPLACE)
    assert [row["patient_id"] for row in await pool.fetch("SELECT patient_id FROM patient")] == ["200"]
    assert (await pool.fetchrow("SELECT patient_id FROM study"))["patient_id"] == "200"
    assert [row async for row in differences(pool)] == []


async def test_a_winner_in_another_series_moves_the_instance_and_drops_the_empty_series(pool, writer):
    await writer.index_chunk([index_record(order=2, sop="1.1", series="5.1", modality="MR")])
    await writer.index_chunk([index_record(order=1, sop="1.1", series="5.2", modality="CT")])
    series = await pool.fetch("SELECT series_uid, instance_count FROM series")
    assert [tuple(row) for row in series] == [("5.2", 1)]
    study = await pool.fetchrow("SELECT series_count, instance_count, modalities FROM study")
    assert tuple(study) == (1, 1, ["CT"])
    assert [row async for row in differences(pool)] == []


async def test_fifty_copies_and_fifty_others_leave_one_instance(pool, writer):
    copies = [index_record(order=n) for n in range(50)]
    others = [index_record(order=100 + n, content=f"{n}") for n in range(50)]
    verdicts = await writer.index_chunk([*others, *copies])
    found = [VerdictState.Name(verdict.state) for verdict in verdicts]
    assert found.count("VERDICT_STATE_INDEXED") == 1
    assert found.count("VERDICT_STATE_DUPLICATE") == 49
    assert found.count("VERDICT_STATE_CONFLICT_LOSER") == 50
    assert await shown(pool) == copies[0].reception.object_key
    assert len(await pool.fetch("SELECT 1 FROM finding")) == 50


async def test_a_winner_that_is_deleted_between_reading_and_writing_is_noticed(pool, writer, monkeypatch):
    first, second, third = (index_record(order=n, content=f"{n}") for n in (1, 2, 3))
    await writer.index_chunk([second])
    write = module._write

    async def interfere(connection, rows):
        monkeypatch.setattr(module, "_write", write)
        async with pool.transaction() as other:
            await other.execute("UPDATE reception SET state = $1", VERDICT_STATE_TOMBSTONED)
            await other.execute("DELETE FROM study")
        await write(connection, rows)

    monkeypatch.setattr(module, "_write", interfere)
    [verdict] = await writer.index_chunk([first])
    assert verdict.state == INDEXED
    assert await states(pool, [first, second]) == [INDEXED, VERDICT_STATE_TOMBSTONED]
    [verdict] = await writer.index_chunk([third])
    assert (verdict.state, verdict.survivor_key) == (LOSER, first.reception.object_key)
    assert [row async for row in differences(pool)] == []


async def test_an_instance_row_without_its_reception_is_replaced_and_counted_right(pool, writer):
    await writer.index_chunk([index_record(order=1), index_record(order=2, sop="2")])
    await pool.execute("DELETE FROM reception WHERE sop_uid = '2'")
    [verdict] = await writer.index_chunk([index_record(order=3, sop="2")])
    assert verdict.state == INDEXED
    assert (await pool.fetchrow("SELECT instance_count FROM study"))["instance_count"] == 2
    assert [row async for row in differences(pool)] == []


async def test_a_quarantined_reception_is_no_rival(pool, writer):
    first, second = index_record(order=1, content="a"), index_record(order=2, content="b")
    await writer.index_chunk([first])
    await pool.execute("UPDATE reception SET state = 5")
    await pool.execute("DELETE FROM study")
    [verdict] = await writer.index_chunk([second])
    assert verdict.state == INDEXED
