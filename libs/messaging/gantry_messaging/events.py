"""The stream ``events`` beside the outbox: hints that no transaction made, and a reader of hints.

What is lost while Redis is away, or while nobody reads, is lost: whoever needs every event has
a truth to compare with.
"""

from __future__ import annotations

import asyncio

from gantry.events.v1.events_pb2 import IndexEvent
from gantry_dicom.errors import GantryError
from gantry_telemetry.logs import get_logger

from gantry_messaging.connections import TROUBLE, call, connect, drop_connections
from gantry_messaging.names import BODY, EVENTS
from gantry_messaging.seals import Seals

log = get_logger(__name__)


BLOCK_SECONDS = 1.0


class EventPublisher:
    """Publishes events; never raises because of Redis."""

    def __init__(self, redis_url: str, seals: Seals, *, stream_length: int = 100_000) -> None:
        self._redis = connect(redis_url)
        self._seals = seals
        self._stream_length = stream_length

    async def publish(self, event: IndexEvent) -> bool:
        """Put ``event`` on the stream; tell whether Redis took it."""
        try:
            await self._redis.xadd(
                EVENTS, {BODY: self._seals.seal(event)}, maxlen=self._stream_length, approximate=True
            )
        except TROUBLE as error:
            log.warning("event_not_published", error=type(error).__name__)
            await drop_connections(self._redis)
            return False
        return True

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


class EventReader:
    """Reads events that come from now on."""

    def __init__(self, redis_url: str, seals: Seals) -> None:
        self._redis = connect(redis_url, timeout=BLOCK_SECONDS + 2.0)
        self._seals = seals
        self._after: bytes | str = "$"

    async def next(self) -> list[IndexEvent]:
        """Return the next events, or none after a second, also while Redis is away."""
        try:
            answer = await call(
                self._redis, "XREAD", "BLOCK", int(BLOCK_SECONDS * 1000), "STREAMS", EVENTS, self._after
            )
        except TROUBLE as error:
            log.info("events_not_read", error=type(error).__name__)
            await drop_connections(self._redis)
            await asyncio.sleep(BLOCK_SECONDS)
            return []
        events = []
        for _stream, rows in answer or ():
            for entry_id, fields in rows:
                self._after = entry_id
                try:
                    events.append(self._seals.open(fields[BODY], IndexEvent))
                except (GantryError, KeyError):
                    log.exception("event_refused")
        return events

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
