"""The scrub that goes on for ever: the day of manifests that was read longest ago is read next.

The days and how far each is are kept in the index, and so is what is found. When the index is lost,
the scrub begins anew and finds again what is still wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gantry_dicom.errors import GantryError, Unavailable
from gantry_index.findings import Finding, Found, close_of_objects, open_findings
from gantry_index.pools import IndexPool
from gantry_index.records import STORAGE_FINDINGS
from gantry_index.scrub_days import ScrubDay, begin_day, end_day, known_days, move_on
from gantry_objectstore.errors import BadKey
from gantry_objectstore.keys import MANIFEST_PREFIX, manifest_day_folder
from gantry_objectstore.protocol import ObjectStore
from gantry_telemetry.logs import get_logger

from gantry_storage.instruments import OLDEST_CHECK
from gantry_storage.repairing import Repairer
from gantry_storage.scrub import Examined, Scrub

log = get_logger(__name__)

# Who closes what the scrub finds whole again or mends.
SCRUBBER = "scrub"
# A day is over, and its last batches have their manifests, so long after its begin.
DAY_IS_WHOLE = timedelta(hours=25)


@dataclass(frozen=True, slots=True)
class ScrubLimits:
    """How often everything is read again, and how often the scrub tries to mend a finding by itself."""

    every: timedelta
    repair_attempts: int


class Scrubbing:
    """Reads the bucket again, day after day of its manifests."""

    def __init__(
        self, store: ObjectStore, scrub: Scrub, pool: IndexPool, repairer: Repairer, limits: ScrubLimits
    ) -> None:
        self._store = store
        self._scrub = scrub
        self._pool = pool
        self._repairer = repairer
        self._limits = limits

    async def turn(self, may_go_on: Callable[[], Awaitable[bool]]) -> int:
        """Read every day that is due, those that waited longest first; returns how many days were.

        Raises ``Unavailable``; the next turn goes on where this one ended.
        """
        count = 0
        for day in await self._due(await self._store.now()):
            if not await may_go_on():
                break
            await self.read_day(day.partition, day.day)
            count += 1
        await self.days()
        return count

    async def days(self) -> list[ScrubDay]:
        """Return every day that has manifests, those checked longest ago first. Raises ``Unavailable``."""
        known = await known_days(self._pool)
        days = [
            known.get((partition, day), ScrubDay(partition, day))
            for partition in await self._store.list_folders(MANIFEST_PREFIX)
            for day in await self._store.list_folders(f"{MANIFEST_PREFIX}{partition}/")
            if _begin_of(day) is not None
        ]
        days.sort(key=_checked_until)
        now = await self._store.now()
        OLDEST_CHECK.set(max(0.0, (now - _checked_until(days[0])).total_seconds()) if days else 0.0)
        return days

    async def read_day(self, partition: str, day: str, *, anew: bool = False) -> Examined:
        """Read a day's manifests and all they name, from where it was left; ``anew`` from its beginning.

        What is found is kept, and mended if there is a way. Raises ``Unavailable``.
        """
        begun = await begin_day(self._pool, partition, day, await self._store.now())
        position = "" if anew else begun.position
        log.info("scrub_progress", partition=partition, day=day)
        keys = [info.key async for info in self._store.list(manifest_day_folder(partition, day))]
        total = Examined()
        for key in sorted(keys):
            if key <= position:
                continue
            try:
                examined = await self._scrub.examine(key)
            except BadKey:
                log.exception("manifest_key_refused")
                continue
            await self.keep(examined)
            await move_on(self._pool, partition, day, key)
            total.add(examined)
        await end_day(self._pool, partition, day)
        return total

    async def keep(self, examined: Examined) -> None:
        """Keep what was found, close what is whole by now, and mend what can be. Raises ``Unavailable``."""
        if examined.sound:
            await close_of_objects(
                self._pool, examined.sound, STORAGE_FINDINGS, SCRUBBER, "it was found whole"
            )
        await self.mend(examined.found)

    async def mend(self, found: list[Found]) -> None:
        """Keep findings and try to mend them, unless that failed often enough. Raises ``Unavailable``."""
        for finding in await open_findings(self._pool, found):
            if finding.attempts < self._limits.repair_attempts and self._repairer.can_repair(finding):
                await self._repair(finding)

    async def _repair(self, finding: Finding) -> None:
        try:
            await self._repairer.repair(finding, SCRUBBER)
        except Unavailable as error:
            # It stays open; reading goes on, and fails if it is the store.
            log.warning("repair_paused", kind=finding.kind, reason=error.detail)
        except GantryError as error:
            log.warning("repair_failed", kind=finding.kind, reason=error.detail)

    async def _due(self, now: datetime) -> list[ScrubDay]:
        days = await self.days()
        begun = [day for day in days if day.begun_at is not None]
        return begun + [day for day in days if day.begun_at is None and self._is_due(day, now)]

    def _is_due(self, day: ScrubDay, now: datetime) -> bool:
        begin = _begin_of(day.day) or now
        if day.checked_at is None or day.checked_at < begin + DAY_IS_WHOLE:
            # Not checked as a whole so far.
            return now >= begin + min(self._limits.every, DAY_IS_WHOLE)
        return now >= day.checked_at + self._limits.every


def _checked_until(day: ScrubDay) -> datetime:
    """Return since when the day's objects may not have been read: its last check, or its begin."""
    return day.checked_at or _begin_of(day.day) or datetime.max.replace(tzinfo=UTC)


def _begin_of(day: str) -> datetime | None:
    try:
        return datetime.fromisoformat(day).replace(tzinfo=UTC)
    except ValueError:
        return None
