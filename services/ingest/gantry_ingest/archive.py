"""What the listener is to its peers: whom it lets in, and which DIMSE services it has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from gantry_dicom.errors import GantryError, NotFound
from gantry_dimse.association import Association
from gantry_dimse.commands import Command, CommandField
from gantry_dimse.entity import Agreement, Entity, Operation, Response
from gantry_dimse.facts import AssociationFacts, EndKind
from gantry_dimse.limits import Limits
from gantry_dimse.messages import DataSink
from gantry_dimse.negotiating import accept_roles, answer_contexts
from gantry_dimse.negotiation import AssociateReject, AssociateRequest, PresentationContext
from gantry_dimse.statuses import SUCCESS
from gantry_failures.evidence import Evidence
from gantry_telemetry import metrics
from gantry_telemetry.tracing import LongSpan, span
from opentelemetry.trace import SpanKind

from gantry_ingest.access import C_ECHO, Caller, allow
from gantry_ingest.adapters.slots import AssociationSlots
from gantry_ingest.admitting import REJECTIONS, Door, DoorLimits
from gantry_ingest.bootstrap import WorkerParts
from gantry_ingest.contexts import choose, is_storage
from gantry_ingest.extended import agree
from gantry_ingest.query_contexts import chooser
from gantry_ingest.settings import IngestSettings
from gantry_ingest.settling import SEARCHABLE
from gantry_ingest.statuses import c_echo_status, c_store_status
from gantry_ingest.store import StoreRequest

ASSOCIATIONS = metrics.gauge("gantry_dimse_associations", "Associations of this listener")
ENDED = metrics.counter("gantry_dimse_associations_ended", "Associations by how they ended", ("how",))
OF_TITLE = metrics.counter(
    "gantry_dimse_associations_of_title",
    "Associations of registered titles by how they ended",
    ("title", "how"),
)
DISMISSED = metrics.counter(
    "gantry_dimse_connections_dismissed",
    "Connections closed before they asked for an association",
    ("reason",),
)


_MOST_TITLES = 500


@dataclass(slots=True)
class _Kept:
    """What is remembered with an association."""

    caller: Caller | None = None
    # Why it was rejected, as a static name.
    rejected: str = ""
    # Parent of everything that is done within the association.
    trace: LongSpan = field(default_factory=lambda: LongSpan("dimse.association", SpanKind.SERVER))


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
        self.services = {command: partial(_perform, self, service) for command, service in SERVICES.items()}
        self.parts = parts
        self._door = Door(
            parts.access,
            settings.partitions(),
            slots,
            slots.rates,
            DoorLimits(
                settings.maximum_associations,
                min(settings.reserved_associations, settings.maximum_associations // 2),
                settings.maximum_associations_per_title,
            ),
            parts.identities,
        )
        self._slots = slots
        self._number = number
        self._changed = changed
        self._calling: dict[Association, str] = {}
        # Titles that have a series of their own.
        self._counted: set[str] = set()

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
        with kept.trace.current():
            admission = await self._door.admit(association, request)
        kept.rejected, kept.caller = admission.refusal, admission.caller
        if admission.caller is None:
            return REJECTIONS[admission.refusal]
        return Agreement(
            answer_contexts(request, chooser(request, choose)),
            # C-GET sends to whoever asked for it.
            accept_roles(request, is_storage),
            agree(request.user.extended),
            identity_response=admission.identity_response,
        )

    def open_sink(self, association: Association, context: PresentationContext, command: Command) -> DataSink:  # noqa: ARG002
        """Return a part of the spool that all associations share."""
        return self.parts.spool.part()

    def status_of(self, command: Command, error: GantryError) -> int:  # noqa: ARG002
        """Return the status for what a service does not answer itself."""
        return c_store_status(error)

    async def before_release(self, association: Association) -> None:
        """Let the peer find what it sent."""
        kept: _Kept = association.keep
        with kept.trace.current(), span("dimse.settle"):
            if await self.parts.settling.settle(association):
                SEARCHABLE.observe((datetime.now(UTC) - association.facts.connected_at).total_seconds())

    def ended(self, association: Association) -> None:
        """Give the slot back, and count."""
        if self._calling.pop(association, None) is not None:
            self._publish()
        facts = association.facts
        self.parts.transfers.ended(
            association, released=facts.end is not None and facts.end.kind is EndKind.RELEASED
        )
        kept: _Kept = association.keep or _Kept()
        evidence = Evidence(facts, kept.rejected)
        if evidence.is_failure:
            self.parts.failures.note(evidence, kept.caller.partition if kept.caller else "")
        if facts.request is None:
            DISMISSED.labels(_dismissal(facts)).inc()
            return
        how = kept.rejected or (facts.end.kind.value if facts.end else "")
        ENDED.labels(how).inc()
        kept.trace.end(
            calling_ae_title=facts.calling_ae_title, called_ae_title=facts.called_ae_title, how=how
        )
        self._count_of_title(facts.calling_ae_title, how)

    def _count_of_title(self, calling_ae_title: str, how: str) -> None:
        """Count by title those that are registered: what anybody can say must not make a series."""
        is_counted = calling_ae_title in self._counted or (
            len(self._counted) < _MOST_TITLES and self._door.is_known(calling_ae_title)
        )
        if is_counted:
            self._counted.add(calling_ae_title)
        OF_TITLE.labels(calling_ae_title if is_counted else "other", how).inc()

    def _publish(self) -> None:
        self._slots.publish(self._number, self._calling.values())
        ASSOCIATIONS.set(len(self._calling))
        self._changed()


def caller_of(operation: Operation) -> Caller:
    """Return who asks for an operation of an association that was let in."""
    kept: _Kept = operation.association.keep
    if kept.caller is None:
        raise NotFound("the association was not let in")
    return kept.caller


async def _perform(
    archive: Archive, service: Callable[[Archive, Operation], Awaitable[Response]], operation: Operation
) -> Response:
    """Perform an operation within the trace of its association."""
    kept: _Kept = operation.association.keep
    with kept.trace.current():
        return await service(archive, operation)


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
            caller=caller,
            called_ae_title=association.called_ae_title,
        )
    )
    if answer.is_undecided:
        association.abort("nothing that could be answered is true")
    if answer.object_key is not None:
        archive.parts.settling.note(association, answer.object_key)
        archive.parts.transfers.note(association, caller.partition, answer.study_uid)
    return Response(answer.status)


async def _act(archive: Archive, operation: Operation) -> Response:
    return await archive.parts.committing.act(operation, caller_of(operation))


async def _find(archive: Archive, operation: Operation) -> Response:
    return await archive.parts.querying.find(operation, caller_of(operation))


async def _move(archive: Archive, operation: Operation) -> Response:
    return await archive.parts.querying.move(operation, caller_of(operation))


async def _get(archive: Archive, operation: Operation) -> Response:
    return await archive.parts.querying.get(operation, caller_of(operation))


# Every DIMSE service that is answered; what each needs is in ``access.SERVICE_ACTIONS``.
SERVICES: Mapping[CommandField, Callable[[Archive, Operation], Awaitable[Response]]] = {
    CommandField.C_ECHO: _echo,
    CommandField.C_STORE: _store,
    CommandField.C_FIND: _find,
    CommandField.C_MOVE: _move,
    CommandField.C_GET: _get,
    CommandField.N_ACTION: _act,
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
