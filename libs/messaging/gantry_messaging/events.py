"""Events that no transaction made: put on the stream ``events`` as hints, lost when Redis is away."""

from __future__ import annotations

from gantry.events.v1.events_pb2 import IndexEvent
from gantry_telemetry.logs import get_logger

from gantry_messaging.connections import TROUBLE, connect, drop_connections
from gantry_messaging.names import BODY, EVENTS
from gantry_messaging.seals import Seals

log = get_logger(__name__)


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
