"""Findings, quarantine and conflicts as administrators see them, and wrong rows taken out."""

from __future__ import annotations

import pytest
from gantry.index.v1.index_pb2 import VerdictState
from gantry_index.aggregates import difference_of, differences
from gantry_index.conflicts import list_conflicts, rival_receptions
from gantry_index.findings import (
    Found,
    Wanted,
    close_finding,
    close_of_objects,
    count_open,
    list_findings,
    note_attempt,
    open_findings,
    read_finding,
    set_aside_copies,
)
from gantry_index.object_rows import forget_object, numbers_of_study, objects_of_content, rows_of, rows_under
from gantry_index.quarantine import count_quarantined, list_quarantined, read_quarantined, try_again
from gantry_index.records import FindingKind
from gantry_index.storage_requests import (
    RequestKind,
    answer_request,
    ask_storage,
    read_request,
    waiting_requests,
)
from gantry_index.verdicts import begin_attempt, quarantine
from gantry_testing.index_records import index_record

DAMAGED = Found(
    FindingKind.OBJECT_DAMAGED, "main", "1.2", "1.2.3", "1.2.3.4", "o/main/aa/x/0001", {"found_size": 7}
)


async def test_a_finding_is_one_until_it_is_closed_and_open_again_when_found_again(pool):
    [first] = await open_findings(pool, [DAMAGED, DAMAGED])
    await note_attempt(pool, first.id, "no replica", {"aside": "d/x"})
    [again] = await open_findings(pool, [DAMAGED])
    assert (again.id, again.attempts, again.trouble) == (first.id, 1, "no replica")
    assert again.evidence == {"found_size": 7, "aside": "d/x"}
    assert await close_finding(pool, "main", first.id, "eve", "looked at")
    assert not await close_finding(pool, "main", first.id, "eve", "twice")
    closed = await read_finding(pool, "main", first.id)
    assert (closed.closed_by, closed.resolution) == ("eve", "looked at")
    assert await count_open(pool) == {}
    [reopened] = await open_findings(pool, [DAMAGED])
    assert (reopened.id, reopened.attempts, reopened.closed_at) == (first.id, 0, None)
    assert reopened.found_at > first.found_at


async def test_findings_are_listed_by_what_is_wanted_newest_first_in_pages(pool):
    found = [Found(FindingKind.OBJECT_MISSING, "main", "1.2", object_key=f"o/{n}") for n in range(5)]
    found.append(Found(FindingKind.AGGREGATES_DIFFER, "main", "1.3"))
    found.append(Found(FindingKind.AGGREGATES_DIFFER, "other", "1.3"))
    await open_findings(pool, found)
    page = await list_findings(pool, Wanted("main", kind="object-missing"), 2)
    rest = await list_findings(pool, Wanted("main", kind="object-missing", before=page[-1].id), 9)
    assert len({one.object_key for one in page + rest}) == 5
    assert [one.id for one in page + rest] == sorted((one.id for one in page + rest), reverse=True)
    assert await close_of_objects(pool, ["o/1", "o/2"], [FindingKind.OBJECT_MISSING], "scrub", "whole") == 2
    assert len(await list_findings(pool, Wanted("main", kind="object-missing"), 9)) == 3
    assert len(await list_findings(pool, Wanted("main", is_open=False), 9)) == 2
    assert [one.study_uid for one in await list_findings(pool, Wanted("other", is_open=None), 9)] == ["1.3"]
    assert await read_finding(pool, "other", page[0].id) is None
    assert await count_open(pool) == {"object-missing": 3, "aggregates-differ": 2}


async def test_bytes_put_aside_are_found_by_what_they_are(pool):
    await open_findings(
        pool,
        [
            Found(FindingKind.OBJECT_DAMAGED, "main", object_key="o/1", evidence={"found_digest": "ab"}),
            Found(
                FindingKind.OBJECT_DAMAGED,
                "main",
                object_key="o/2",
                evidence={"found_digest": "ab", "aside": "d/2"},
            ),
        ],
    )
    assert await set_aside_copies(pool, "main", "ab") == ["d/2"]
    assert await set_aside_copies(pool, "other", "ab") == []


