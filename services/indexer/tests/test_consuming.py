"""From the receiver through the stream into the index, with real servers."""

from __future__ import annotations

import asyncio

import pytest
from gantry.events.v1.events_pb2 import EventKind, IndexEvent
from gantry.index.v1.index_pb2 import IndexRequest, VerdictState
from gantry.reception.v1.reception_pb2 import Lane, Outcome, Reception
from gantry_dicom.gate import admit
from gantry_index.verdicts import begin_attempt
from gantry_messaging.connections import connect
from gantry_messaging.names import BODY, EVENTS, INDEX_LIVE, ISOLATE_QUEUE
from gantry_messaging.publisher import IndexPublisher
from gantry_messaging.verdicts import VerdictListener
from gantry_objectstore.keys import new_batch_id, object_key
from gantry_objectstore.sealing import Sealer
from gantry_testing.builders import file_of, identified

INDEXED = VerdictState.VERDICT_STATE_INDEXED


async def test_what_is_stored_is_indexed_and_its_verdict_comes_back(
    fronting, indexing, settings, database, sealer
):
    listener = VerdictListener(settings.redis_url, sealer)
    assert await listener.start(5)
    async with indexing(settings), fronting(settings) as front:
        (reception,) = await front.store(1, reply_to=listener.reply_to)
        verdict = await listener.wait(reception.object_key, 10)
    await listener.close()
    assert verdict is not None
    assert verdict.state == INDEXED
    assert await database.fetchval("SELECT object_key FROM instance") == reception.object_key


async def test_an_instance_without_header_in_the_message_is_read_from_the_store(
    fronting, indexing, states, until, settings, database
):
    async with indexing(settings), fronting(settings, headers_below=0) as front:
        receptions = await front.store(1)
        await until(states(database, receptions))
        without = await database.fetchrow("SELECT document FROM study_document")
    async with fronting(settings) as front, indexing(settings):
        receptions = await front.store(1, partition="other")
        await until(states(database, receptions))
    documents = await database.fetch("SELECT document FROM study_document")
    assert [row["document"] for row in documents] == [without["document"]] * 2


async def test_redelivery_changes_nothing(fronting, indexing, states, until, settings, database, sealer):
    class Twice:
        def __init__(self):
            self.inner = IndexPublisher(settings.redis_url, sealer)
            self.requests = []

        async def publish(self, partition, requests, /):
            self.requests += requests
            return await self.inner.publish(partition, requests)

    publisher = Twice()
    async with indexing(settings), fronting(settings, publisher=publisher) as front:
        receptions = await front.store(*range(1, 6))
        await until(states(database, receptions))
        before = await snapshot(database)
        await publisher.inner.publish("main", publisher.requests)
        await publisher.inner.publish("main", publisher.requests[::-1])
        await until(lambda: drained(settings))
        assert await snapshot(database) == before
        await publisher.inner.close()


async def test_two_consumers_index_everything_once(fronting, indexing, states, until, settings, database):
    async with indexing(settings), indexing(settings), fronting(settings) as front:
        receptions = await front.store(*range(1, 121))
        assert set(await until(states(database, receptions))) == {INDEXED}
    assert await database.fetchval("SELECT instance_count FROM study") == 120
    assert await database.fetchval("SELECT count(*) FROM instance") == 120


async def test_a_flush_in_mid_flow_loses_at_most_what_was_on_the_stream(
    fronting, indexing, states, until, settings, database
):
    async with indexing(settings), fronting(settings) as front:
        first = await front.store(1)
        await until(states(database, first))
        async with connect(settings.redis_url) as redis:
            await redis.flushall()
        second = await front.store(2)
        assert await until(states(database, second)) == [INDEXED]


async def test_entries_wait_while_the_database_is_down(
    fronting, indexing, states, until, settings, database, free_port
):
    async with Forwarder(settings.index_dsn, free_port) as forwarder, fronting(settings) as front:
        await forwarder.stop()
        through = settings.model_copy(update={"index_dsn": forwarder.dsn})
        async with indexing(through, dead_after=1.0), indexing(through, dead_after=1.0):
            receptions = await front.store(1, 2, 3)
            # Longer than a dead consumer's entries stay with it: this one lives.
            await asyncio.sleep(2.5)
            async with connect(settings.redis_url) as redis:
                assert await redis.xlen(INDEX_LIVE) == 3
                assert await redis.llen(ISOLATE_QUEUE) == 0
            await forwarder.start()
            assert await until(states(database, receptions)) == [INDEXED] * 3


