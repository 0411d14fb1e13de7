"""A worker process ends with the process that started it, however that one ended."""

from __future__ import annotations

import multiprocessing
import os
import select
import threading
from collections.abc import Callable


def end_with_parent(end: Callable[[], object]) -> None:
    """Call ``end``, from a thread, when this process's parent has gone; does nothing without one.

    A parent that was killed cannot tell its workers: an orphan would keep the listening socket
    or wait for jobs for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        end()

    _start(watch)


def end_with_process(pid: int, end: Callable[[], object]) -> None:
    """Call ``end``, from a thread, when the parent ``pid`` has gone; for workers that are programs.

    ``pid`` comes from the parent itself: one that is gone already has another for its orphans.
    """

    def watch() -> None:
        if os.getppid() == pid:
            descriptor = os.pidfd_open(pid)
            # Readable when the process ends (pidfd_open(2)); looked at once more for one that has.
            if os.getppid() == pid:
                select.select([descriptor], [], [])
            os.close(descriptor)
        end()

    _start(watch)


def _start(watch: Callable[[], None]) -> None:
    threading.Thread(target=watch, name="lifeline", daemon=True).start()
