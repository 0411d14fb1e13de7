"""Access records that have to be on the disk before what they tell of begins."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future


async def recorded(write: Future[None] | None) -> None:
    """Wait until a record is durable, where there is one. Raises ``AccessLogFull``, ``AccessLogBroken``."""
    if write is not None:
        await asyncio.wrap_future(write)
