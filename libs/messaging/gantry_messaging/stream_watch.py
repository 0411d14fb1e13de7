"""Looks at the index streams from aside: how much waits, and for how long.

Apart from the consumer, which takes nothing while it waits for the database: that is when
these numbers matter.
"""

from __future__ import annotations

import asyncio
import time

from gantry_telemetry.metrics import gauge

from gantry_messaging.connections import TROUBLE, call, connect, drop_connections
from gantry_messaging.names import INDEX_STREAMS

DEPTH = gauge(
    "gantry_index_stream_depth",
    "Entries of an index stream, pending ones included",
    ["stream"],
    over_workers="livemax",
)
OLDEST = gauge(
    "gantry_index_stream_oldest_age_seconds",
    "Age of the oldest entry of an index stream, 0 when there is none",
    ["stream"],
    over_workers="livemax",
)
REACHABLE = gauge("gantry_index_stream_reachable", "1 while Redis answers, 0 while it does not")

_EVERY_SECONDS = 5.0


class StreamWatch:
    """Sets the gauges again and again; every consumer process may have one."""

    def __init__(self, redis_url: str, *, seconds: float = _EVERY_SECONDS) -> None:
        self._redis = connect(redis_url)
        self._seconds = seconds

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                await self.look()
                await asyncio.sleep(self._seconds)
        finally:
            await self._redis.aclose()

    async def look(self) -> None:
        """Set the gauges once; those of the streams stay as they were while Redis does not answer."""
        try:
            for stream in INDEX_STREAMS:
                oldest = await call(self._redis, "XRANGE", stream, "-", "+", "COUNT", 1)
                DEPTH.labels(stream).set(await self._redis.xlen(stream))
                OLDEST.labels(stream).set(_age(oldest[0][0]) if oldest else 0.0)
        except TROUBLE:
            REACHABLE.set(0)
            await drop_connections(self._redis)
        else:
            REACHABLE.set(1)


def _age(entry_id: bytes) -> float:
    """Return the age of an entry in seconds: its id begins with its time in milliseconds."""
    return max(0.0, time.time() - int(entry_id.split(b"-")[0]) / 1000)
