"""Making file names durable: directory fsyncs, shared by all who wait for the same directory."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class _Directory:
    """Who waits for a directory: ``following`` is the round that has not begun."""

    running: threading.Lock = field(default_factory=threading.Lock)
    following: Future[None] | None = None
    users: int = 0


class DirectorySyncs:
    """Group commit for threads.

    A sync covers every name that was in the directory when it began. So whoever arrives while
    one runs joins the next round, whose first member syncs for all of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._directories: dict[Path, _Directory] = {}

    def sync(self, directory: Path) -> None:
        """Return when every change made in ``directory`` before the call is durable. Raises ``OSError``."""
        with self._lock:
            state = self._directories.setdefault(directory, _Directory())
            state.users += 1
            leads = state.following is None
            if state.following is None:
                state.following = Future()
            turn = state.following
        try:
            if leads:
                self._lead(directory, state, turn)
            turn.result()
        finally:
            with self._lock:
                state.users -= 1
                if not state.users:
                    del self._directories[directory]

    def _lead(self, directory: Path, state: _Directory, turn: Future[None]) -> None:
        with state.running:
            with self._lock:
                state.following = None
            try:
                fsync_directory(directory)
            except OSError as error:
                turn.set_exception(error)
            else:
                turn.set_result(None)


def fsync_directory(directory: Path) -> None:
    """Make the names in ``directory`` durable. Raises ``OSError``."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