async def test_quarantined_objects_are_listed_with_every_attempt_and_can_be_tried_again(pool):
    reception = index_record(order=1, sop="9.1").reception
    for _ in range(3):
        await begin_attempt(pool, "main", reception)
    await quarantine(pool, reception.object_key, "cannot be indexed")
    assert await count_quarantined(pool) == 1
    [listed] = await list_quarantined(pool, "main", 10)
    assert (listed.object_key, listed.reason, listed.attempts) == (
        reception.object_key,
        "cannot be indexed",
        3,
    )
    assert await list_quarantined(pool, "other", 10) == []
    assert await try_again(pool, reception.object_key)
    assert not await try_again(pool, reception.object_key)
    assert await read_quarantined(pool, reception.object_key) is None
    assert (await begin_attempt(pool, "main", reception)).number == 1
    await quarantine(pool, reception.object_key, "still")
    assert (await read_quarantined(pool, reception.object_key)).attempts == 4


@pytest.fixture
async def rivals(pool, writer):
    """Two contents of one instance, and one of them a second time."""
    records = [index_record(order=n, sop="9.1", content=content) for n, content in enumerate("aba", 1)]
    for record in records:
        await writer.index_chunk([record])
    return [record.reception.object_key for record in records]


async def test_a_conflict_is_listed_once_and_shows_each_content(pool, rivals):
    [conflict] = await list_conflicts(pool, "main", 10)
    assert (conflict.sop_uid, conflict.kinds) == ("9.1", ["instance-conflict"])
    shown = await rival_receptions(pool, "main", "9.1")
    assert [one.object_key for one in shown] == rivals[:2]
    assert [VerdictState.Name(one.state) for one in shown] == [
        "VERDICT_STATE_INDEXED",
        "VERDICT_STATE_CONFLICT_LOSER",
    ]
    [finding] = await list_findings(pool, Wanted("main", kind="instance-conflict"), 10)
    await close_finding(pool, "main", finding.id, "eve", "the first is right")
    assert await list_conflicts(pool, "main", 10) == []
    assert len(await list_conflicts(pool, "main", 10, with_closed=True)) == 1


async def test_other_objects_of_the_same_content_are_found(pool, rivals):
    rows = await rows_of(pool, rivals)
    digest = rows[rivals[0]].data_set_digest
    assert await objects_of_content(pool, "main", "9.1", digest, rivals[0]) == [rivals[2]]
    assert await objects_of_content(pool, "main", "other", digest, rivals[0]) == [rivals[2]]
    assert await objects_of_content(pool, "other", "9.1", digest, rivals[0]) == []
    assert set(await rows_under(pool, rivals[0].rsplit("/", 1)[0] + "/")) >= {rivals[0]}


async def test_a_wrong_row_goes_with_its_instance_and_what_it_stood_before_is_undecided(pool, rivals):
    assert (await rows_of(pool, rivals))[rivals[0]].is_shown
    assert sorted(await forget_object(pool, rivals[0])) == rivals[1:]
    assert await forget_object(pool, rivals[0]) == []
    assert {row.state for row in (await rows_of(pool, rivals)).values()} == {1}
    assert await numbers_of_study(pool, "main", "1.2.3") is None
    assert [one async for one in differences(pool)] == []


async def test_one_study_is_compared_with_a_recount(pool, writer):
    await writer.index_chunk([index_record(order=n, sop=f"9.{n}") for n in range(3)])
    assert (await difference_of(pool, "main", "1.2.3")).fields == ()
    await pool.execute("UPDATE study SET instance_count = 9")
    assert (await difference_of(pool, "main", "1.2.3")).fields == ("instance_count",)
    numbers = await numbers_of_study(pool, "main", "1.2.3")
    assert (numbers.instance_count, numbers.counted_instances, numbers.counted_series) == (9, 3, 1)
    assert await difference_of(pool, "other", "1.2.3") is None


async def test_a_request_waits_until_it_is_answered(pool):
    number = await ask_storage(pool, RequestKind.RECONCILE, "main", {"study": "1.2"}, "eve")
    [waiting] = await waiting_requests(pool, 5)
    assert (waiting.id, waiting.kind, waiting.arguments) == (number, "reconcile", {"study": "1.2"})
    await answer_request(pool, number, {"counts": 3})
    assert await waiting_requests(pool, 5) == []
    ended = await read_request(pool, "main", number)
    assert (ended.answer, ended.trouble, ended.principal) == ({"counts": 3}, None, "eve")
    assert await read_request(pool, "other", number) is None
