"""One trace from the request to the index commit, as a real OTLP receiver sees it."""

from __future__ import annotations

import asyncio
import json
import secrets

import pytest
from gantry_embedded.ports import free_port
from gantry_testing.dimse import store_all
from gantry_testing.recording import outgoing
from gantry_testing.stack import Stack
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from gantry_testing.web import encode_multipart
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

INDEX_COMMIT = "index commit"
FIRST_FRAME = "first frame"
ALL_THE_WAY = {
    "dimse.association",
    "dimse.c_store",
    "reception.receive",
    "object put",
    "index publish",
    INDEX_COMMIT,
    FIRST_FRAME,
}


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


async def collect(receiver, work, enough, seconds=60):
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


async def test_one_trace_leads_from_the_association_to_the_first_frame_served(traced, receiver):
    (instance,) = generate_study(601, "MR", size=(32, 32))

    path = f"series/{instance.series_uid}/instances/{instance.sop_uid}/frames/1"

    def is_served():
        with traced.web() as web:
            answer = web.http.get(f"{web.base_url}/studies/{instance.study_uid}/{path}")
            return answer.status_code == 200

    def work():
        store_all(traced.peer, [outgoing(instance)])
        wait_for(is_served, "the first frame")

    def spans_of_association(spans):
        (trace_id,) = {span.trace_id for span in spans if span.name == "dimse.association"} or {b""}
        return [span for span in spans if span.trace_id == trace_id]

    def is_complete(spans):
        return {span.name for span in spans_of_association(spans)} >= ALL_THE_WAY

    ours = spans_of_association(await collect(receiver, work, is_complete))
    (first,) = [span for span in ours if span.name == FIRST_FRAME]
    # Linked with the viewer's own request.
    (link,) = first.links
    assert link.trace_id != first.trace_id
    # Every span but the association hangs on another one of the trace.
    ids = {span.span_id for span in ours}
    assert {span.name for span in ours if span.parent_span_id not in ids} == {"dimse.association"}


async def test_log_lines_name_the_trace_that_they_belong_to(traced, receiver):
    trace_id, parent = secrets.token_hex(16), secrets.token_hex(8)

    def work():
        with traced.web() as web:
            headers = {"traceparent": f"00-{trace_id}-{parent}-01"}
            assert web.http.get(f"{web.base_url}/studies", headers=headers).status_code in (200, 204)

    await collect(receiver, work, lambda spans: bool(names_of_trace(spans, trace_id)))
    lines = [json.loads(line) for line in traced.log_text().splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line.get("trace_id") == trace_id]
    assert line["event"] == "http_request"
    assert line["service"] == "gateway"


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
