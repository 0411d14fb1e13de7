"""What was moved is known to be where it is, in this index and in one made anew, and answers say so."""

from __future__ import annotations

import re
from datetime import date

import orjson
import pytest
from gantry.amendment.v1.amendment_pb2 import (
    AMENDMENT_KIND_RELOCATE,
    AmendedReception,
    Amendment,
)
from gantry_dicom.query import Level, Query
from gantry_index.amendments import apply_amendment
from gantry_index.capacity import recount, totals
from gantry_index.reader import IndexReader
from gantry_index.tiers import note_looked_at, placed_objects
from gantry_testing.index_records import index_record

SCOPE = "5c" * 20
STORES = {"main": "ONLINE", "cold": "NEARLINE", "tape": "OFFLINE"}


def records():
    return [index_record(order=n, study="1.1", series=f"1.1.{n % 2}", sop=f"9.{n}") for n in range(4)] + [
        index_record(order=9, study="1.2", series="1.2.1", sop="8.1")
    ]


async def move(pool, revision, store_id, *numbers, found=None):
    found = found or records()
    receptions = [found[number].reception for number in numbers]
    amendment = Amendment(
        partition="main",
        study_instance_uid="1.1",
        kind=AMENDMENT_KIND_RELOCATE,
        revision=revision,
        store_id=store_id,
        receptions=[
            AmendedReception(
                object_key=reception.object_key,
                series_instance_uid=reception.series_instance_uid,
                sop_instance_uid=reception.sop_instance_uid,
            )
            for reception in receptions
        ],
    )
    await apply_amendment(pool, amendment, SCOPE)


async def places(pool):
    return {one.sop_uid: one.store_id for one in await placed_objects(pool, "main", "1.1")}


async def available(pool, level, **fields):
    page = await IndexReader(pool, STORES).search(Query(partition="main", level=level, **fields))
    uid = {Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.INSTANCE: "00080018"}[level]
    found = {}
    for document in page.documents:
        text = re.sub(rb"[\x00-\x1f]", b"", document)
        answer = orjson.loads(text)
        path = answer["00081190"]["Value"][0].rsplit("/", 1)[-1]
        assert uid not in answer or answer[uid]["Value"][0] == path
        found[path] = answer["00080056"]["Value"][0]
    return found


async def test_an_instance_is_where_it_was_moved_to_and_back(pool, writer):
    await writer.index_chunk(records())
    await move(pool, 1, "cold", 0, 1)
    assert await places(pool) == {"9.0": "cold", "9.1": "cold", "9.2": "main", "9.3": "main"}
    assert {one.store_id: one.instances for one in await totals(pool)} == {"main": 3, "cold": 2}
    await move(pool, 2, "main", 0)
    assert await places(pool) == {"9.0": "main", "9.1": "cold", "9.2": "main", "9.3": "main"}
    assert await recount(pool) == 0


async def test_a_new_index_learns_it_from_the_amendments_before_the_manifests(pool, writer):
    await move(pool, 1, "cold", 0, 1)
    await writer.index_chunk(records())
    assert await places(pool) == {"9.0": "cold", "9.1": "cold", "9.2": "main", "9.3": "main"}
    rows = await pool.fetch("SELECT store_id, count(*) AS n FROM reception GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in rows] == [("cold", 2), ("main", 3)]
    assert await recount(pool) == 0


async def test_answers_say_of_every_level_how_its_instances_can_be_had(pool, writer):
    await writer.index_chunk(records())
    assert set((await available(pool, Level.STUDY)).values()) == {"ONLINE"}
    await move(pool, 1, "cold", 0)
    assert await available(pool, Level.STUDY) == {"1.1": "NEARLINE", "1.2": "ONLINE"}
    assert await available(pool, Level.SERIES, study_uid="1.1") == {"1.1.0": "NEARLINE", "1.1.1": "ONLINE"}
    assert await available(pool, Level.SERIES) == {
        "1.1.0": "NEARLINE",
        "1.1.1": "ONLINE",
        "1.2.1": "ONLINE",
    }
    assert await available(pool, Level.INSTANCE, study_uid="1.1", series_uid="1.1.0") == {
        "9.0": "NEARLINE",
        "9.2": "ONLINE",
    }
    await move(pool, 2, "tape", 2)
    assert (await available(pool, Level.STUDY))["1.1"] == "OFFLINE"
    await move(pool, 3, "lost", 1)
    assert (await available(pool, Level.STUDY))["1.1"] == "UNAVAILABLE"
    await move(pool, 4, "main", 0, 1, 2)
    assert set((await available(pool, Level.STUDY)).values()) == {"ONLINE"}


@pytest.mark.parametrize("stores", [{}, STORES])
async def test_a_patient_s_answers_stay_as_they_are(pool, writer, stores):
    await writer.index_chunk(records())
    await move(pool, 1, "cold", 0)
    plain = await IndexReader(pool).search(Query(partition="main", level=Level.PATIENT))
    assert await IndexReader(pool, stores).search(Query(partition="main", level=Level.PATIENT)) == plain


async def test_the_last_day_counts_on_which_somebody_looked(pool):
    for day in (date(2026, 1, 2), date(2026, 1, 1)):
        await note_looked_at(pool, [("main", "1.1"), ("main", "1.1"), ("main", "1.2")], day)
    rows = await pool.fetch("SELECT study_uid, day FROM study_access ORDER BY 1")
    assert [tuple(row) for row in rows] == [("1.1", date(2026, 1, 2)), ("1.2", date(2026, 1, 2))]
