"""C-STORE: from the message in memory to the status that is true (PS3.4 B.2.3)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gantry.access.v1.access_pb2 import ACCESS_KIND_STORE
from gantry.reception.v1.reception_pb2 import CHANNEL_DIMSE, Reception, Source
from gantry_access.assembly import Access
from gantry_access.policy import Decision, Principal
from gantry_dicom.errors import GantryError
from gantry_dicom.gate import UID_ASSIGNED, Admission, Expected, GateLimits, admit_data_set
from gantry_dicom.refusals import Refused
from gantry_dimse.statuses import PROCESSING_FAILURE, SUCCESS
from gantry_objectstore.store import Buffer
from gantry_reception.errors import Undecided
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import current_traceparent, span

from gantry_ingest.access import C_STORE, Caller, allow
from gantry_ingest.statuses import COERCED, c_store_status

log = get_logger(__name__)

STORED = metrics.counter("gantry_dimse_stores", "C-STORE requests answered", ("status",))
BYTES = metrics.counter("gantry_dimse_stored_bytes", "Bytes of data sets acknowledged by C-STORE")
DURATION = metrics.histogram("gantry_dimse_store_seconds", "From the complete C-STORE request to its status")


# Walking a data set holds the event loop for a millisecond or two a megabyte at worst.
_INLINE_BYTES = 1 << 20


class InstanceReceiver(Protocol):
    """The ack contract; ``gantry_reception.receiver.Receiver`` is one."""

    async def receive(
        self,
        admission: Admission,
        buffer: Buffer,
        source: Source,
        *,
        partition: str,
        traceparent: str = "",
        reply_to: str = "",
    ) -> Reception:
        """Return once the object is durable and a journal entry leads to it."""
        ...


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """One C-STORE request as the association gave it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    # Gives the data set; raises the ``GantryError`` for which it could not be taken.
    take: Callable[[], Buffer]
    caller: Caller
    called_ae_title: str


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """The status, and under which key the object lies when it is a success."""

    status: int
    object_key: str | None = None
    study_uid: str = ""
    # The store failed so late that no status is true: the association has to be aborted.
    is_undecided: bool = False


@dataclass(frozen=True, slots=True)
class StoreService:
    """What answers C-STORE requests."""

    receiver: InstanceReceiver
    access: Access
    limits: GateLimits
    # Names the channel on which verdicts are awaited; empty while there is none.
    reply_to: Callable[[], str]

    async def store(self, request: StoreRequest) -> StoreAnswer:
        """Store one data set; never raises.

        Success is returned only after the ack contract holds (DESIGN: durable object, journal
        entry, lease). A failure means that nothing of this request will ever be indexed.
        """
        started = time.perf_counter()
        with span("dimse.c_store", sop_class_uid=request.sop_class_uid):
            answer = await self._store(request)
        DURATION.observe(time.perf_counter() - started)
        STORED.labels(f"{answer.status:04X}").inc()
        return answer

    async def _store(self, request: StoreRequest) -> StoreAnswer:
        caller = request.caller
        try:
            principal, decision = allow(self.access, caller, C_STORE)
            data_set = request.take()
            admission = await self._admit(request, data_set)
            reception = await self.receiver.receive(
                admission,
                data_set,
                _source(request, principal),
                partition=caller.partition,
                traceparent=current_traceparent(),
                reply_to=self.reply_to(),
            )
        except GantryError as error:
            status = c_store_status(error)
            log.warning(
                "store_refused",
                dimse_status=f"{status:04X}",
                reason=_reason(error),
                calling_ae_title=caller.ae_title,
            )
            return StoreAnswer(status, is_undecided=isinstance(error, Undecided))
        except Exception:
            log.exception("store_failed", calling_ae_title=caller.ae_title)
            return StoreAnswer(PROCESSING_FAILURE)
        self._note(principal, decision, caller.partition, reception)
        BYTES.inc(reception.size)
        status = COERCED if UID_ASSIGNED in reception.warnings else SUCCESS
        return StoreAnswer(status, reception.object_key, reception.study_instance_uid)

    async def _admit(self, request: StoreRequest, data_set: Buffer) -> Admission:
        admit = partial(
            admit_data_set,
            data_set,
            request.transfer_syntax_uid,
            expected=Expected(request.sop_class_uid, request.sop_instance_uid),
            limits=self.limits,
            source_ae_title=request.caller.ae_title,
        )
        if memoryview(data_set).nbytes <= _INLINE_BYTES:
            return admit()
        return await asyncio.to_thread(admit)

    def _note(self, principal: Principal, decision: Decision, partition: str, reception: Reception) -> None:
        try:
            self.access.note(
                ACCESS_KIND_STORE,
                principal,
                operation=C_STORE,
                outcome=decision.rule,
                partition=partition,
                study_uid=reception.study_instance_uid,
                sop_uids=[reception.sop_instance_uid],
            )
        except GantryError as trouble:
            # It is stored, and the journal says by whom: the peer must hear that.
            log.warning("store_not_recorded", reason=trouble.outcome.value)


def _reason(error: GantryError) -> str:
    return error.reason.reason if isinstance(error, Refused) else error.outcome.value


def _source(request: StoreRequest, principal: Principal) -> Source:
    return Source(
        channel=CHANNEL_DIMSE,
        calling_ae_title=request.caller.ae_title,
        called_ae_title=request.called_ae_title,
        peer_address=request.caller.peer_address,
        principal=principal.name,
    )
