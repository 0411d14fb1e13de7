"""What the listener is to its peers: whom it lets in, and which DIMSE services it has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from gantry_dicom.errors import GantryError, NotFound, Outcome
from gantry_dimse.association import Association
from gantry_dimse.commands import Command, CommandField
from gantry_dimse.entity import Agreement, Entity, Operation, Response
from gantry_dimse.facts import AssociationFacts, EndKind
from gantry_dimse.limits import Limits
from gantry_dimse.messages import DataSink
from gantry_dimse.negotiating import accept_roles, answer_contexts
from gantry_dimse.negotiation import (
    CALLED_AE_TITLE_NOT_RECOGNISED,
    CALLING_AE_TITLE_NOT_RECOGNISED,
    LOCAL_LIMIT_EXCEEDED,
    TEMPORARY_CONGESTION,
    AssociateReject,
    AssociateRequest,
    PresentationContext,
)
from gantry_dimse.statuses import SUCCESS
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

from gantry_ingest.access import ASSOCIATION, C_ECHO, Caller, admit, allow, note_refusal
from gantry_ingest.adapters.slots import AssociationSlots
from gantry_ingest.bootstrap import WorkerParts
from gantry_ingest.contexts import choose
from gantry_ingest.settings import IngestSettings
from gantry_ingest.statuses import c_echo_status, c_store_status
from gantry_ingest.store import StoreRequest

log = get_logger(__name__)

ASSOCIATIONS = metrics.gauge("gantry_dimse_associations", "Associations of this listener")
ENDED = metrics.counter("gantry_dimse_associations_ended", "Associations by how they ended", ("how",))
DISMISSED = metrics.counter(
    "gantry_dimse_connections_dismissed",
    "Connections closed before they asked for an association",
    ("reason",),
)


@dataclass(slots=True)
class _Kept:
    """What is remembered with an association."""

    caller: Caller | None = None
    # Why it was rejected, as a static name.
    rejected: str = ""


class Archive(Entity):
    """The application entity of one worker."""

    def __init__(
        self,
        settings: IngestSettings,
        parts: WorkerParts,
        slots: AssociationSlots,
        number: int,
        changed: Callable[[], None],
    ) -> None:
        """``changed`` is called when this worker has more or fewer associations."""
        self.limits = Limits(
            maximum_pdu_bytes=settings.maximum_pdu_bytes,
            maximum_operations=settings.maximum_operations,
            artim_seconds=settings.artim_seconds,
            idle_seconds=settings.idle_seconds,
            pdu_seconds=settings.pdu_seconds,
        )
        self.services = {field: partial(service, self) for field, service in SERVICES.items()}
        self.parts = parts
        self._settings = settings
        self._partitions = settings.partitions()
        self._slots = slots
        self._number = number
        self._changed = changed
        self._calling: dict[Association, str] = {}

    @property
    def association_count(self) -> int:
        """How many associations this worker has."""
        return len(self._calling)

    async def negotiate(
        self, association: Association, request: AssociateRequest
    ) -> Agreement | AssociateReject:
        """Let a peer in, or tell it why not (PS3.8 Table 9-21)."""
        kept = association.keep = _Kept()
        self._calling[association] = request.calling_ae_title
        self._publish()
        rejection = self._rejection(kept, association, request)
        if rejection is not None:
            return rejection
        return Agreement(answer_contexts(request, choose), accept_roles(request, lambda _: False))

    def open_sink(self, association: Association, context: PresentationContext, command: Command) -> DataSink:  # noqa: ARG002
        """Return a part of the spool that all associations share."""
        return self.parts.spool.part()

    def status_of(self, command: Command, error: GantryError) -> int:  # noqa: ARG002
        """Return the status for what a service does not answer itself."""
        return c_store_status(error)

    async def before_release(self, association: Association) -> None:
        """Let the peer find what it sent."""
        await self.parts.settling.settle(association)

    def ended(self, association: Association) -> None:
        """Give the slot back, and count."""
        if self._calling.pop(association, None) is not None:
            self._publish()
        facts = association.facts
        if facts.request is None:
            DISMISSED.labels(_dismissal(facts)).inc()
            return
        kept: _Kept | None = association.keep
        how = kept.rejected if kept is not None and kept.rejected else ""
        ENDED.labels(how or (facts.end.kind.value if facts.end else "")).inc()

    def _publish(self) -> None:
        self._slots.publish(self._number, self._calling.values())
        ASSOCIATIONS.set(len(self._calling))
        self._changed()

    def _rejection(
        self, kept: _Kept, association: Association, request: AssociateRequest
    ) -> AssociateReject | None:
        settings, access = self._settings, self.parts.access
        per_title = settings.maximum_associations_per_title
        calling, called = request.calling_ae_title, request.called_ae_title
        peer_address = association.peer_address
        if self._slots.total() > settings.maximum_associations:
            kept.rejected = "limit"
            return LOCAL_LIMIT_EXCEEDED
        if per_title and self._slots.of_title(calling) > per_title:
            kept.rejected = "limit-of-title"
            return LOCAL_LIMIT_EXCEEDED
        if called not in self._partitions:
            kept.rejected = "called-ae-title"
            log.warning("association_rejected", reason=kept.rejected, peer_address=peer_address)
            error = NotFound("the called AE title is none of this listener's")
            note_refusal(access, Caller(calling, peer_address, partition=""), ASSOCIATION, error)
            return CALLED_AE_TITLE_NOT_RECOGNISED
        caller = Caller(calling, peer_address, self._partitions[called])
        try:
            admit(access, caller)
        except GantryError as error:
            is_known = error.outcome is Outcome.NOT_ALLOWED
            kept.rejected = "calling-ae-title" if is_known else "no-rules"
            log.warning("association_rejected", reason=kept.rejected, peer_address=peer_address)
            # While the rules are not known the peer may come again.
            return CALLING_AE_TITLE_NOT_RECOGNISED if is_known else TEMPORARY_CONGESTION
        kept.caller = caller
        return None


def caller_of(operation: Operation) -> Caller:
    """Return who asks for an operation of an association that was let in."""
    kept: _Kept = operation.association.keep
    if kept.caller is None:
        raise NotFound("the association was not let in")
    return kept.caller


async def _echo(archive: Archive, operation: Operation) -> Response:
    try:
        allow(archive.parts.access, caller_of(operation), C_ECHO)
    except GantryError as error:
        return Response(c_echo_status(error))
    return Response(SUCCESS)


async def _store(archive: Archive, operation: Operation) -> Response:
    association, command, caller = operation.association, operation.command, caller_of(operation)
    answer = await archive.parts.store_service.store(
        StoreRequest(
            sop_class_uid=command.affected_sop_class_uid or "",
            sop_instance_uid=command.affected_sop_instance_uid or "",
            transfer_syntax_uid=operation.context.transfer_syntax,
            take=lambda: operation.data,
            partition=caller.partition,
            calling_ae_title=caller.ae_title,
            called_ae_title=association.called_ae_title,
            peer_address=caller.peer_address,
        )
    )
    if answer.object_key is not None:
        archive.parts.settling.note(association, answer.object_key)
    return Response(answer.status)


# Every DIMSE service that is answered; what each needs is in ``access.SERVICE_ACTIONS``.
SERVICES: Mapping[CommandField, Callable[[Archive, Operation], Awaitable[Response]]] = {
    CommandField.C_ECHO: _echo,
    CommandField.C_STORE: _store,
}

_DISMISSALS = {
    EndKind.TIMED_OUT: "artim",
    EndKind.ABORTED: "not-dicom",
    EndKind.TLS_FAILED: "tls",
    EndKind.CONNECTION_LOST: "reset",
}


def _dismissal(facts: AssociationFacts) -> str:
    end = facts.end
    if end is None:
        return ""
    return _DISMISSALS.get(end.kind, "closed-by-peer" if end.by_peer else "crowded")
