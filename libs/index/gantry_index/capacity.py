"""How much is stored, by partition, modality, month and store, without counting it.

Triggers leave a difference for every change (migration 0008); ``fold`` sums them up, ``recount``
counts everything, which also takes in what was there before the triggers were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from gantry_index.pools import Connection, IndexPool
from gantry_index.search import Database

_FOLDED = 20_000
# A count of everything reads two tables as a whole.
_RECOUNT_SECONDS = 3600.0

_COLUMNS = "partition, store_id, state, modality, day"

_FOLD = f"""
WITH taken AS (
    DELETE FROM capacity_difference
    WHERE id IN (SELECT id FROM capacity_difference ORDER BY id LIMIT $1)
    RETURNING {_COLUMNS}, instances, bytes
), summed AS (
    INSERT INTO capacity AS t ({_COLUMNS}, instances, bytes)
    SELECT {_COLUMNS}, sum(instances), sum(bytes) FROM taken GROUP BY {_COLUMNS}
    ON CONFLICT ({_COLUMNS}) DO UPDATE
        SET instances = t.instances + excluded.instances, bytes = t.bytes + excluded.bytes
)
SELECT count(*) FROM taken
"""  # noqa: S608 - names of this module

_DROP_EMPTY = "DELETE FROM capacity WHERE instances = 0 AND bytes = 0"

_NOW = f"""(
    SELECT {_COLUMNS}, instances, bytes FROM capacity
    UNION ALL SELECT {_COLUMNS}, instances, bytes FROM capacity_difference
)"""  # noqa: S608

_TRUTH = """(
    SELECT i.partition, i.store_id, 2::smallint AS state, coalesce(e.modality, '') AS modality,
           (i.received_at AT TIME ZONE 'UTC')::date AS day, count(*) AS instances, sum(i.size) AS bytes
    FROM instance AS i JOIN series AS e ON e.id = i.series_pk GROUP BY 1, 2, 4, 5
    UNION ALL
    SELECT partition, store_id, state, '', (received_at AT TIME ZONE 'UTC')::date, count(*), sum(size)
    FROM reception WHERE state <> 2 AND NOT is_gone GROUP BY 1, 2, 3, 5
)"""

_DRIFT = f"""
SELECT count(*) FROM (
    SELECT {_COLUMNS} FROM (
        SELECT {_COLUMNS}, instances, bytes FROM {_TRUTH} AS truth
        UNION ALL SELECT {_COLUMNS}, -instances, -bytes FROM {_NOW} AS kept
    ) AS both_of_them
    GROUP BY {_COLUMNS} HAVING sum(instances) <> 0 OR sum(bytes) <> 0
) AS differing
"""  # noqa: S608

_USAGE = f"""
SELECT partition, store_id, state, modality, date_trunc('month', day)::date AS month,
       sum(instances)::bigint AS instances, sum(bytes)::bigint AS bytes
FROM {_NOW} AS kept
WHERE $1::text IS NULL OR partition = $1
GROUP BY 1, 2, 3, 4, 5 HAVING sum(instances) <> 0 OR sum(bytes) <> 0
ORDER BY 1, 2, 3, 4, 5
"""  # noqa: S608

_TOTALS = f"""
SELECT partition, store_id, sum(instances)::bigint AS instances, sum(bytes)::bigint AS bytes
FROM {_NOW} AS kept GROUP BY 1, 2 HAVING sum(instances) <> 0 OR sum(bytes) <> 0 ORDER BY 1, 2
"""  # noqa: S608

_GROWTH = f"""
SELECT store_id, day, sum(bytes)::bigint AS bytes FROM {_NOW} AS kept
WHERE day >= $1 GROUP BY 1, 2 ORDER BY 1, 2
"""  # noqa: S608

_SEEN = """
INSERT INTO capacity_store (store_id, room_bytes, quota_bytes, measured_at) VALUES ($1, $2, $3, now())
ON CONFLICT (store_id) DO UPDATE
    SET room_bytes = excluded.room_bytes, quota_bytes = excluded.quota_bytes, measured_at = now()
"""

# The row that says when everything was counted; no store is called so.
_COUNTED = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What is stored of one kind; ``state`` is a VerdictState, ``month`` its first day."""

    partition: str
    store_id: str
    state: int
    modality: str
    month: date
    instances: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Total:
    """What is stored of a partition in a store."""

    partition: str
    store_id: str
    instances: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Room:
    """What is left in a store; ``None`` is unknown."""

    store_id: str
    room_bytes: int | None
    quota_bytes: int | None
    measured_at: datetime


