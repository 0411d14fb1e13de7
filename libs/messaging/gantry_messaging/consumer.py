"""Takes index requests off the streams, live before bulk before replay.

A read takes what is there, up to a bound: under load that is a full chunk and one commit,
without load a single instance at once (a natural group commit). Entries stay pending until
``done``; those of a consumer that died are claimed by another one and marked, because the
entry may be what killed it.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gantry.index.v1.index_pb2 import IndexRequest
from gantry_dicom.errors import GantryError
from gantry_telemetry.logs import get_logger
from gantry_telemetry.metrics import counter
from redis.exceptions import ResponseError

from gantry_messaging.connections import TROUBLE, call, connect, drop_connections
from gantry_messaging.names import BODY, INDEX_BULK, INDEX_GROUP, INDEX_LIVE, INDEX_REPLAY, INDEX_STREAMS
from gantry_messaging.seals import Seals

log = get_logger(__name__)

# What the library makes of an answer: nested lists, an entry's fields as a mapping.
RespValue: TypeAlias = Any

FORGED = counter(
    "gantry_index_forged", "Stream entries without a valid seal, dropped", ["stream"], known=INDEX_STREAMS
)
CLAIMED = counter("gantry_index_claimed", "Stream entries taken over from a dead consumer", ["stream"])


@dataclass(frozen=True, slots=True)
class Entry:
    """A request taken from a stream."""

    stream: str
    entry_id: bytes
    request: IndexRequest
    # Taken over from a consumer that stopped working on it.
    claimed: bool

    @property
    def queued_at(self) -> float:
        """Seconds since the epoch by the Redis server's clock."""
        return int(self.entry_id.split(b"-")[0]) / 1000


@dataclass(frozen=True, slots=True)
class ConsumerLimits:
    """Sizes in entries, times in seconds."""

    batch: int = 64
    # Of a batch, what bulk and replay may have even while live fills it: nobody starves.
    bulk_floor: int = 6
    replay_floor: int = 2
    block: float = 1.0
    # A pending entry untouched for so long belongs to a dead consumer. Living ones touch
    # theirs three times as often, also while they wait for a database.
    dead_after: float = 30.0
    claim_every: float = 10.0
    forget_consumer_after: float = 3600.0
    longest_pause: float = 2.0


