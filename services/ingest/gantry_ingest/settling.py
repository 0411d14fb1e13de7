"""A peer that has released finds what it sent.

C-STORE is answered when the instance is safe, not when it is indexed: waiting there would
cost every instance a commit. So the wait is at the end: the answer to A-RELEASE is held
back, for a bounded time, until the index has what this association sent.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol
from weakref import WeakKeyDictionary

from gantry_telemetry.metrics import counter, histogram

SEARCHABLE = histogram(
    "gantry_dimse_association_searchable_seconds",
    "From the connection to the moment when all it stored could be found, before its release",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
SETTLED = counter(
    "gantry_dimse_associations_settled",
    "Associations with stored instances, by whether all could be found when the release was answered",
    ["outcome"],
    known=("searchable", "not-yet"),
)

# Verdicts that came early are kept for a while by the listener; older ones would be waited
# for in vain.
_RECENT_SECONDS = 10.0
_RECENT_INSTANCES = 1024


class Verdicts(Protocol):
    """Where the verdict of an object is heard of."""

    async def wait(self, object_key: str, timeout: float) -> object | None:  # noqa: ASYNC109
        """Return the verdict, or ``None`` when it does not come in time or nobody listens."""
        ...


class Settling:
    """Remembers what each association stored lately and waits for the index to have it."""

    def __init__(
        self,
        verdicts: Verdicts,
        hurry: Callable[[], None],
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``hurry`` has the indexer told at once what waits to be told."""
        self._verdicts = verdicts
        self._hurry = hurry
        self._seconds = seconds
        self._clock = clock
        self._stored: WeakKeyDictionary[object, deque[tuple[float, str]]] = WeakKeyDictionary()

    def note(self, association: object, object_key: str) -> None:
        """Remember that ``association`` was told success for an object."""
        keys = self._stored.setdefault(association, deque(maxlen=_RECENT_INSTANCES))
        keys.append((self._clock(), object_key))

    async def settle(self, association: object) -> bool | None:
        """Wait until the index has decided about what ``association`` sent, or time is up.

        Returns whether it has, ``None`` when nothing was sent.
        """
        oldest = self._clock() - _RECENT_SECONDS
        stored = self._stored.pop(association, None)
        if stored is None:
            return None
        keys = [key for stored_at, key in stored if stored_at >= oldest]
        if keys:
            self._hurry()
        is_searchable = await self._has_verdicts(keys)
        SETTLED.labels("searchable" if is_searchable else "not-yet").inc()
        return is_searchable

    async def _has_verdicts(self, keys: Sequence[str]) -> bool:
        try:
            async with asyncio.timeout(self._seconds):
                for object_key in keys:
                    if await self._verdicts.wait(object_key, self._seconds) is None:
                        return False
        except TimeoutError:
            return False
        return True
