"""What the storage service does again and again, each on its own and none able to stop another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from gantry_dicom.errors import Unavailable
from gantry_index.locks import AdvisoryLock
from gantry_telemetry.logs import get_logger

log = get_logger(__name__)


async def repeat(task: str, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Call ``work`` every ``seconds`` or so until cancelled; a failure costs one turn, not the loop."""
    while True:
        try:
            await work()
        except Unavailable as error:
            log.warning("turn_missed", task=task, reason=error.detail)
        except Exception:
            log.exception("turn_failed", task=task)
        await asyncio.sleep(seconds * random.uniform(0.9, 1.1))  # noqa: S311 - spreads the load


async def is_ours(lock: AdvisoryLock) -> bool:
    """Whether this process may sweep: it holds the lock, or nobody can because PostgreSQL is down.

    Two sweepers at once do no harm, a sweeper that waits for PostgreSQL would.
    """
    try:
        return await lock.hold()
    except Unavailable:
        return True
