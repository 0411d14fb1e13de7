"""A circuit breaker that probes in the background, so that no caller pays for the probe."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gantry_telemetry.logs import get_logger

from gantry_messaging.connections import TROUBLE

log = get_logger(__name__)


class Circuit:
    """Closed while a dependency answers; once tripped it stays open until ``probe`` succeeds.

    ``probe`` raises one of ``TROUBLE`` while the dependency is away. It is tried after
    ``first_delay`` seconds and then with doubling pauses up to ``longest_delay``.
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[], Awaitable[object]],
        *,
        first_delay: float = 0.25,
        longest_delay: float = 4.0,
    ) -> None:
        self._name = name
        self._probe = probe
        self._first_delay = first_delay
        self._longest_delay = longest_delay
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether callers should not even try."""
        return self._probing is not None

    def trip(self) -> None:
        """Open the circuit and begin to probe; nothing when it is open already."""
        if self._probing is None:
            log.warning("circuit_opened", dependency=self._name)
            self._probing = asyncio.create_task(self._probe_until_well())

    async def _probe_until_well(self) -> None:
        delay = self._first_delay
        while True:
            await asyncio.sleep(delay)
            try:
                await self._probe()
            except TROUBLE:
                delay = min(2 * delay, self._longest_delay)
            else:
                self._probing = None
                log.info("circuit_closed", dependency=self._name)
                return

    async def close(self) -> None:
        """Stop probing; for the end of the process."""
        probing, self._probing = self._probing, None
        if probing is not None:
            probing.cancel()
            await asyncio.wait([probing])
