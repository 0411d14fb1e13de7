"""The first frame of a study is marked once in the trace of its reception, and nobody waits for that."""

from __future__ import annotations

import pytest
from gantry.events.v1.events_pb2 import EVENT_KIND_CONFLICT_FOUND, EVENT_KIND_INSTANCES_INDEXED, IndexEvent
from gantry_messaging import study_traces
from gantry_messaging.study_traces import StudyTraces, trace_command
from redis import Redis

RECORDED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_RECORDED = RECORDED.removesuffix("01") + "00"


def event(traceparent, kind=EVENT_KIND_INSTANCES_INDEXED):
    return IndexEvent(kind=kind, partition="main", study_instance_uid="1.2.3", traceparent=traceparent)


@pytest.fixture
def marked(monkeypatch):
    seen = []
    monkeypatch.setattr(
        study_traces, "mark_in_trace", lambda traceparent, name, **_: seen.append(traceparent)
    )
    return seen


async def settled(traces):
    while traces._marking:
        await next(iter(traces._marking))


async def test_one_process_of_many_marks_the_first_frame(redis_url, marked):
    Redis.from_url(redis_url).execute_command(*trace_command(event(RECORDED)))
    processes = [StudyTraces(redis_url, enabled=True) for _ in range(2)]
    for _ in range(3):
        for traces in processes:
            traces.first_frame("main", "1.2.3")
            await settled(traces)
    assert marked == [RECORDED]
    for traces in processes:
        await traces.close()


async def test_a_study_of_another_partition_is_not_meant(redis_url, marked):
    Redis.from_url(redis_url).execute_command(*trace_command(event(RECORDED)))
    traces = StudyTraces(redis_url, enabled=True)
    traces.first_frame("other", "1.2.3")
    await settled(traces)
    assert marked == []
    await traces.close()


def test_only_recorded_traces_of_what_was_indexed_are_kept():
    assert trace_command(event(NOT_RECORDED)) is None
    assert trace_command(event("")) is None
    assert trace_command(event(RECORDED, EVENT_KIND_CONFLICT_FOUND)) is None


async def test_a_redis_that_is_away_costs_a_mark_and_is_left_alone_for_a_while(free_port, marked):
    traces = StudyTraces(f"redis://127.0.0.1:{free_port}", enabled=True)
    traces.first_frame("main", "1.2.3")
    await settled(traces)
    traces.first_frame("main", "1.2.4")
    assert not traces._marking
    assert marked == []
    await traces.close()


async def test_without_traces_nothing_is_asked(free_port):
    traces = StudyTraces(f"redis://127.0.0.1:{free_port}", enabled=False)
    traces.first_frame("main", "1.2.3")
    assert not traces._marking
    await traces.close()