class IndexConsumer:
    """One member of the consumer group ``indexer``; use it as an asynchronous context manager.

    Connects for ever, and makes the group anew when Redis lost it (FLUSHALL, no persistence).
    """

    def __init__(self, redis_url: str, seals: Seals, limits: ConsumerLimits | None = None) -> None:
        self._limits = limits or ConsumerLimits()
        self._seals = seals
        # A blocking read must not look like a dead connection.
        self._redis = connect(redis_url, timeout=self._limits.block + 2.0)
        # Never reused: what is pending under a name tells who is dead.
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._held: set[tuple[str, bytes]] = set()
        self._unacknowledged: set[tuple[str, bytes]] = set()
        self._claimed_at = float("-inf")
        self._pause = 0.0
        self._touching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> IndexConsumer:
        self._touching = asyncio.create_task(self._touch_for_ever())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._touching is not None:
            self._touching.cancel()
            await asyncio.wait([self._touching])
        await self._redis.aclose()

    async def next_batch(self) -> list[Entry]:
        """Return the next entries, or an empty list after ``block`` seconds without any.

        Waits out an unreachable Redis with growing pauses; never raises because of it.
        Claimed entries come in batches of their own.
        """
        try:
            entries = await self._claim() or await self._read()
        except ResponseError as error:
            if "NOGROUP" not in str(error) and "UNBLOCKED" not in str(error):
                await self._recover(error)
            else:
                await self._make_groups()
            return []
        except TROUBLE as error:
            await self._recover(error)
            return []
        self._pause = 0.0
        self._held.update((entry.stream, entry.entry_id) for entry in entries)
        return entries

    async def done(self, entries: Sequence[Entry]) -> None:
        """Acknowledge and delete ``entries``, which have been dealt with.

        When Redis is away they are remembered and acknowledged with the next ones.
        """
        keys = {(entry.stream, entry.entry_id) for entry in entries}
        self._held -= keys
        self._unacknowledged |= keys
        try:
            await self._acknowledge()
        except TROUBLE as error:
            log.warning(
                "index_acknowledge_failed", error=type(error).__name__, count=len(self._unacknowledged)
            )
            await drop_connections(self._redis)

    def release(self, entries: Sequence[Entry]) -> None:
        """Stop keeping ``entries`` alive; another consumer will claim them in time."""
        self._held -= {(entry.stream, entry.entry_id) for entry in entries}

    async def _read(self) -> list[Entry]:
        limits = self._limits
        pipeline = self._redis.pipeline(transaction=False)
        quotas = {
            INDEX_LIVE: limits.batch - limits.bulk_floor - limits.replay_floor,
            INDEX_BULK: limits.bulk_floor,
            INDEX_REPLAY: limits.replay_floor,
        }
        for stream, quota in quotas.items():
            pipeline.execute_command(*self._read_command(quota, [stream]))
        # One lane's error must not lose what another lane has already handed over.
        answers = await pipeline.execute(raise_on_error=False)
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        found: list[Entry] = []
        for answer in answers:
            if not isinstance(answer, Exception):
                found += await self._parse(answer, claimed=False)
        if errors and not found:
            raise errors[0]
        # What one lane leaves free goes to the next, so an import alone fills whole chunks.
        for stream in INDEX_STREAMS:
            free = limits.batch - len(found)
            if found and free > 0 and sum(entry.stream == stream for entry in found) >= quotas[stream]:
                found += await self._parse(
                    await call(self._redis, *self._read_command(free, [stream])), claimed=False
                )
        if found:
            return found
        if self._unacknowledged:
            await self._acknowledge()
        return await self._parse(await self._read_blocking(), claimed=False)

    async def _read_blocking(self) -> RespValue:
        block = ("BLOCK", int(self._limits.block * 1000))
        return await call(self._redis, *self._read_command(self._limits.batch, INDEX_STREAMS, block))

    def _read_command(
        self, count: int, streams: Sequence[str], block: tuple[str, int] | tuple[()] = ()
    ) -> list[str | int]:
        return [
            *("XREADGROUP", "GROUP", INDEX_GROUP, self.name, "COUNT", count),
            *block,
            *("STREAMS", *streams, *(">" for _ in streams)),
        ]

    async def _claim(self) -> list[Entry]:
        now = time.monotonic()
        if now - self._claimed_at < self._limits.claim_every:
            return []
        found: list[Entry] = []
        for stream in INDEX_STREAMS:
            answer = await call(
                self._redis,
                *("XAUTOCLAIM", stream, INDEX_GROUP, self.name),
                *(int(self._limits.dead_after * 1000), "0-0", "COUNT", self._limits.batch),
            )
            # Entries whose commit is done but whose acknowledgement Redis did not take are ours.
            rows = [row for row in answer[1] if (stream, row[0]) not in self._unacknowledged]
            found += await self._parse([[stream.encode(), rows]], claimed=True)
            await self._forget_dead_consumers(stream)
        if found:
            log.warning("index_entries_claimed", count=len(found))
            for entry in found:
                CLAIMED.labels(entry.stream).inc()
        else:
            self._claimed_at = now
        return found

    async def _forget_dead_consumers(self, stream: str) -> None:
        for row in await self._redis.xinfo_consumers(stream, INDEX_GROUP):
            idle = row["idle"] / 1000
            if row["pending"] == 0 and idle > self._limits.forget_consumer_after:
                await self._redis.xgroup_delconsumer(stream, INDEX_GROUP, row["name"])

    async def _parse(self, answer: RespValue, *, claimed: bool) -> list[Entry]:
        entries = []
        forged: list[tuple[str, bytes]] = []
        for name, rows in answer or ():
            stream = name.decode()
            for entry_id, fields in rows:
                request = self._open(fields)
                if request is None:
                    forged.append((stream, entry_id))
                    FORGED.labels(stream).inc()
                else:
                    entries.append(Entry(stream, entry_id, request, claimed))
        if forged:
            log.error("index_entries_forged", count=len(forged))
            self._unacknowledged.update(forged)
            await self._acknowledge()
        return entries

    def _open(self, fields: Mapping[bytes, bytes] | None) -> IndexRequest | None:
        body = (fields or {}).get(BODY)
        if body is None:
            return None
        try:
            return self._seals.open(body, IndexRequest)
        except GantryError:
            return None

    async def _acknowledge(self) -> None:
        keys = set(self._unacknowledged)
        pipeline = self._redis.pipeline(transaction=False)
        for stream, ids in _by_stream(keys).items():
            pipeline.execute_command("XACK", stream, INDEX_GROUP, *ids)
            pipeline.execute_command("XDEL", stream, *ids)
        await pipeline.execute()
        self._unacknowledged -= keys

    async def _make_groups(self) -> None:
        log.warning("index_group_created")
        for stream in INDEX_STREAMS:
            try:
                await call(self._redis, "XGROUP", "CREATE", stream, INDEX_GROUP, "0", "MKSTREAM")
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    await self._recover(error)
            except TROUBLE as error:
                await self._recover(error)
                return

    async def _recover(self, error: BaseException) -> None:
        self._pause = min(max(0.1, 2 * self._pause), self._limits.longest_pause)
        log.warning("index_stream_unreachable", error=type(error).__name__, delay_s=round(self._pause, 2))
        await drop_connections(self._redis)
        await asyncio.sleep(self._pause * random.uniform(0.7, 1.3))  # noqa: S311 - spreads reconnects

    async def _touch_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._limits.dead_after / 3)
            try:
                for stream, ids in _by_stream(self._held | self._unacknowledged).items():
                    await self._redis.xclaim(stream, INDEX_GROUP, self.name, 0, list(ids), justid=True)
            except TROUBLE as error:
                log.info("index_touch_failed", error=type(error).__name__)


def _by_stream(keys: Iterable[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    by_stream: defaultdict[str, list[bytes]] = defaultdict(list)
    for stream, entry_id in keys:
        by_stream[stream].append(entry_id)
    return dict(by_stream)
