"""A batch: the instances that share a journal entry, and later a manifest."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from gantry.reception.v1.reception_pb2 import (
    Manifest,
    ManifestWriter,
    Outcome,
    Reception,
)


def lease_clock() -> float:
    """Return seconds that go on counting while the machine sleeps; the lease's clock.

    The usual monotonic clock stands still in a suspended machine, where a sweeper elsewhere
    goes on: a lease measured by it would seem fresh.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True, eq=False)
class Line:
    """One instance of a batch. Its outcome is unspecified until the sender's answer is decided."""

    reception: Reception

    @property
    def settled(self) -> bool:
        """Whether the outcome is decided."""
        return self.reception.outcome != Outcome.OUTCOME_UNSPECIFIED


@dataclass(slots=True, eq=False)
class Batch:
    """A batch of one process and one partition.

    ``t0`` was read from the lease's clock before the journal put began; ``journal`` is that
    put. Ordinals rise from 1 and are used once, whatever becomes of the put.
    """

    batch: str
    partition: str
    process: str
    t0: float
    opened_at_us: int
    journal: asyncio.Task[str]
    lines: list[Line] = field(default_factory=list)
    # Whether the manifest has been drawn up: what is acknowledged after it is not in it.
    drawn_up: bool = False
    _unsettled: int = 0
    _all_settled: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, reception: Reception) -> Line:
        """Give the reception its place in the batch."""
        reception.batch = self.batch
        reception.ordinal = len(self.lines) + 1
        line = Line(reception)
        self.lines.append(line)
        self._unsettled += 1
        self._all_settled.clear()
        return line

    def settle(self, line: Line, outcome: Outcome, refusal: str = "") -> None:
        """Decide a line's outcome; the first decision stands."""
        if line.settled:
            return
        line.reception.outcome = outcome
        line.reception.refusal = refusal
        self._unsettled -= 1
        if not self._unsettled:
            self._all_settled.set()

    async def wait_settled(self, seconds: float) -> None:
        """Wait until every line is settled, or until the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._all_settled.wait()
        except TimeoutError:
            return

    def draw_up(self, closed_at_us: int) -> Manifest:
        """Return the manifest of the closed batch; lines not settled count as unanswered."""
        self.drawn_up = True
        manifest = Manifest(
            batch=self.batch,
            partition=self.partition,
            process=self.process,
            opened_at_us=self.opened_at_us,
            closed_at_us=closed_at_us,
            writer=ManifestWriter.MANIFEST_WRITER_RECEIVER,
            receptions=[line.reception for line in self.lines],
        )
        for reception in manifest.receptions:
            if reception.outcome == Outcome.OUTCOME_UNSPECIFIED:
                reception.outcome = Outcome.OUTCOME_UNANSWERED
        return manifest
