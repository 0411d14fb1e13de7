"""One trace from the request to the index commit, as a real OTLP receiver sees it."""

from __future__ import annotations

import asyncio
import secrets

import pytest
from gantry_embedded.ports import free_port
from gantry_testing.dimse import store_all
from gantry_testing.recording import outgoing
from gantry_testing.stack import Stack
from gantry_testing.synthetic import generate_study
from gantry_testing.web import encode_multipart
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

INDEX_COMMIT = "index commit"


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def traced(tmp_path_factory, port):
    """A stack that sends its spans to the port on which the tests listen."""
    environment = {"GANTRY_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
    services = ("indexer", "ingest", "gateway")
    with Stack(tmp_path_factory.mktemp("traced"), environment=environment, services=services) as running:
        yield running


@pytest.fixture
async def receiver(port):
    settings = OtelTapHttpProtobufReceiverSettings(http_port=port)
    async with OtelTapHttpProtobufReceiver(settings) as running:
        yield running


def names_of_trace(seen, trace_id):
    return {span.name for span in seen if span.trace_id.hex() == trace_id}


async def collect(receiver, work, enough, seconds=30):
    """Return the spans received until ``enough`` says so, while and after ``work`` runs in a thread."""
    seen = []
    stream = receiver.stream_traces()
    working = asyncio.create_task(asyncio.to_thread(work))
    async with asyncio.timeout(seconds):
        async for span in stream:
            seen.append(span)
            if enough(seen):
                break
    await working
    return seen


async def test_a_store_request_is_one_trace_down_to_the_index_commit(traced, receiver):
    (instance,) = generate_study(600, "MR", size=(32, 32))
    trace_id, parent = secrets.token_hex(16), secrets.token_hex(8)

    def work():
        content_type, body = encode_multipart([instance.data])
        with traced.web() as web:
            answer = web.http.post(
                f"{web.base_url}/studies",
                content=body,
                headers={"Content-Type": content_type, "traceparent": f"00-{trace_id}-{parent}-01"},
            )
            assert answer.status_code == 200

    seen = await collect(receiver, work, lambda spans: INDEX_COMMIT in names_of_trace(spans, trace_id))
    ours = {span.span_id: span for span in seen if span.trace_id.hex() == trace_id}
    # Every span hangs on another of the trace; the topmost on the caller's.
    await collect_parents(receiver, ours, bytes.fromhex(trace_id), bytes.fromhex(parent))
    assert {"stow.part", "reception.receive", INDEX_COMMIT} <= {span.name for span in ours.values()}


async def collect_parents(receiver, ours, trace_id, root):
    """Wait until every parent has arrived: spans are sent when they end, parents after children."""
    stream = receiver.stream_traces()
    async with asyncio.timeout(15):
        while {span.parent_span_id for span in ours.values()} - set(ours) - {root}:
            span = await anext(stream)
            if span.trace_id == trace_id:
                ours[span.span_id] = span


async def test_a_c_store_is_one_trace_down_to_the_index_commit(traced, receiver):
    (instance,) = generate_study(601, "MR", size=(32, 32))

    def trace_of_store(spans):
        return next((span.trace_id.hex() for span in spans if span.name == "dimse.c_store"), "")

    seen = await collect(
        receiver,
        lambda: store_all(traced.peer, [outgoing(instance)]),
        lambda spans: INDEX_COMMIT in names_of_trace(spans, trace_of_store(spans)),
    )
    names = names_of_trace(seen, trace_of_store(seen))
    assert {"dimse.c_store", "reception.receive", INDEX_COMMIT} <= names


async def test_spans_say_nothing_about_patients(traced, receiver):
    (instance,) = generate_study(602, "MR", size=(32, 32))
    seen = await collect(
        receiver,
        lambda: store_all(traced.peer, [outgoing(instance)]),
        lambda spans: any(span.name == INDEX_COMMIT for span in spans),
    )
    text = " ".join(str(span) for span in seen)
    for value in (instance.patient.patient_name, instance.patient.patient_id):
        assert value not in text
