"""One worker of the DIMSE listener: associations on connections from the shared socket."""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from io import BytesIO
from typing import cast

from gantry_dicom.errors import GantryError, NotFound, Outcome
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import flush_traces
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event, EventHandlerType
from pynetdicom.pdu_primitives import A_ASSOCIATE

from gantry_ingest.access import ASSOCIATION, C_ECHO, Caller, admit, allow, note_refusal
from gantry_ingest.adapters.association_server import HandOverServer
from gantry_ingest.adapters.lobby import Lobby
from gantry_ingest.adapters.slots import AssociationSlots
from gantry_ingest.bootstrap import WorkerParts, build_worker, configure_process
from gantry_ingest.contexts import add_supported_contexts, take_whatever_is_sent
from gantry_ingest.settings import IngestSettings
from gantry_ingest.statuses import SUCCESS, c_echo_status
from gantry_ingest.store import StoreRequest

log = get_logger(__name__)

ASSOCIATIONS = metrics.gauge("gantry_dimse_associations", "Associations of this listener")
ENDED = metrics.counter("gantry_dimse_associations_ended", "Associations by how they ended", ("how",))

# How often the loop looks at the number of associations when nothing else wakes it.
_TICK_SECONDS = 0.2
# PS3.8 Table 9-21: rejected-permanent by the service user, calling AE title not recognised ...
_REJECT_CALLED = (0x01, 0x01, 0x07)
# ... calling AE title not recognised, whatever of it is wrong ...
_REJECT_CALLING = (0x01, 0x01, 0x03)
# ... and rejected-transient, temporary congestion: the rules are not known, it may come again.
_REJECT_FOR_NOW = (0x02, 0x03, 0x01)


