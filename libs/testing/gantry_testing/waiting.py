"""Waiting for a condition, instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from gantry_dicom.errors import Unavailable

T = TypeVar("T")
POLL_SECONDS = 0.05


class TimedOut(Unavailable):
    """The condition did not come true in time."""


def wait_for(probe: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """Return the first true value of ``probe``.

    Raises ``TimedOut`` with ``what`` and the last value after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimedOut(f"waited {seconds:g} s for {what}; the last look gave {found!r}")
        time.sleep(POLL_SECONDS)
