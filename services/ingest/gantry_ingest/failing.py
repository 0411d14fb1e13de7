"""Failed associations on their way to the ledger: alike ones together, in bounded memory."""

from __future__ import annotations

import asyncio

from gantry.failures.v1.failures_pb2 import AssociationFailure
from gantry_dicom.errors import GantryError
from gantry_failures.evidence import Evidence
from gantry_failures.ledger import FailureLedger
from gantry_failures.records import failure_of
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

log = get_logger(__name__)

FAILURES = metrics.counter(
    "gantry_dimse_failures", "Associations that failed, by what the table of diagnoses says", ("diagnosis",)
)
LEFT_OUT = metrics.counter("gantry_dimse_failures_left_out", "Failed associations of which no record is kept")

# Different ones that wait to be written; a flood of one kind is one record.
_MOST_WAITING = 1000
_EVERY_SECONDS = 3.0

_Alike = tuple[str, str, str, str]


class FailureSpool:
    """Takes failures at once and writes them every few seconds; belongs to one event loop."""

    def __init__(self, ledger: FailureLedger, *, most: int = _MOST_WAITING) -> None:
        self._ledger = ledger
        self._most = most
        self._waiting: dict[_Alike, AssociationFailure] = {}
        self._left_out = 0

    def note(self, evidence: Evidence, partition: str = "") -> None:
        """Remember that an association failed; never raises for want of a store."""
        failure = failure_of(evidence, partition)
        FAILURES.labels(failure.diagnosis).inc()
        alike = (
            failure.diagnosis,
            failure.peer_address,
            failure.calling_ae_title,
            failure.called_ae_title,
        )
        earlier = self._waiting.get(alike)
        if earlier is not None:
            failure.occurred_at_us = earlier.occurred_at_us
            failure.count += earlier.count
        elif len(self._waiting) >= self._most:
            self._left_out += 1
            LEFT_OUT.inc()
            return
        self._waiting[alike] = failure

    async def write(self) -> None:
        """Write what waits; it goes on waiting while the store is in trouble."""
        waiting, left_out = self._waiting, self._left_out
        if not waiting and not left_out:
            return
        self._waiting, self._left_out = {}, 0
        try:
            await self._ledger.write(list(waiting.values()), left_out)
        except GantryError as error:
            log.warning("failures_not_written", reason=error.outcome.value, count=len(waiting))
            self._left_out += left_out
            for alike, failure in waiting.items():
                if alike in self._waiting:
                    self._waiting[alike].count += failure.count
                    self._waiting[alike].occurred_at_us = failure.occurred_at_us
                elif len(self._waiting) < self._most:
                    self._waiting[alike] = failure
                else:
                    self._left_out += failure.count

    async def run(self) -> None:
        """Write again and again until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await self.write()