async def test_a_poison_instance_holds_up_nobody(fronting, indexing, states, until, settings, database):
    poison = identified(2)["SOPInstanceUID"]
    with_fault = settings.model_copy(update={"fault_raise_sop_uids": poison})
    async with indexing(with_fault), fronting(settings) as front:
        receptions = await front.store(1, 2, 3)
        good = [receptions[0], receptions[2]]
        assert await until(states(database, good)) == [INDEXED] * 2
        async with connect(settings.redis_url) as redis:
            assert await until(lambda: redis.llen(ISOLATE_QUEUE)) == 1
            await until(lambda: drained(settings))


async def test_what_was_tried_alone_without_a_verdict_is_not_tried_in_a_chunk_again(
    fronting, indexing, silence, states, until, settings, database, sealer
):
    async with fronting(settings, publisher=silence) as front:
        receptions = await front.store(1, 2)
    async with indexing(settings) as parts:
        await begin_attempt(parts.pool, "main", receptions[0])
        publisher = IndexPublisher(settings.redis_url, sealer)
        for reception in receptions:
            reception.lane = Lane.LANE_REPLAY
        requests = [IndexRequest(partition="main", reception=reception) for reception in receptions]
        assert await publisher.publish("main", requests)
        await until(states(database, receptions[1:]))
        async with connect(settings.redis_url) as redis:
            assert await until(lambda: redis.llen(ISOLATE_QUEUE)) == 1
        await publisher.close()
    assert await database.fetchval("SELECT count(*) FROM instance") == 1


async def test_events_leave_through_the_outbox(fronting, indexing, states, until, settings, database, sealer):
    async with indexing(settings), fronting(settings) as front, connect(settings.redis_url) as redis:
        receptions = await front.store(1, 2)
        await until(states(database, receptions))

        async def announced():
            events = [sealer.open(fields[BODY], IndexEvent) for _, fields in await redis.xrange(EVENTS)]
            return {
                uid
                for event in events
                if event.kind == EventKind.EVENT_KIND_INSTANCES_INDEXED
                for uid in event.sop_instance_uids
            }

        wanted = {reception.sop_instance_uid for reception in receptions}
        await until(lambda: matches(announced, wanted))

        async def empty():
            return await database.fetchval("SELECT count(*) FROM outbox") == 0

        await until(empty)


async def test_the_commit_is_a_span_of_the_senders_trace(
    fronting, indexing, states, until, settings, database, monkeypatch
):
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    trace_ids = ["1" * 32, "2" * 32]
    async with indexing(settings), fronting(settings) as front:
        receptions = []
        for number, trace_id in enumerate(trace_ids):
            receptions += await front.store(number, traceparent=f"00-{trace_id}-{'3' * 16}-01")
        await until(states(database, receptions))
    commits = [span for span in exporter.get_finished_spans() if span.name == "index commit"]
    assert {format(span.context.trace_id, "032x") for span in commits} == set(trace_ids)


def forged_request(kind: str, reception: Reception) -> IndexRequest:
    request = IndexRequest(partition="main", reception=reception)
    match kind:
        case "no journal entry and no manifest":
            request.reception.batch = new_batch_id()
            request.reception.object_key = object_key("main", request.reception.batch, 1)
        case "another partition than the journal's":
            request.partition = "other"
            request.reception.object_key = object_key("other", reception.batch, reception.ordinal)
        case "another ordinal than the key's":
            request.reception.ordinal += 1
        case "no key of an object":
            request.reception.object_key = f"m/main/2026-01-01/{reception.batch}"
    return request


@pytest.mark.parametrize(
    "kind",
    [
        "no journal entry and no manifest",
        "another partition than the journal's",
        "another ordinal than the key's",
        "no key of an object",
    ],
)
async def test_a_request_that_the_store_does_not_vouch_for_is_dropped(
    fronting, indexing, until, settings, database, sealer, kind
):
    class Hold:
        async def publish(self, partition, requests, /):
            return False

    async with fronting(settings, publisher=Hold()) as front:
        (reception,) = await front.store(1)
        publisher = IndexPublisher(settings.redis_url, sealer)
        request = forged_request(kind, reception)
        async with indexing(settings):
            assert await publisher.publish(request.partition, [request])
            await until(lambda: drained(settings))
        await publisher.close()
    assert await database.fetchval("SELECT count(*) FROM reception") == 0


