"""How far the scrub is: the days of manifests, and when each was read again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gantry_index.pools import IndexPool
from gantry_index.search import Database

_BEGIN = """
INSERT INTO scrub_day AS t (partition, day, begun_at) VALUES ($1, $2, $3)
ON CONFLICT (partition, day) DO UPDATE SET begun_at = coalesce(t.begun_at, excluded.begun_at)
RETURNING partition, day, position, begun_at, checked_at
"""

_END = """
UPDATE scrub_day SET checked_at = begun_at, begun_at = NULL, position = '' WHERE partition = $1 AND day = $2
"""


@dataclass(frozen=True, slots=True)
class ScrubDay:
    """A day of a partition: the manifest up to which an unfinished check is, and the last finished one."""

    partition: str
    day: str
    position: str = ""
    begun_at: datetime | None = None
    checked_at: datetime | None = None


async def known_days(database: Database) -> dict[tuple[str, str], ScrubDay]:
    """Return every day that a scrub has begun, by partition and day. Raises ``Unavailable``."""
    rows = await database.fetch("SELECT partition, day, position, begun_at, checked_at FROM scrub_day")
    return {(row["partition"], row["day"]): ScrubDay(**row) for row in rows}


async def begin_day(pool: IndexPool, partition: str, day: str, now: datetime) -> ScrubDay:
    """Begin the check of a day, or go on with the one that was begun. Raises ``Unavailable``."""
    return ScrubDay(**await pool.fetchrow(_BEGIN, partition, day, now))


async def move_on(pool: IndexPool, partition: str, day: str, position: str) -> None:
    """Keep up to which manifest a day has been checked. Raises ``Unavailable``."""
    await pool.execute(
        "UPDATE scrub_day SET position = $3 WHERE partition = $1 AND day = $2", partition, day, position
    )


async def end_day(pool: IndexPool, partition: str, day: str) -> None:
    """Keep that the whole day was checked, since its check was begun. Raises ``Unavailable``."""
    await pool.execute(_END, partition, day)
