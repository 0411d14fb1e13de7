"""One stored instance over an association, as it is stored or as the peer takes it (PS3.4 C.4.2.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from gantry_dicom.errors import CannotProcess, GantryError, NotFound
from gantry_dicom.frames import FrameTable
from gantry_dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from gantry_dimse.association import Association
from gantry_dimse.commands import MEDIUM, Command, CommandField
from gantry_dimse.errors import NotAssociated
from gantry_dimse.messages import Buffer
from gantry_dimse.negotiation import PresentationContext
from gantry_imaging.whole import can_change
from gantry_index.records import StoredInstance
from gantry_objectstore.store import ObjectStore
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

from gantry_ingest.transcoding import Transcoder

log = get_logger(__name__)

SENT = metrics.counter("gantry_dimse_instances_sent", "Sub-operations of C-MOVE and C-GET", ("how",))

# Larger instances are read while they are sent.
_WHOLE_BYTES = 4 << 20
# What is tried, best first, where the stored transfer syntax is not accepted.
_PREFERRED = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)


@dataclass(frozen=True, slots=True)
class Errand:
    """What the C-STOREs of one retrieval have in common."""

    priority: int = MEDIUM
    # Of a C-MOVE: who asked, and by which message (PS3.7 9.1.1.1).
    move_originator: str | None = None
    move_originator_message_id: int | None = None


@dataclass(frozen=True, slots=True)
class InstanceSender:
    """Sends stored instances."""

    store: ObjectStore
    transcoder: Transcoder

    async def send(self, association: Association, instance: StoredInstance, errand: Errand) -> int | None:
        """Send ``instance`` and return the peer's status, ``None`` when it could not be sent.

        Raises ``NotAssociated`` when the association ends before the answer.
        """
        refused = True
        for context, has_stored_syntax in _choices(association, instance):
            refused = False
            try:
                if has_stored_syntax:
                    status = await self._send_stored(association, context, instance, errand)
                else:
                    status = await self._send_transcoded(association, context, instance, errand)
            except NotAssociated:
                raise
            except CannotProcess as error:
                # Another context may hold what this one cannot.
                log.warning("instance_not_transcoded", sop_instance_uid=instance.sop_uid, reason=error.detail)
                continue
            except GantryError as error:
                SENT.labels("unreadable").inc()
                log.warning(
                    "instance_not_read", sop_instance_uid=instance.sop_uid, reason=error.outcome.value
                )
                if association.over:
                    raise association.error() from error
                return None
            SENT.labels("stored" if has_stored_syntax else "transcoded").inc()
            return status
        SENT.labels("refused" if refused else "not-transcoded").inc()
        return None

    async def _send_stored(
        self, association: Association, context: PresentationContext, instance: StoredInstance, errand: Errand
    ) -> int:
        start, size = instance.meta_length, instance.size
        if size <= _WHOLE_BYTES:
            stored = await self.store.get(instance.object_key)
            if len(stored) != size:
                raise NotFound("an object is not the size it was stored with")
            data: Buffer | AsyncIterator[bytes] = memoryview(stored)[start:]
        else:
            data = self.store.stream(instance.object_key, start, size - start)
        return (await association.ask(context, _command(instance, errand), data)).status

    async def _send_transcoded(
        self, association: Association, context: PresentationContext, instance: StoredInstance, errand: Errand
    ) -> int:
        async with self.transcoder.transcoded(instance, context.transfer_syntax) as made:
            with memoryview(made) as data:
                return (await association.ask(context, _command(instance, errand), data)).status


def _choices(
    association: Association, instance: StoredInstance
) -> Iterator[tuple[PresentationContext, bool]]:
    """Yield the contexts that ``instance`` can go under, best first, and whether as it is stored."""
    accepted = {
        context.transfer_syntax: context
        for context in association.contexts.values()
        if context.abstract_syntax == instance.sop_class_uid and context.peer_is_scp
    }
    stored = instance.transfer_syntax_uid
    if stored in accepted:
        yield accepted.pop(stored), True
    table = FrameTable.unpack(instance.frame_table)
    order = [*filter(accepted.__contains__, _PREFERRED), *(set(accepted) - set(_PREFERRED))]
    for target in order:
        if can_change(stored, target, table):
            yield accepted[target], False


def _command(instance: StoredInstance, errand: Errand) -> Command:
    return Command(
        CommandField.C_STORE,
        affected_sop_class_uid=instance.sop_class_uid,
        priority=errand.priority,
        affected_sop_instance_uid=instance.sop_uid,
        move_originator_application_entity_title=errand.move_originator,
        move_originator_message_id=errand.move_originator_message_id,
    )