async def test_a_request_sealed_by_another_is_dropped(fronting, indexing, states, until, settings, database):
    stranger = Sealer.from_text("test:" + "00" * 32)
    async with fronting(settings) as front, indexing(settings):
        (reception,) = await front.store(1)
        await until(states(database, [reception]))
        forged = Reception()
        forged.CopyFrom(reception)
        forged.ordinal = 2
        forged.object_key = object_key("main", reception.batch, 2)
        publisher = IndexPublisher(settings.redis_url, stranger)
        assert await publisher.publish("main", [IndexRequest(partition="main", reception=forged)])
        await until(lambda: drained(settings))
        await publisher.close()
    assert await database.fetchval("SELECT count(*) FROM reception") == 1


async def test_what_a_manifest_refuses_is_never_indexed(
    fronting, indexing, source, until, settings, database, sealer
):
    class Hold:
        async def publish(self, partition, requests, /):
            return False

    data = file_of(identified(1))
    async with fronting(settings, publisher=Hold()) as front:
        from gantry_dicom.refusals import Refusal

        placement = await front.receiver.place(admit(data), data, source, partition="main")
        await front.receiver.refuse(placement, Refusal.NOT_ALLOWED)
    # The batch is closed: its manifest says refused. A message claims the contrary.
    reception = placement.line.reception
    lie = Reception()
    lie.CopyFrom(reception)
    lie.outcome = Outcome.OUTCOME_ACKNOWLEDGED
    await forget_journal(settings, reception.batch)
    publisher = IndexPublisher(settings.redis_url, sealer)
    async with indexing(settings):
        assert await publisher.publish("main", [IndexRequest(partition="main", reception=lie)])
        await until(lambda: drained(settings))
    await publisher.close()
    assert await database.fetchval("SELECT count(*) FROM reception") == 0


async def test_an_unanswered_instance_is_indexed_from_its_object_or_not_at_all(
    fronting, indexing, until, settings, database, sealer
):
    from gantry_objectstore.store import open_store

    class Hold:
        async def publish(self, partition, requests, /):
            return False

    async with fronting(settings, publisher=Hold()) as front:
        (reception,) = await front.store(1)
        there = Reception(
            object_key=reception.object_key,
            batch=reception.batch,
            ordinal=reception.ordinal,
            store_id="primary",
            outcome=Outcome.OUTCOME_UNANSWERED,
        )
        absent = Reception()
        absent.CopyFrom(there)
        absent.ordinal = 9
        absent.object_key = object_key("main", reception.batch, 9)
        publisher = IndexPublisher(settings.redis_url, sealer)
        async with indexing(settings):
            requests = [IndexRequest(partition="main", reception=line) for line in (absent, there)]
            assert await publisher.publish("main", requests)
            await until(lambda: drained(settings))
        await publisher.close()
    rows = await database.fetch("SELECT object_key, state, data_set_digest FROM reception")
    assert [(row["object_key"], row["state"]) for row in rows] == [(reception.object_key, INDEXED)]
    assert rows[0]["data_set_digest"] == reception.data_set_digest
    await open_store(settings.store_url).close()


async def forget_journal(settings, batch):
    from gantry_objectstore.keys import journal_key
    from gantry_objectstore.store import open_store

    store = open_store(settings.store_url)
    await store.delete(journal_key(batch))
    await store.close()


async def matches(look, wanted):
    return await look() == wanted


async def drained(settings):
    """Whether every entry of the live stream has been dealt with."""
    async with connect(settings.redis_url) as redis:
        return await redis.xlen(INDEX_LIVE) == 0


async def snapshot(database):
    """Return what redelivery must not change."""
    return [
        [tuple(row) for row in await database.fetch(f"SELECT * FROM {table} ORDER BY 1, 2")]
        for table in ("reception", "study", "series", "instance", "finding")
    ]


class Forwarder:
    """A TCP relay in front of PostgreSQL that can go away and come back."""

    def __init__(self, dsn, port):
        rest, address = dsn.rsplit("@", 1)
        self._target = address.split("/")[0].split(":")
        self.dsn = f"{rest}@127.0.0.1:{port}/{address.split('/', 1)[1]}"
        self._port = port
        self._server = None
        self._writers = set()

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *exc_info):
        await self.stop()

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def stop(self):
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.close()
            self._writers.clear()
            self._server = None

    async def _serve(self, reader, writer):
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, upstream_writer}
        await asyncio.gather(
            self._pump(reader, upstream_writer), self._pump(upstream_reader, writer), return_exceptions=True
        )

    async def _pump(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
