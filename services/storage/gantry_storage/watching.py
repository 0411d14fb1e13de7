"""What is counted while nothing is asked: open findings, the quarantine, the aggregates of studies."""

from __future__ import annotations

import asyncio
import time

from gantry_index.aggregates import differences_after
from gantry_index.findings import Found, count_open
from gantry_index.pools import IndexPool
from gantry_index.quarantine import count_quarantined
from gantry_index.records import FindingKind

from gantry_storage.instruments import FINDINGS, QUARANTINED
from gantry_storage.scrubbing import Scrubbing

# Studies compared with a recount in one statement.
PAGE = 200
# Findings about aggregates looked at again in one pass.
LOOKED_AT = 500


class Watching:
    """Keeps the gauges, and compares the numbers of every study with a recount now and then."""

    def __init__(
        self,
        pool: IndexPool,
        scrubbing: Scrubbing,
        *,
        studies_per_second: float,
        every_seconds: float,
    ) -> None:
        self._pool = pool
        self._scrubbing = scrubbing
        self._pause = PAGE / studies_per_second if studies_per_second else 0.0
        self._every_seconds = every_seconds
        self._after: int | None = 0
        self._begun_at = time.monotonic()

    async def count(self) -> None:
        """Set the gauges. Raises ``Unavailable``."""
        found = await count_open(self._pool)
        for kind in FindingKind:
            FINDINGS.labels(kind.value).set(found.get(kind.value, 0))
        QUARANTINED.set(await count_quarantined(self._pool))

    async def recount(self) -> int:
        """Go on comparing studies with a recount until all were; returns how many differed.

        It begins anew when ``every_seconds`` have passed since it last began. What differs is kept, and
        mended. Raises ``Unavailable``; it then goes on where it ended.
        """
        if self._after is None:
            if time.monotonic() - self._begun_at < self._every_seconds:
                return 0
            self._after, self._begun_at = 0, time.monotonic()
        count = 0
        while self._after is not None:
            differing, after = await differences_after(self._pool, self._after, PAGE)
            await self._scrubbing.mend(
                [
                    Found(
                        FindingKind.AGGREGATES_DIFFER,
                        *(one.partition, one.study_uid),
                        evidence={"fields": list(one.fields)},
                    )
                    for one in differing
                ]
            )
            count += len(differing)
            self._after = after
            if after is not None:
                await asyncio.sleep(self._pause)
        return count
