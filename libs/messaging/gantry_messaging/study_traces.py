"""Traces of studies on their way from reception to the first picture of them.

While a trace is recorded its ``traceparent`` is kept for a while under its study; whoever serves the
first frame takes it, once over all processes, and so can add that moment to the trace. Losing one
costs a span.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from gantry.events.v1.events_pb2 import EVENT_KIND_INSTANCES_INDEXED, IndexEvent
from gantry_telemetry.tracing import is_sampled, mark_in_trace
from redis.asyncio import Redis

from gantry_messaging.connections import TROUBLE, call, connect

# How long after its reception the first look at a study still belongs to the trace, in seconds.
_KEPT_SECONDS = 3600
# A study is asked about once in so long, and after trouble with Redis none is.
_AGAIN_SECONDS = 60.0
_STUDIES = 1000

FIRST_FRAME = "first frame"


def trace_command(event: IndexEvent) -> tuple[str | int, ...] | None:
    """Return the command that keeps the trace of an event's study; ``None`` when there is none to keep."""
    if event.kind != EVENT_KIND_INSTANCES_INDEXED or not is_sampled(event.traceparent):
        return None
    key = _key(event.partition, event.study_instance_uid)
    return ("SET", key, event.traceparent, "NX", "EX", _KEPT_SECONDS)


class StudyTraces:
    """Marks the first frame of a study in the trace of its reception; belongs to one event loop."""

    def __init__(self, redis_url: str, *, enabled: bool) -> None:
        """Nothing is asked or connected unless ``enabled``: traces are recorded by this process."""
        self._redis: Redis | None = connect(redis_url) if enabled else None
        self._asked: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._quiet_until = 0.0
        self._marking: set[asyncio.Task[None]] = set()

    def first_frame(self, partition: str, study_uid: str) -> None:
        """Say that a frame of a study is served in the current span; returns at once."""
        if self._redis is None:
            return
        now = asyncio.get_running_loop().time()
        study = (partition, study_uid)
        if now < max(self._quiet_until, self._asked.get(study, 0.0)):
            return
        self._asked[study] = now + _AGAIN_SECONDS
        self._asked.move_to_end(study)
        if len(self._asked) > _STUDIES:
            self._asked.popitem(last=False)
        # Outside of the request's own work: a frame never waits for its trace.
        task = asyncio.create_task(self._mark(self._redis, partition, study_uid))
        self._marking.add(task)
        task.add_done_callback(self._marking.discard)

    async def _mark(self, redis: Redis, partition: str, study_uid: str) -> None:
        try:
            found = await call(redis, "GETDEL", _key(partition, study_uid))
        except TROUBLE:
            self._quiet_until = asyncio.get_running_loop().time() + _AGAIN_SECONDS
            return
        if found:
            mark_in_trace(bytes(found).decode("latin-1"), FIRST_FRAME, study_instance_uid=study_uid)

    async def close(self) -> None:
        """Close the connection; what is being marked is given up."""
        for task in self._marking:
            task.cancel()
        if self._redis is not None:
            await self._redis.aclose()


def _key(partition: str, study_uid: str) -> str:
    return f"trace:{partition}:{study_uid}"
