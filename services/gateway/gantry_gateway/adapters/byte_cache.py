"""Finished bytes kept for the next caller, bounded by their sum, made once at a time."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable

from gantry_telemetry import metrics

LOOKUPS = metrics.counter(
    "gantry_cache_lookups", "Look-ups in a cache of finished bytes", ("cache", "outcome")
)


class ByteCache:
    """A least-recently-used cache; concurrent misses of one key share one computation.

    A computation goes on as long as somebody waits for it.
    """

    def __init__(self, name: str, maximum_bytes: int) -> None:
        self._name = name
        self._maximum = maximum_bytes
        self._entries: OrderedDict[Hashable, bytes] = OrderedDict()
        self._size = 0
        self._making: dict[Hashable, asyncio.Task[bytes]] = {}
        self._waiting: Counter[Hashable] = Counter()

    async def get(self, key: Hashable, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the bytes of ``key``, from the cache or by ``make``; raises what ``make`` raises."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            LOOKUPS.labels(self._name, "hit").inc()
            return entry
        task = self._making.get(key)
        if task is None or task.cancelling():
            LOOKUPS.labels(self._name, "miss").inc()
            task = asyncio.ensure_future(self._make(key, make))
            self._making[key] = task
        else:
            LOOKUPS.labels(self._name, "shared").inc()
        self._waiting[key] += 1
        try:
            # Shielded: a caller that hangs up must not take the result from the others.
            return await asyncio.shield(task)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
                # The last one has hung up: nobody needs it any more.
                task.cancel()

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[bytes]]) -> bytes:
        try:
            made = await make()
        finally:
            if self._making.get(key) is asyncio.current_task():
                del self._making[key]
        # An entry that would push out half of the others is not worth it.
        if len(made) * 2 <= self._maximum:
            self._entries[key] = made
            self._size += len(made)
            while self._size > self._maximum:
                _, dropped = self._entries.popitem(last=False)
                self._size -= len(dropped)
        return made
