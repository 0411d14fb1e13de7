"""Telling the indexer: natural batches to a publisher that may be slow, never in the way of an answer.

An index request that is dropped here loses nothing: the journal leads to the object, and the
sweeper feeds it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from gantry.index.v1.index_pb2 import Header, IndexRequest, PixelLayout
from gantry_dicom.gate import Admission
from gantry_telemetry.logs import get_logger

from gantry_reception.instruments import NOT_OFFERED
from gantry_reception.settings import ReceiverSettings

# What one call of the publisher carries at most.
MOST_AT_ONCE = 256

log = get_logger(__name__)


class Publisher(Protocol):
    """Where index requests go; ``gantry_messaging.publisher.IndexPublisher`` is one."""

    async def publish(self, partition: str, requests: Sequence[IndexRequest], /) -> bool:
        """Publish ``requests`` of ``partition``, return whether they are out. Never raises."""
        ...


def header_within(admission: Admission, limit: int) -> Header | None:
    """Return what the index reads of an instance, or None when it exceeds ``limit`` bytes."""
    header = admission.header
    size = len(header.before_pixel_data) + len(header.after_pixel_data) + len(admission.frame_table)
    if size > limit:
        return None
    return Header(
        before_pixel_data=header.before_pixel_data,
        after_pixel_data=header.after_pixel_data,
        pixel_layout=PixelLayout(frame_table=admission.frame_table),
    )


@dataclass(slots=True)
class _Queue:
    requests: deque[IndexRequest] = field(default_factory=deque)
    draining: asyncio.Task[None] | None = None
    # When the next may go, on the loop's clock.
    not_before: float = 0.0


class IndexFeed:
    """Queues of index requests, one a partition, bounded together in number and bytes."""

    def __init__(self, publisher: Publisher, settings: ReceiverSettings) -> None:
        self._publisher = publisher
        self._settings = settings
        self._queues: dict[str, _Queue] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        # Set while somebody waits for what is held back.
        self._hurry = asyncio.Event()

    def offer(self, partition: str, request: IndexRequest) -> None:
        """Publish ``request`` with whatever else waits; returns at once."""
        size = request.ByteSize()
        if (
            self._waiting >= self._settings.publish_waiting
            or self._waiting_bytes + size > self._settings.publish_waiting_bytes
        ):
            NOT_OFFERED.labels("full").inc()
            return
        queue = self._queues.setdefault(partition, _Queue())
        queue.requests.append(request)
        self._waiting += 1
        self._waiting_bytes += size
        if queue.draining is None:
            queue.draining = asyncio.create_task(self._drain(partition, queue))
            queue.draining.add_done_callback(_tell)

    def hurry(self) -> None:
        """Publish what is held back (``publish_interval``) at once: somebody waits for it."""
        if any(queue.requests for queue in self._queues.values()):
            self._hurry.set()

    async def finish(self, seconds: float) -> None:
        """Wait until what is offered is published; what takes longer is left to the sweeper."""
        self.hurry()
        tasks = [queue.draining for queue in self._queues.values() if queue.draining]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _drain(self, partition: str, queue: _Queue) -> None:
        try:
            while queue.requests:
                await self._hold_back(queue)
                # Whoever comes while this call is under way goes with the next one.
                taken = [queue.requests.popleft() for _ in range(min(MOST_AT_ONCE, len(queue.requests)))]
                self._waiting -= len(taken)
                self._waiting_bytes -= sum(request.ByteSize() for request in taken)
                try:
                    async with asyncio.timeout(self._settings.publish_seconds):
                        await self._publisher.publish(partition, taken)
                except TimeoutError:
                    NOT_OFFERED.labels("slow").inc(len(taken))
                    log.warning("index_requests_not_published", partition=partition, count=len(taken))
        finally:
            queue.draining = None

    async def _hold_back(self, queue: _Queue) -> None:
        loop = asyncio.get_running_loop()
        pause = queue.not_before - loop.time()
        if pause > 0 and len(queue.requests) < MOST_AT_ONCE:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hurry.wait()
        self._hurry.clear()
        queue.not_before = loop.time() + self._settings.publish_interval


def _tell(task: asyncio.Task[None]) -> None:
    # A publisher that raises breaks its contract; what waits goes with the next request.
    if not task.cancelled() and task.exception() is not None:
        log.error("index_publisher_failed", exc_info=task.exception())
