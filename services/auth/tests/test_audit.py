"""Access records: from the bucket into their index, searched and verified by administrators."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from gantry.access.v1.access_pb2 import (
    ACCESS_KIND_REFUSAL,
    ACCESS_KIND_RETRIEVE,
    AccessBatch,
    AccessRecord,
)
from gantry_access.audit_chain import CLOSED, Link, batch_key, chain, marker
from gantry_auth.audit_index import AUDIT_INDEX_LOCK, LAG
from gantry_index.locks import AdvisoryLock
from gantry_objectstore.sealing import Sealer

NOON = int(datetime(2026, 1, 2, 12, tzinfo=UTC).timestamp()) * 1_000_000


class Writer:
    """A writer elsewhere: seals batches as a process would."""

    def __init__(self, store, sealer, name="gateway-1"):
        self.store, self.sealer, self.name, self.end = store, sealer, name, Link()

    async def seal(self, *events):
        first = self.end.sequence + 1
        records, self.end = chain(events, self.end)
        key = batch_key(self.name, first)
        await self.store.put(
            key, self.sealer.seal(AccessBatch(writer=self.name, records=records)), create=True
        )
        return key


def event(number, principal="alice", kind=ACCESS_KIND_RETRIEVE, **values):
    defaults = {
        "partition": "main",
        "study_instance_uid": "1.2.3",
        "sop_instance_uids": ["1.2.3.1", "1.2.3.2"],
        "operation": f"GET /{number}",
        "outcome": "allowed",
        "peer_address": "10.0.0.9",
    }
    return AccessRecord(kind=kind, principal=principal, occurred_at_us=NOON + number, **(defaults | values))


@pytest.fixture
async def audited(start):
    """A service whose loop only ever runs when a test says so."""
    return await start(audit_index_seconds=3600)


@pytest.fixture
def writer(audited, helpers):
    return Writer(audited.parts.store, Sealer.from_text(helpers.SEAL_KEYS))


@pytest.fixture
async def asks(audited):
    token = (await audited.token()).json()["access_token"]
    async with audited.client(headers={"Authorization": f"Bearer {token}"}) as http:

        async def ask(place="", **query):
            return await http.get(f"/auth/admin/audit{place}", params=query)

        yield ask


async def found(asks, **query):
    answer = await asks(**query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def operations(asks, **query):
    return [record["operation"] for record in await found(asks, **query)]


async def test_what_was_sealed_is_found_newest_first_and_indexed_once(audited, asks, writer):
    await writer.seal(marker("audit.opened", NOON), event(1), event(2))
    await writer.seal(event(3))
    for _ in range(2):
        await audited.parts.audit.index()
    assert await operations(asks, actor="alice") == ["GET /3", "GET /2", "GET /1"]
    assert (await found(asks, actor="alice", limit=1))[0] == {
        "writer": "gateway-1",
        "sequence": 4,
        "occurred_at": "2026-01-02T12:00:00.000003+00:00",
        "kind": "retrieve",
        "principal": "alice",
        "peer_address": "10.0.0.9",
        "partition": "main",
        "study_instance_uid": "1.2.3",
        "instance_count": 2,
        "operation": "GET /3",
        "outcome": "allowed",
        "traceparent": "",
    }


async def test_every_filter_narrows(audited, asks, writer):
    await writer.seal(
        event(1),
        event(2, "bob"),
        event(3, kind=ACCESS_KIND_REFUSAL, outcome="refused"),
        event(4, partition="south"),
        event(5, study_instance_uid="1.9"),
    )
    await audited.parts.audit.index()
    everything = ["GET /5", "GET /4", "GET /3", "GET /2", "GET /1"]
    only = {"from": "2026-01-02", "to": "2026-01-03"}
    assert await operations(asks, **only) == everything
    assert await operations(asks, **only, actor="bob") == ["GET /2"]
    assert await operations(asks, **only, action="refusal") == ["GET /3"]
    assert await operations(asks, **only, outcome="refused") == ["GET /3"]
    assert await operations(asks, **only, partition="south") == ["GET /4"]
    assert await operations(asks, **only, study="1.9") == ["GET /5"]
    assert await operations(asks, **only, study="1.9", actor="bob") == []
    # The beginning is included, the end is not.
    begin, end = "2026-01-02T12:00:00.000002Z", "2026-01-02T13:00:00.000004+01:00"
    assert await operations(asks, **{"from": begin, "to": end}) == ["GET /3", "GET /2"]


async def test_pages_lead_through_all_records_without_doubles(audited, asks, writer):
    other = Writer(writer.store, writer.sealer, "ingest-1")
    # Some at the very same moment, of two writers.
    await writer.seal(*(event(n // 3, operation=f"a{n}") for n in range(7)))
    await other.seal(*(event(n // 3, operation=f"b{n}") for n in range(7)))
    await audited.parts.audit.index()
    seen, answer = [], await asks(actor="alice", limit=3)
    while True:
        seen += [record["operation"] for record in answer.json()]
        if "next" not in answer.links:
            break
        query = answer.links["next"]["url"].partition("?")[2]
        answer = await asks(**dict(part.split("=") for part in query.split("&")))
    assert sorted(seen) == sorted([f"a{n}" for n in range(7)] + [f"b{n}" for n in range(7)])
    times = [record["occurred_at"] for record in await found(asks, actor="alice")]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "x"},
        {"from": "yesterday"},
        {"action": "everything"},
        {"before": "1"},
        {"before": "1.1.1'--"},
        {"patient": "1"},
    ],
)
async def test_nonsense_is_refused(asks, query):
    assert (await asks(**query)).status_code == 400


async def test_the_reading_is_recorded(audited, asks):
    await asks(study="1.2.3", partition="main")
    await asks("/verify")
    await audited.service.log.flush()
    await audited.parts.audit.index()
    records = {r["operation"]: r for r in await found(asks, actor="client:administration", action="search")}
    assert set(records) >= {"audit search", "audit verify"}
    assert records["audit search"]["study_instance_uid"] == "1.2.3"
    assert records["audit search"]["peer_address"] == "10.1.2.3"


async def test_texts_that_a_database_cannot_hold_stop_nothing(audited, asks, writer):
    await writer.seal(event(1, "https://idp.example#a\0b"), event(2, "x" * 7000), event(3))
    await audited.parts.audit.index()
    assert await operations(asks, **{"from": "2026-01-02", "to": "2026-01-03"}) == [
        "GET /3",
        "GET /2",
        "GET /1",
    ]
    assert await operations(asks, actor="x" * 7000) == ["GET /2"]
    assert await operations(asks, actor="https://idp.example#a\0b") == ["GET /1"]


async def report(asks, writer="gateway-1"):
    answer = await asks("/verify", writer=writer)
    assert answer.status_code == 200, answer.text
    (only,) = answer.json()
    return only


async def test_a_whole_chain_verifies(audited, asks, writer):
    await writer.seal(event(1), event(2))
    await writer.seal(event(3), marker(CLOSED, NOON + 4))
    await audited.parts.audit.index()
    told = await report(asks)
    assert datetime.fromisoformat(told.pop("last_sealed_at")) > datetime.now(UTC) - timedelta(minutes=5)
    assert told == {
        "writer": "gateway-1",
        "batches": 2,
        "records": 4,
        "indexed_up_to": 4,
        "closed": True,
        "gaps": 0,
        "broken_links": 0,
        "problems": [],
    }
    assert (await asks("/verify", writer="nobody")).status_code == 404


async def test_a_missing_batch_is_told_and_what_is_behind_it_is_indexed(audited, asks, writer):
    await writer.seal(event(1))
    gone = await writer.seal(event(2))
    await writer.seal(event(3))
    await writer.store.delete(gone)
    await audited.parts.audit.index()
    assert await operations(asks, actor="alice") == ["GET /3", "GET /1"]
    told = await report(asks)
    assert (told["gaps"], told["problems"][0]["fault"]) == (1, "gap")
    assert problems(audited) == [("gap", batch_key("gateway-1", 3))]


async def test_a_round_that_lists_nothing_goes_on_behind_a_gap_at_the_next_listing(audited, asks, writer):
    await writer.seal(event(1))
    await audited.parts.audit.index()
    gone = await writer.seal(event(2))
    await writer.seal(event(3))
    await writer.store.delete(gone)
    await audited.parts.audit.index(listing=False)
    assert await operations(asks, actor="alice") == ["GET /1"]
    await audited.parts.audit.index()
    assert await operations(asks, actor="alice") == ["GET /3", "GET /1"]


async def test_a_batch_that_somebody_else_wrote_is_not_indexed(audited, asks, writer):
    await writer.seal(event(1))
    forger = Writer(writer.store, Sealer.from_text("test:" + "00" * 32))
    forger.end = writer.end
    key = await forger.seal(event(2, "mallory"))
    await audited.parts.audit.index()
    assert await found(asks, actor="mallory") == []
    assert problems(audited) == [("broken-seal", key)]
    assert (await report(asks))["problems"][0]["fault"] == "broken-seal"


async def test_a_chain_that_was_cut_and_written_anew_with_a_key_is_told(audited, asks, writer):
    await writer.seal(event(1))
    await writer.seal(event(2))
    other = Writer(writer.store, writer.sealer)
    await writer.store.delete(batch_key("gateway-1", 1))
    await other.seal(event(1, "mallory"))
    await audited.parts.audit.index()
    assert (await report(asks))["broken_links"] == 1


async def test_an_end_that_was_indexed_and_is_gone_is_a_gap(audited, asks, writer):
    await writer.seal(event(1))
    last = await writer.seal(event(2))
    await audited.parts.audit.index()
    await writer.store.delete(last)
    told = await report(asks)
    assert (told["gaps"], told["problems"][0]["what"]) == (1, "records 2 to 2 were there and are missing")
    await writer.store.delete(batch_key("gateway-1", 1))
    assert (await report(asks))["gaps"] == 1


async def become_true(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - of a loop that tells nobody
            await asyncio.sleep(0.02)


def problems(audited):
    with audited.service.database.transaction() as connection:
        return connection.execute("SELECT fault, object_key FROM auth.audit_problems").fetchall()


async def test_the_loop_indexes_by_itself_in_one_process_at_a_time(start, helpers, core_dsn):
    lock = AdvisoryLock(core_dsn, AUDIT_INDEX_LOCK)
    assert await lock.hold()
    audited = await start(audit_index_seconds=0.05)
    writer = Writer(audited.parts.store, Sealer.from_text(helpers.SEAL_KEYS))
    await writer.seal(event(1))

    def indexed():
        with audited.service.database.transaction() as connection:
            return connection.execute("SELECT count(*) FROM auth.access_records").fetchone()[0]

    for _ in range(5):
        await asyncio.sleep(0.05)
        assert indexed() == 0
    await lock.release()
    await become_true(indexed)
    assert 0 <= LAG._value.get() < 10


async def test_the_lag_grows_while_the_bucket_is_away(start, clock, monkeypatch):
    audited = await start(audit_index_seconds=0.05)
    # Not the gauge: it may still say what an earlier test has left.
    await become_true(lambda: audited.parts.audit._complete_at)

    async def away(_prefix):
        raise OSError

    monkeypatch.setattr(audited.parts.audit.store, "list_folders", away)
    clock.wait(minutes=10)
    await become_true(lambda: LAG._value.get() > 500)
