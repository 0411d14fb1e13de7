"""Moves events from the index database's outbox to the stream ``events``.

At least once and in order: an event is put on the stream first and removed from the outbox
afterwards, and one relay at a time works. A crash in between repeats events, so consumers
are idempotent by ``IndexEvent.sequence``. Rows are removed, not passed by a cursor: a
transaction that commits late with a low sequence is still seen. Events about one study
keep their order, because their transactions hold the study's row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from gantry.events.v1.events_pb2 import IndexEvent
from gantry_dicom.errors import GantryError
from gantry_telemetry.logs import get_logger
from gantry_telemetry.metrics import counter, gauge

from gantry_messaging.connections import TROUBLE, connect, drop_connections
from gantry_messaging.names import BODY, EVENTS
from gantry_messaging.seals import Seals
from gantry_messaging.study_traces import trace_command

log = get_logger(__name__)

RELAYED = counter("gantry_events_relayed", "Events moved from the outbox to the stream")
OLDEST = gauge(
    "gantry_outbox_oldest_age_seconds",
    "Age of the oldest event that has not left the index database, as its relay sees it",
    over_workers="livemax",
)


class Outbox(Protocol):
    """The outbox table, as the relay needs it. Every method may raise ``Unavailable``."""

    async def become_relay(self) -> bool:
        """Take, or confirm, the advisory lock that makes this process the one relay."""
        ...

    async def oldest(self, limit: int) -> Sequence[tuple[int, bytes]]:
        """Return up to ``limit`` rows (sequence, serialised ``IndexEvent``), oldest first."""
        ...

    async def remove(self, sequences: Sequence[int]) -> None:
        """Delete rows that are on the stream."""
        ...


class OutboxRelay:
    """Runs beside the indexer; ``nudge`` it after a commit, it looks by itself every ``poll`` seconds."""

    def __init__(
        self,
        outbox: Outbox,
        redis_url: str,
        seals: Seals,
        *,
        limit: int = 500,
        stream_length: int = 100_000,
        poll: float = 1.0,
    ) -> None:
        self._outbox = outbox
        self._seals = seals
        self._redis = connect(redis_url)
        self._limit = limit
        self._stream_length = stream_length
        self._poll = poll
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """Say that there may be new rows."""
        self._nudged.set()

    async def run(self) -> None:
        """Relay until cancelled; waits out an unreachable database or Redis."""
        while True:
            try:
                moved = await self.relay_once()
            except (GantryError, *TROUBLE) as error:
                log.warning("event_relay_paused", error=type(error).__name__)
                await drop_connections(self._redis)
                await asyncio.sleep(self._poll)
                continue
            if moved < self._limit:
                await self._wait()

    async def relay_once(self) -> int:
        """Move one batch; returns how many events, zero also when another process is the relay."""
        self._nudged.clear()
        if not await self._outbox.become_relay():
            return 0
        rows = await self._outbox.oldest(self._limit)
        if not rows:
            OLDEST.set(0)
            return 0
        OLDEST.set(_age(rows[0][1]))
        pipeline = self._redis.pipeline(transaction=False)
        for sequence, payload in rows:
            event = IndexEvent.FromString(payload)
            event.sequence = sequence
            pipeline.execute_command(
                "XADD", EVENTS, "MAXLEN", "~", self._stream_length, "*", BODY, self._seals.seal(event)
            )
            if (kept := trace_command(event)) is not None:
                pipeline.execute_command(*kept)
        await pipeline.execute()
        await self._outbox.remove([sequence for sequence, _ in rows])
        RELAYED.inc(len(rows))
        return len(rows)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._poll):
                await self._nudged.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _age(payload: bytes) -> float:
    return max(0.0, time.time() - IndexEvent.FromString(payload).occurred_at_us / 1e6)
