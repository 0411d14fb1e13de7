"""A worker process ends with the process that started it, however that one ended."""

from __future__ import annotations

import multiprocessing
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

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