class Worker:
    """Runs until it is told to stop, then drains."""

    def __init__(
        self,
        settings: IngestSettings,
        parts: WorkerParts,
        listener: socket.socket,
        slots: AssociationSlots,
        number: int,
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._slots = slots
        self._number = number
        self._partitions = settings.partitions()
        self._stopping = threading.Event()
        self._in_hand = 0
        self._in_hand_changed = threading.Condition()
        self._lobby = Lobby(
            listener, artim_seconds=settings.artim_seconds, maximum=settings.maximum_unassociated
        )
        self._server = HandOverServer(
            self._application_entity(),
            listener,
            settings.ae_title,
            self._handlers(),
            before_release=parts.settling.settle,
        )

    def stop(self) -> None:
        """Ask the loop to end; safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Serve until stopped, then let what is in hand finish and close the batch."""
        share = -(-self._settings.maximum_associations // self._settings.dimse_workers)
        while not self._stopping.is_set():
            count = self._server.association_count()
            self._slots.publish(self._number, count)
            ASSOCIATIONS.set(count)
            # Above our share another worker should take the next one; when all are full we
            # take it to tell the peer so at once.
            full = self._slots.total() >= self._settings.maximum_associations
            self._lobby.accept_more(accepting=count < share or full)
            for connection, address in self._lobby.wait(_TICK_SECONDS):
                self._server.take_over(connection, address)
                self._slots.publish(self._number, self._server.association_count())
        self._drain()

    def _drain(self) -> None:
        self._lobby.close()
        deadline = time.monotonic() + self._settings.drain_seconds
        with self._in_hand_changed:
            self._in_hand_changed.wait_for(
                lambda: self._in_hand == 0, timeout=max(0.0, deadline - time.monotonic())
            )
        # Between operations an abort loses nothing that was acknowledged (PS3.8 has no way
        # for an acceptor to release).
        for association in self._server.active_associations:
            association.abort()
        self._parts.receiver.run(self._parts.access.close())
        self._parts.receiver.close()
        flush_traces()
        log.info("worker_stopped", worker=self._number)

    def _application_entity(self) -> AE:
        settings = self._settings
        ae = AE(settings.ae_title)
        ae.maximum_pdu_size = settings.maximum_pdu_bytes
        ae.maximum_associations = settings.maximum_associations
        ae.network_timeout = settings.idle_seconds
        ae.acse_timeout = settings.artim_seconds
        ae.dimse_timeout = settings.dimse_seconds
        add_supported_contexts(ae)
        return ae

    def _handlers(self) -> list[EventHandlerType]:
        return [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_C_ECHO, self._on_echo),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_RELEASED, _count_end("released")),
            (evt.EVT_ABORTED, _count_end("aborted")),
            (evt.EVT_REJECTED, _count_end("rejected")),
        ]

    def _on_requested(self, event: Event) -> None:
        association = event.assoc
        if self._slots.total() > self._settings.maximum_associations:
            # PS3.8 Table 9-21: rejected-transient, local limit exceeded.
            association.acse.send_reject(0x02, 0x03, 0x02)
            ENDED.labels("limit").inc()
            association.kill()
            return
        called = _called_ae_title(association)
        if called not in self._partitions:
            log.warning("association_rejected", reason="called-ae-title", peer_address=_peer(association))
            stranger = Caller(_calling_ae_title(association), _peer(association), partition="")
            error = NotFound("the called AE title is none of this listener's")
            note_refusal(self._parts.access, stranger, ASSOCIATION, error)
            association.acse.send_reject(*_REJECT_CALLED)
            ENDED.labels("called-ae-title").inc()
            association.kill()
            return
        try:
            admit(self._parts.access, self._caller(association))
        except GantryError as error:
            known = error.outcome is Outcome.NOT_ALLOWED
            reason = "calling-ae-title" if known else "no-rules"
            log.warning("association_rejected", reason=reason, peer_address=_peer(association))
            association.acse.send_reject(*(_REJECT_CALLING if known else _REJECT_FOR_NOW))
            ENDED.labels(reason).inc()
            association.kill()

    def _on_echo(self, event: Event) -> int:
        try:
            allow(self._parts.access, self._caller(event.assoc), C_ECHO)
        except GantryError as error:
            return c_echo_status(error)
        return SUCCESS

    def _caller(self, association: Association) -> Caller:
        partition = self._partitions[_called_ae_title(association)]
        return Caller(_calling_ae_title(association), _peer(association), partition)

    def _on_store(self, event: Event) -> int:
        with self._in_hand_changed:
            self._in_hand += 1
        try:
            association = event.assoc
            called = _called_ae_title(association)
            request = cast("C_STORE", event.request)
            answer = self._parts.store_service.store(
                StoreRequest(
                    sop_class_uid=str(request.AffectedSOPClassUID or ""),
                    sop_instance_uid=str(request.AffectedSOPInstanceUID or ""),
                    transfer_syntax_uid=str(event.context.transfer_syntax),
                    data_set=cast("BytesIO", request.DataSet).getbuffer(),
                    partition=self._partitions[called],
                    calling_ae_title=association.requestor.ae_title.strip(),
                    called_ae_title=called,
                    peer_address=_peer(association),
                )
            )
            if answer.object_key is not None:
                self._parts.settling.note(association, answer.object_key)
            return answer.status
        finally:
            with self._in_hand_changed:
                self._in_hand -= 1
                self._in_hand_changed.notify_all()


def _count_end(how: str) -> Callable[[Event], None]:
    def count(_event: Event) -> None:
        ENDED.labels(how).inc()

    return count


def _called_ae_title(association: Association) -> str:
    # As the peer wrote it: a listener answers to several titles.
    return cast("A_ASSOCIATE", association.requestor.primitive).called_ae_title.strip()


def _calling_ae_title(association: Association) -> str:
    # Of the request itself: the association takes it over only once it has accepted.
    return cast("A_ASSOCIATE", association.requestor.primitive).calling_ae_title.strip()


def _peer(association: Association) -> str:
    return str(association.requestor.address)


def work(settings: IngestSettings, listener_descriptor: int, slots_descriptor: int, number: int) -> None:
    """Run one worker on inherited descriptors until SIGTERM or SIGINT."""
    configure_process(settings)
    # pynetdicom writes identifiers to its log; nothing below CRITICAL leaves it.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    take_whatever_is_sent()
    listener = socket.socket(fileno=listener_descriptor)
    slots = AssociationSlots(slots_descriptor, settings.dimse_workers)
    worker = Worker(settings, build_worker(settings), listener, slots, number)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    signal.signal(signal.SIGINT, lambda *_: worker.stop())
    log.info("worker_started", worker=number)
    worker.run()
