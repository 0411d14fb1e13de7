"""A bound on bytes held at one time by everything in a process that shares it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gantry_dicom.errors import OutOfResources


@dataclass(slots=True)
class _Waiter:
    amount: int
    loop: asyncio.AbstractEventLoop
    granted: asyncio.Future[None]


class ByteBudget:
    """A number of bytes that users take and give back, from any thread and event loop.

    Waiters are served in order, so that a big one is not starved by many small ones.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._lock = threading.Lock()
        self._used = 0
        self._waiters: deque[_Waiter] = deque()

    @property
    def used(self) -> int:
        """Bytes taken at this moment."""
        return self._used

    def take(self, amount: int) -> None:
        """Take ``amount`` now. Raises ``OutOfResources`` when it is not there."""
        with self._lock:
            if self._waiters or self._used + amount > self.total:
                raise OutOfResources("the memory set aside for received data is in use")
            self._used += amount

    def give(self, amount: int) -> None:
        """Give ``amount`` back."""
        with self._lock:
            self._used -= amount
            self._serve()

    @asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator[None]:
        """Hold ``amount`` in the block, waiting for it first; more than there is counts as all of it."""
        amount = min(amount, self.total)
        await self._wait(amount)
        try:
            yield
        finally:
            self.give(amount)

    async def _wait(self, amount: int) -> None:
        loop = asyncio.get_running_loop()
        with self._lock:
            if not self._waiters and self._used + amount <= self.total:
                self._used += amount
                return
            waiter = _Waiter(amount, loop, loop.create_future())
            self._waiters.append(waiter)
        try:
            await waiter.granted
        except asyncio.CancelledError:
            with self._lock:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                else:
                    # Granted in the same moment: nobody will use it.
                    self._used -= amount
                self._serve()
            raise

    def _serve(self) -> None:
        while self._waiters and self._used + self._waiters[0].amount <= self.total:
            waiter = self._waiters.popleft()
            self._used += waiter.amount
            waiter.loop.call_soon_threadsafe(_grant, waiter.granted)


def _grant(granted: asyncio.Future[None]) -> None:
    if not granted.done():
        granted.set_result(None)
