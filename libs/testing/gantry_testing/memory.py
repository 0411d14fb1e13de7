"""The memory that a process and its children hold for themselves, watched while a test goes on."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import psutil

_EVERY_SECONDS = 0.02


class MemoryWatch:
    """Samples private memory between ``with`` and its end; ``growth`` is the peak over the start."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self.before = self.peak = self._private()
        self._thread = threading.Thread(target=self._watch)

    def _private(self) -> int:
        family = [self._process, *self._process.children(recursive=True)]
        # What is mapped from spooled files is the page cache's, and goes when memory is wanted.
        return sum(one.memory_info().rss - one.memory_info().shared for one in family)

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            self.peak = max(self.peak, self._private())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def growth(self) -> int:
        """How much more than at the start was held at most, in bytes."""
        return self.peak - self.before
