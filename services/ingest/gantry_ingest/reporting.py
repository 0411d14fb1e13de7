"""N-EVENT-REPORT of storage commitment: on the association that asked, else on one of our own.

A report is due until the modality has answered it, or until it is given up after days. It is in the
ledger, so every listener can bring it, also after a restart; that two bring it is harmless.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gantry.commitment.v1.commitment_pb2 import CommitmentReport, CommitmentRequest, EventReceiver
from gantry_commitment.ledger import Ledger, OpenCommitment
from gantry_dicom.errors import GantryError, Unavailable
from gantry_dicom.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)
from gantry_dimse.association import Association
from gantry_dimse.connecting import open_association
from gantry_dimse.entity import Entity
from gantry_dimse.errors import ContextNotAccepted, NotAssociated
from gantry_dimse.limits import Limits
from gantry_dimse.negotiating import propose
from gantry_dimse.negotiation import PresentationContext, RoleSelection
from gantry_dimse.scu import n_event_report
from gantry_dimse.statuses import SUCCESS
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

from gantry_ingest.commitment_data import write_report
from gantry_ingest.destinations import Destination

log = get_logger(__name__)

REPORTS = metrics.counter(
    "gantry_dimse_commitment_reports", "Storage commitment reports to modalities", ("how",)
)

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
# The one instance of the SOP class (PS3.4 J.3.5).
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
# PS3.4 Table J.3-2: event types.
ALL_COMMITTED, SOME_FAILED = 1, 2

_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 600.0
# Whoever took the request has this long to bring the report itself.
_OTHERS_FIRST_SECONDS = 20.0
_AT_A_TIME = 8
_DAY = 86_400.0

# Where an entity of a partition listens. Raises ``StalePolicy``.
Find = Callable[[str, str], Destination | None]


@dataclass(frozen=True, slots=True)
class Reporter:
    """Brings reports to those who asked."""

    ledger: Ledger
    find: Find
    connect_seconds: float = 10.0
    answer_seconds: float = 30.0

    async def over(
        self, association: Association, context: PresentationContext, report: CommitmentReport
    ) -> bool:
        """Bring a report over an association; return whether the peer has it. Raises ``NotAssociated``."""
        explicit = TRANSFER_SYNTAXES[context.transfer_syntax].encoding.explicit
        async with asyncio.timeout(self.answer_seconds):
            reply = await n_event_report(
                association,
                context,
                sop_class_uid=STORAGE_COMMITMENT,
                sop_instance_uid=STORAGE_COMMITMENT_INSTANCE,
                event_type_id=SOME_FAILED if report.failed else ALL_COMMITTED,
                information=write_report(report, explicit=explicit),
            )
        if reply.status != SUCCESS:
            log.warning("commitment_report_refused", status=f"{reply.status:04X}")
        return reply.status == SUCCESS

    async def over_own(self, receiver: EventReceiver, report: CommitmentReport) -> bool:
        """Bring a report over a new association, in the SCP's role (PS3.4 J.3.3.1.4).

        Return whether the peer has it. Raises ``NotAssociated``, ``ContextNotAccepted``,
        ``StalePolicy``, and ``TimeoutError`` when the peer does not answer.
        """
        address = self.find(receiver.ae_title, report.partition)
        if address is None:
            log.warning("commitment_receiver_has_no_address", calling_ae_title=receiver.ae_title)
            return False
        entity = Entity()
        entity.limits = Limits(artim_seconds=self.connect_seconds)
        async with await open_association(
            address.host,
            address.port,
            calling_ae_title=receiver.called_ae_title,
            called_ae_title=receiver.ae_title,
            contexts=propose([(STORAGE_COMMITMENT, [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN])]),
            roles=(RoleSelection(STORAGE_COMMITMENT, scu=False, scp=True),),
            entity=entity,
        ) as association:
            # A peer that answers no roles takes the report all the same; so do most.
            return await self.over(association, association.context_for(STORAGE_COMMITMENT), report)

    async def bring(self, request: CommitmentRequest, report: CommitmentReport) -> bool:
        """Bring a report over a new association and note that it was; return whether.

        Raises ``Unavailable``.
        """
        try:
            has_it = await self.over_own(request.receiver, report)
        except (NotAssociated, ContextNotAccepted, TimeoutError) as error:
            log.warning(
                "commitment_report_not_delivered",
                calling_ae_title=request.receiver.ae_title,
                reason=type(error).__name__,
            )
            has_it = False
        REPORTS.labels("new-association" if has_it else "failed").inc()
        if has_it:
            await self.ledger.end(request.partition, request.transaction_uid, delivered=True)
        return has_it


@dataclass(slots=True)
class ReportLoop:
    """Brings the reports that are due, one turn after the other; one process at a time is enough."""

    reporter: Reporter
    give_up_days: float
    # Whether it is this process's turn.
    is_ours: Callable[[], Awaitable[bool]]
    first_after_seconds: float = _OTHERS_FIRST_SECONDS
    # By the key of an open commitment: when it is tried next, and the pause after that.
    _next: dict[str, tuple[float, float]] = field(default_factory=dict)

    async def turn(self) -> None:
        """Try what is due. Raises ``Unavailable``."""
        if not await self.is_ours():
            return
        open_ones = [one async for one in self.reporter.ledger.open_ones()]
        keys = {one.key for one in open_ones}
        self._next = {key: due for key, due in self._next.items() if key in keys}
        now = time.monotonic()
        due = [one for one in open_ones if self._next.get(one.key, (0.0, 0.0))[0] <= now]
        slots = asyncio.Semaphore(_AT_A_TIME)

        async def try_one(one: OpenCommitment) -> None:
            async with slots:
                await self._try(one)

        async with asyncio.TaskGroup() as tasks:
            for one in due:
                if one.age_seconds >= self.first_after_seconds:
                    tasks.create_task(try_one(one))

    async def _try(self, one: OpenCommitment) -> None:
        ledger = self.reporter.ledger
        try:
            commitment = await ledger.read_open(one.key)
            if commitment is None or commitment.report is None or commitment.end is not None:
                return
            if not commitment.request.HasField("receiver"):
                return
            if await self.reporter.bring(commitment.request, commitment.report):
                self._next.pop(one.key, None)
                return
            if one.age_seconds > self.give_up_days * _DAY:
                log.error("commitment_report_given_up", calling_ae_title=commitment.request.receiver.ae_title)
                REPORTS.labels("given-up").inc()
                await ledger.end(
                    commitment.request.partition, commitment.request.transaction_uid, delivered=False
                )
                return
        except Unavailable as error:
            log.warning("commitment_turn_missed", reason=error.detail)
        except GantryError:
            log.exception("commitment_refused")
        _, pause = self._next.get(one.key, (0.0, _FIRST_PAUSE_SECONDS))
        self._next[one.key] = (time.monotonic() + pause, min(2 * pause, _LONGEST_PAUSE_SECONDS))

    async def run(self, seconds: float) -> None:
        """Take turns until cancelled."""
        while True:
            try:
                await self.turn()
            except GantryError as error:
                log.warning("commitment_turn_missed", reason=error.detail)
            await asyncio.sleep(seconds)