async def fold(pool: IndexPool) -> int:
    """Sum up what has changed; returns how many differences that were. Raises ``Unavailable``."""
    folded = 0
    async with pool.transaction() as connection:
        while count := await connection.fetchval(_FOLD, _FOLDED):
            folded += count
            if count < _FOLDED:
                break
        if folded:
            await connection.execute(_DROP_EMPTY)
    return folded


async def recount(pool: IndexPool) -> int:
    """Count everything and put that in the place of the sums; returns how many were wrong.

    Writers go on meanwhile: what they change after its snapshot stays as differences. Raises
    ``Unavailable``, also when somebody folded meanwhile.
    """
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
        await connection.execute(f"SET LOCAL statement_timeout = '{_RECOUNT_SECONDS:.0f}s'")
        # The pool's plans are for look-ups of single rows.
        await connection.execute("SET LOCAL enable_seqscan = on")
        drift = int(await connection.fetchval(_DRIFT, timeout=_RECOUNT_SECONDS))
        if drift:
            await _replace(connection)
        await connection.execute(_SEEN, _COUNTED, None, None)
    return drift


async def counted_at(database: Database) -> datetime | None:
    """Return when everything was last counted. Raises ``Unavailable``."""
    rows = await database.fetch("SELECT measured_at FROM capacity_store WHERE store_id = $1", _COUNTED)
    return rows[0]["measured_at"] if rows else None


async def usage(database: Database, partition: str | None = None) -> list[Usage]:
    """Return what is stored, of a partition or of all. Raises ``Unavailable``."""
    return [Usage(*row.values()) for row in await database.fetch(_USAGE, partition)]


async def totals(database: Database) -> list[Total]:
    """Return what is stored by partition and store. Raises ``Unavailable``."""
    return [Total(*row.values()) for row in await database.fetch(_TOTALS)]


async def growth(database: Database, since: date, until: date) -> dict[str, Sequence[int]]:
    """Return for each store the bytes received on every day from ``since`` on, before ``until``."""
    days = (until - since).days
    found: dict[str, list[int]] = {}
    for row in await database.fetch(_GROWTH, since):
        number = (row["day"] - since).days
        if number < days:
            found.setdefault(row["store_id"], [0] * days)[number] = row["bytes"]
    return dict(found)


async def note_room(pool: IndexPool, store_id: str, room: int | None, quota: int | None) -> None:
    """Keep what is left in a store. Raises ``Unavailable``."""
    await pool.execute(_SEEN, store_id, room, quota)


async def rooms(database: Database) -> list[Room]:
    """Return what the storage service last saw of its stores. Raises ``Unavailable``."""
    rows = await database.fetch(
        "SELECT store_id, room_bytes, quota_bytes, measured_at FROM capacity_store"
        " WHERE store_id <> $1 ORDER BY store_id",
        _COUNTED,
    )
    return [Room(*row.values()) for row in rows]


def days_left(bytes_by_day: Sequence[int], room: int | None) -> float | None:
    """Return in how many days ``room`` is used up when it goes on like this.

    By the least-squares line through what was received up to each day; ``None`` when nothing is known
    of the room, or nothing grows.
    """
    slope = daily_growth(bytes_by_day)
    if room is None or slope <= 0:
        return None
    return max(room, 0) / slope


def daily_growth(bytes_by_day: Sequence[int]) -> float:
    """Return the slope, in bytes a day, of the least-squares line through the running total."""
    count = len(bytes_by_day)
    if count < 2:
        return float(sum(bytes_by_day))
    total, running = 0.0, []
    for added in bytes_by_day:
        total += added
        running.append(total)
    middle, mean = (count - 1) / 2, sum(running) / count
    over = sum((day - middle) * (value - mean) for day, value in enumerate(running))
    return over / sum((day - middle) ** 2 for day in range(count))


def window(now: datetime, days: int) -> tuple[date, date]:
    """Return the first of so many whole days before now, and today."""
    today = now.date()
    return today - timedelta(days=days), today


async def _replace(connection: Connection) -> None:
    await connection.execute("DELETE FROM capacity")
    await connection.execute("DELETE FROM capacity_difference")
    await connection.execute(
        f"INSERT INTO capacity ({_COLUMNS}, instances, bytes)"  # noqa: S608
        f" SELECT {_COLUMNS}, instances, bytes FROM {_TRUTH} AS truth",
        timeout=_RECOUNT_SECONDS,
    )
