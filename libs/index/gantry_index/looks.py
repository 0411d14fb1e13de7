"""Notes on which day a study was last looked at, for rules about what is cold: cheap, and not exact.

A study is noted once a day and process, a few seconds later, many at a time. What is lost with a
process or while PostgreSQL is down is a day of a study's age.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime

from gantry_dicom.errors import Unavailable
from gantry_telemetry.logs import get_logger

from gantry_index.pools import IndexPool
from gantry_index.tiers import note_looked_at

log = get_logger(__name__)

_DELAY_SECONDS = 5.0
# Beyond so many studies a day it begins to forget which it has noted.
_MOST = 100_000


class Looks:
    """Takes notes; to be used in one event loop."""

    def __init__(self, pool: IndexPool, *, delay: float = _DELAY_SECONDS) -> None:
        self._pool = pool
        self._delay = delay
        self._day = date.min
        self._noted: set[tuple[str, str]] = set()
        self._waiting: list[tuple[str, str]] = []
        self._writing: asyncio.Task[None] | None = None

    def note(self, partition: str, study_uid: str) -> None:
        """Note that somebody is given something of a study. Never raises, and waits for nothing."""
        today = datetime.now(UTC).date()
        if today != self._day or len(self._noted) >= _MOST:
            self._day = today
            self._noted.clear()
        study = (partition, study_uid)
        if study in self._noted:
            return
        self._noted.add(study)
        self._waiting.append(study)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Forget what waits."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])

    async def _write(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(self._delay)
                studies, self._waiting = self._waiting, []
                await note_looked_at(self._pool, studies, self._day)
        except Unavailable as error:
            log.warning("looks_not_noted", reason=error.detail)
        finally:
            self._writing = None
