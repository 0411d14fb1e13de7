"""N-ACTION of the Storage Commitment Push Model (PS3.4 J.3.2): asked here, answered by a report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from gantry.commitment.v1.commitment_pb2 import CommitmentReport, CommitmentRequest, EventReceiver
from gantry_access.assembly import Access
from gantry_commitment.ledger import Commitment, Ledger
from gantry_commitment.progress import carry_on
from gantry_commitment.verification import Verifier
from gantry_dicom.errors import Conflict, GantryError, Outcome
from gantry_dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from gantry_dimse.entity import Operation, Response
from gantry_dimse.errors import NotAssociated
from gantry_dimse.statuses import NOT_AUTHORISED, PROCESSING_FAILURE, SUCCESS
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import current_traceparent

from gantry_ingest.access import N_ACTION, Caller, allow
from gantry_ingest.commitment_data import read_request
from gantry_ingest.reporting import (
    REPORTS,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    Reporter,
)

log = get_logger(__name__)

REQUESTS = metrics.counter("gantry_dimse_commitment_requests", "N-ACTIONs of storage commitment", ("status",))

# PS3.7 10.1.4.1.10.
INVALID_ARGUMENT_VALUE = 0x0115
NO_SUCH_OBJECT_INSTANCE = 0x0112
NO_SUCH_SOP_CLASS = 0x0118
NO_SUCH_ACTION_TYPE = 0x0123
RESOURCE_LIMITATION = 0x0213

# PS3.4 Table J.3-1: request storage commitment.
REQUEST_STORAGE_COMMITMENT = 1

N_ACTION_STATUSES: Mapping[Outcome, int] = {
    Outcome.BAD_REQUEST: INVALID_ARGUMENT_VALUE,
    Outcome.CANNOT_PROCESS: INVALID_ARGUMENT_VALUE,
    Outcome.CONFLICT: INVALID_ARGUMENT_VALUE,
    Outcome.NOT_AUTHENTICATED: NOT_AUTHORISED,
    Outcome.NOT_ALLOWED: NOT_AUTHORISED,
    Outcome.TOO_LARGE: RESOURCE_LIMITATION,
    Outcome.OUT_OF_RESOURCES: RESOURCE_LIMITATION,
    Outcome.UNAVAILABLE: RESOURCE_LIMITATION,
}


@dataclass(frozen=True, slots=True)
class CommitmentTimes:
    """In seconds."""

    # How long the same association is good for the report.
    same_association: float = 20.0
    # How long an instance that the index does not have is looked for.
    patience: float = 15.0
    # How long a device that has no address is kept waiting for its answer.
    without_address: float = 10.0


@dataclass(slots=True)
class Committing:
    """Answers N-ACTION."""

    access: Access
    ledger: Ledger
    verifier: Verifier
    reporter: Reporter
    times: CommitmentTimes = CommitmentTimes()
    _working: set[asyncio.Task[None]] = field(default_factory=set)

    async def act(self, operation: Operation, caller: Caller) -> Response:
        """Take a request for storage commitment; the report follows.

        A device without a registered address can be told on this association only: it is
        answered when that is known to be possible, so that success is never an empty promise.
        """
        try:
            response = await self._act(operation, caller)
        except GantryError as error:
            status = N_ACTION_STATUSES.get(error.outcome, PROCESSING_FAILURE)
            response = Response(status, error_comment=error.detail)
        REQUESTS.labels(f"{response.status:04X}").inc()
        return response

    async def close(self) -> None:
        """Leave what is in hand to the loop that brings reports."""
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    async def _act(self, operation: Operation, caller: Caller) -> Response:
        command = operation.command
        if command.requested_sop_class_uid != STORAGE_COMMITMENT:
            return Response(NO_SUCH_SOP_CLASS)
        principal, _ = allow(self.access, caller, N_ACTION)
        if command.requested_sop_instance_uid != STORAGE_COMMITMENT_INSTANCE:
            return Response(NO_SUCH_OBJECT_INSTANCE)
        if command.action_type_id != REQUEST_STORAGE_COMMITMENT:
            return Response(NO_SUCH_ACTION_TYPE)
        encoding = TRANSFER_SYNTAXES[operation.context.transfer_syntax].encoding
        transaction_uid, references = read_request(operation.data, encoding)
        request = CommitmentRequest(
            transaction_uid=transaction_uid,
            partition=caller.partition,
            references=references,
            principal=principal.name,
            requested_at_us=time.time_ns() // 1000,
            receiver=EventReceiver(
                ae_title=caller.ae_title,
                called_ae_title=operation.association.called_ae_title,
                peer_address=caller.peer_address,
            ),
            traceparent=current_traceparent(),
        )
        report = await self._open(request)
        working: asyncio.Task[CommitmentReport] = asyncio.create_task(self._report(request, report))
        if self.reporter.find(caller.ae_title, caller.partition) is None:
            try:
                async with asyncio.timeout(self.times.without_address):
                    await asyncio.shield(working)
            except (TimeoutError, GantryError):
                working.cancel()
                await self.ledger.end(request.partition, request.transaction_uid, delivered=False)
                return Response(
                    PROCESSING_FAILURE, error_comment="where this AE title listens is not registered"
                )
        telling = asyncio.create_task(self._tell(operation, request, working))
        self._working.add(telling)
        telling.add_done_callback(self._working.discard)
        return Response(SUCCESS)

    async def _open(self, request: CommitmentRequest) -> CommitmentReport | None:
        """Record a request. Asked again for the very same by the same device, return what is known.

        Raises ``Conflict`` for a Transaction UID that has been used for something else.
        """
        try:
            await self.ledger.open(request)
        except Conflict:
            earlier = await self.ledger.read(request.partition, request.transaction_uid)
            if not _is_same(earlier, request):
                raise
            log.info("commitment_asked_again", calling_ae_title=request.receiver.ae_title)
            return earlier.report
        return None

    async def _report(self, request: CommitmentRequest, report: CommitmentReport | None) -> CommitmentReport:
        if report is not None:
            return report
        return await carry_on(self.ledger, self.verifier, request, patience_seconds=self.times.patience)

    async def _tell(
        self, operation: Operation, request: CommitmentRequest, working: asyncio.Task[CommitmentReport]
    ) -> None:
        """Bring the report, here if that is in time; what fails is left to the loop."""
        started = time.monotonic()
        association = operation.association
        try:
            report = await working
            await operation.answered.wait()
            if association.established and time.monotonic() - started <= self.times.same_association:
                try:
                    has_it = await self.reporter.over(association, operation.context, report)
                except (NotAssociated, TimeoutError):
                    has_it = False  # it has hung up
                if has_it:
                    REPORTS.labels("same-association").inc()
                    await self.ledger.end(request.partition, request.transaction_uid, delivered=True)
                    return
            await self.reporter.bring(request, report)
        except GantryError as error:
            log.warning("commitment_left_to_later", reason=error.outcome.value)
        finally:
            working.cancel()


def _is_same(earlier: Commitment, request: CommitmentRequest) -> bool:
    first = earlier.request
    return first.receiver.ae_title == request.receiver.ae_title and list(first.references) == list(
        request.references
    )
