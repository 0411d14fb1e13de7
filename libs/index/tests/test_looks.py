"""Looks at studies: noted once a day, many together, and never in the way of an answer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from gantry_index.looks import Looks
from gantry_index.pools import PoolSettings, open_pool


async def noted(pool):
    rows = await pool.fetch("SELECT partition, study_uid, day FROM study_access ORDER BY 1, 2")
    return [tuple(row) for row in rows]


async def test_studies_are_noted_together_and_once_a_day(pool):
    looks = Looks(pool, delay=0.01)
    for _ in range(3):
        looks.note("main", "1.1")
        looks.note("main", "1.2")
    today = datetime.now(UTC).date()
    await asyncio.wait([looks._writing])
    assert await noted(pool) == [("main", "1.1", today), ("main", "1.2", today)]
    await pool.execute("DELETE FROM study_access")
    looks.note("main", "1.1")
    looks.note("second", "1.1")
    await asyncio.wait([looks._writing])
    assert await noted(pool) == [("second", "1.1", today)]
    await looks.close()


async def test_a_database_that_is_down_costs_the_note_and_nothing_else(free_port):
    dead = open_pool(
        f"postgresql://nobody@127.0.0.1:{free_port}/index", settings=PoolSettings(connect_timeout=1)
    )
    looks = Looks(dead, delay=0)
    looks.note("main", "1.1")
    writing = looks._writing
    async with asyncio.timeout(10):
        await asyncio.wait([writing])
    assert writing.exception() is None
    looks.note("main", "1.2")
    await looks.close()
    await dead.close()
