"""Puts index requests on the streams, on the way to an acknowledgement and never in its way.

Publishing is a courtesy: the journal already leads to the object. So every failure is a
``False``, nothing waits longer than a second once, and after that second nobody waits
until Redis answers again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from gantry.index.v1.index_pb2 import IndexRequest
from gantry_telemetry.logs import get_logger
from gantry_telemetry.metrics import counter
from gantry_telemetry.tracing import span_in_each
from opentelemetry.trace import SpanKind

from gantry_messaging.circuit import Circuit
from gantry_messaging.connections import TROUBLE, connect, drop_connections
from gantry_messaging.names import BODY, INDEX_STREAMS, stream_of
from gantry_messaging.seals import Seals

log = get_logger(__name__)

PUBLISHED = counter("gantry_index_published", "Index requests put on a stream", ["stream"])
NOT_PUBLISHED = counter("gantry_index_not_published", "Index requests left to the sweeper", ["reason"])

# One round trip carries at most so many entries and bytes.
PIPELINE_ENTRIES = 256
PIPELINE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class PublisherLimits:
    """Bounds of the index streams, in entries, and of a header in a message, in bytes."""

    # Beyond this depth messages carry no headers: the indexer reads them from the store.
    headers_below: int = 2_000
    # Beyond this depth nothing is published: the journal is the queue.
    depth: int = 20_000
    header_bytes: int = 128 << 10
    # Requests of this process that may wait for the round trip in flight.
    waiting: int = 4_096
    timeout: float = 1.0
    # How long a stream's length is believed, in seconds.
    depth_age: float = 0.5


@dataclass(slots=True)
class _Order:
    entries: list[tuple[str, bytes]]
    done: asyncio.Future[bool]


class IndexPublisher:
    """Publishes ``IndexRequest`` messages; one per process and event loop.

    Requests that arrive while a round trip is under way share the next one.
    """

    def __init__(self, redis_url: str, seals: Seals, limits: PublisherLimits | None = None) -> None:
        self._limits = limits or PublisherLimits()
        self._seals = seals
        self._redis = connect(redis_url, timeout=self._limits.timeout)
        self._circuit = Circuit("redis", self._redis.ping)
        self._orders: deque[_Order] = deque()
        self._waiting = 0
        self._flusher: asyncio.Task[None] | None = None
        self._depths: dict[str, int] = {}
        self._depths_read = float("-inf")

    async def publish(self, partition: str, requests: Sequence[IndexRequest]) -> bool:
        """Put ``requests`` of ``partition`` on the streams of their lanes.

        Returns whether all of them are there; never raises because of Redis. What is not
        published is found by the sweeper.
        """
        if not requests:
            return True
        if self._circuit.is_open:
            return self._left(len(requests), "circuit")
        if self._waiting + len(requests) > self._limits.waiting:
            return self._left(len(requests), "busy")
        if time.monotonic() - self._depths_read > self._limits.depth_age and not await self._read_depths():
            return self._left(len(requests), "redis")
        entries = self._entries(partition, requests)
        if entries is None:
            return self._left(len(requests), "depth")
        order = _Order(entries, asyncio.get_running_loop().create_future())
        self._orders.append(order)
        self._waiting += len(entries)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        traces = (request.traceparent for request in requests)
        with span_in_each(traces, "index publish", SpanKind.PRODUCER, count=len(requests)):
            sent = await order.done
        return sent or self._left(len(requests), "redis")

    def _entries(self, partition: str, requests: Sequence[IndexRequest]) -> list[tuple[str, bytes]] | None:
        entries = []
        for request in requests:
            stream = stream_of(request.reception.lane)
            depth = self._depths.get(stream, 0)
            if depth >= self._limits.depth:
                return None
            with_header = (
                depth < self._limits.headers_below
                and request.HasField("header")
                and request.header.ByteSize() <= self._limits.header_bytes
            )
            message = IndexRequest(
                partition=partition,
                reception=request.reception,
                header=request.header if with_header else None,
                traceparent=request.traceparent,
                reply_to=request.reply_to,
            )
            entries.append((stream, self._seals.seal(message)))
        return entries

    async def depths(self) -> dict[str, int] | None:
        """Return the lengths of the index streams now; ``None`` when Redis does not say."""
        if self._circuit.is_open or not await self._read_depths():
            return None
        return dict(self._depths)

    async def _read_depths(self) -> bool:
        # Set first: callers that come while we ask go by the old lengths instead of asking too.
        self._depths_read = time.monotonic()
        try:
            pipeline = self._redis.pipeline(transaction=False)
            for stream in INDEX_STREAMS:
                pipeline.xlen(stream)
            lengths = await pipeline.execute()
        except TROUBLE as error:
            await self._gave_up(error)
            return False
        self._depths = dict(zip(INDEX_STREAMS, lengths, strict=True))
        return True

    async def _flush(self) -> None:
        while self._orders:
            taken = self._take()
            sent = False
            if not self._circuit.is_open:
                try:
                    await self._send([entry for order in taken for entry in order.entries])
                    sent = True
                except TROUBLE as error:
                    await self._gave_up(error)
            for order in taken:
                self._waiting -= len(order.entries)
                if not order.done.done():
                    order.done.set_result(sent)

    def _take(self) -> list[_Order]:
        taken = [self._orders.popleft()]
        entries = len(taken[0].entries)
        size = sum(len(data) for _, data in taken[0].entries)
        while self._orders:
            order = self._orders[0]
            entries += len(order.entries)
            size += sum(len(data) for _, data in order.entries)
            if entries > PIPELINE_ENTRIES or size > PIPELINE_BYTES:
                break
            taken.append(self._orders.popleft())
        return taken

    async def _send(self, entries: list[tuple[str, bytes]]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for stream, data in entries:
            pipeline.execute_command("XADD", stream, "*", BODY, data)
        async with asyncio.timeout(2 * self._limits.timeout):
            await pipeline.execute()
        for stream, _ in entries:
            PUBLISHED.labels(stream).inc()
            self._depths[stream] = self._depths.get(stream, 0) + 1

    async def _gave_up(self, error: BaseException) -> None:
        log.warning("index_publish_failed", error=type(error).__name__)
        self._circuit.trip()
        await drop_connections(self._redis)

    def _left(self, count: int, reason: str) -> bool:
        NOT_PUBLISHED.labels(reason).inc(count)
        return False

    async def close(self) -> None:
        """Finish the round trip in flight and close the connections."""
        if self._flusher is not None:
            await asyncio.wait([self._flusher], timeout=2 * self._limits.timeout)
        await self._circuit.close()
        await self._redis.aclose()
