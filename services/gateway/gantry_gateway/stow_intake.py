"""Taking in the parts of one STOW-RS request (PS3.18 10.5).

Parts are stored while later ones still arrive, several at a time; each succeeds or fails
by itself, and what was stored when a request breaks off half way stays and is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_CONFLICT_LOSER,
    VERDICT_STATE_QUARANTINED,
    VERDICT_STATE_TOMBSTONED,
    Verdict,
)
from gantry.reception.v1.reception_pb2 import Reception, Source
from gantry_dicom.admission import Admission
from gantry_dicom.errors import BadRequest, GantryError, OutOfResources, TooLarge
from gantry_dicom.gate import UID_ASSIGNED, GateLimits, admit
from gantry_dicom.identify import claimed_identity
from gantry_dicom.refusals import Refused
from gantry_messaging.verdicts import VerdictListener
from gantry_reception.receiver import Receiver
from gantry_reception.spool import Spool, SpooledPart
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import current_traceparent, span

from gantry_gateway.multipart import MultipartReader, PartData, PartEnded, PartStarted
from gantry_gateway.stow_answer import (
    ANOTHER_VERSION_IS_CURRENT,
    COERCED,
    STUDY_MISMATCH,
    Failed,
    PartResult,
    Stored,
)

log = get_logger(__name__)

PARTS = metrics.counter("gantry_stow_parts", "Parts of STOW-RS requests, by how they ended", ("outcome",))

_OUT_OF_RESOURCES = 0xA700
_PROCESSING_FAILURE = 0x0110
# Bytes of a part that the event loop judges itself, in about a millisecond.
_ADMITTED_AT_ONCE = 4 << 20
_INVISIBLE = (VERDICT_STATE_QUARANTINED, VERDICT_STATE_TOMBSTONED)


@dataclass(frozen=True, slots=True)
class StowLimits:
    """Bounds of one request."""

    part_bytes: int
    body_bytes: int
    parallel: int
    verdict_seconds: float
    gate: GateLimits


@dataclass(slots=True)
class _Incoming:
    """A part that is arriving; one too long or without room is forgotten and the rest skipped."""

    spooled: SpooledPart
    maximum: int
    failure: Failed | None = None

    def write(self, data: bytes | memoryview) -> None:
        if self.failure is not None:
            return
        if self.spooled.size + len(data) > self.maximum:
            # Not "out of resources", which invites the sender to try again.
            self._forget(_PROCESSING_FAILURE)
            return
        try:
            self.spooled.write(data)
        except OutOfResources:
            self._forget(_OUT_OF_RESOURCES)

    def _forget(self, failure_reason: int) -> None:
        self.failure = Failed(failure_reason)
        self.spooled.close()


@dataclass(slots=True)
class StowIntake:
    """Stores the parts of one request; ``store_multipart`` or ``store_single`` once, then done."""

    receiver: Receiver
    verdicts: VerdictListener
    spool: Spool
    limits: StowLimits
    partition: str
    study_uid: str | None
    source: Source
    _slots: asyncio.Semaphore = field(init=False)
    _tasks: list[asyncio.Task[PartResult]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.limits.parallel)

    async def store_multipart(self, body: AsyncIterator[bytes], boundary: str) -> list[PartResult]:
        """Store every part of a multipart body and return one result a part, in order.

        Raises ``BadRequest`` or ``TooLarge`` only when nothing was stored before the body
        turned out to be malformed or too long.
        """
        reader = MultipartReader(boundary)
        try:
            async with asyncio.TaskGroup() as tasks:
                broken = await self._read_parts(body, reader, tasks)
        except* GantryError as group:
            raise group.exceptions[0] from None
        results = [task.result() for task in self._tasks]
        if broken is None:
            return results
        if not any(isinstance(result, Stored) for result in results):
            raise broken
        return [
            *results,
            Failed(_PROCESSING_FAILURE if isinstance(broken, BadRequest) else _OUT_OF_RESOURCES),
        ]

    async def store_single(self, body: AsyncIterator[bytes]) -> list[PartResult]:
        """Store a body that is one instance."""
        with self.spool.part() as part:
            async for chunk in body:
                if part.size + len(chunk) > self.limits.part_bytes:
                    raise TooLarge("the instance is longer than this server takes")
                part.write(chunk)
            return [await self._store_part(part)]

    async def _read_parts(
        self, body: AsyncIterator[bytes], reader: MultipartReader, tasks: asyncio.TaskGroup
    ) -> BadRequest | TooLarge | None:
        part: _Incoming | None = None
        total = 0
        try:
            async for chunk in body:
                total += len(chunk)
                if total > self.limits.body_bytes:
                    return TooLarge("the request is longer than this server takes")
                for event in reader.feed(chunk):
                    match event:
                        case PartStarted():
                            part = _Incoming(self.spool.part(), self.limits.part_bytes)
                        case PartData(data) if part is not None:
                            part.write(data)
                        case PartEnded() if part is not None:
                            await self._slots.acquire()
                            self._tasks.append(tasks.create_task(self._finish_part(part)))
                            part = None
            reader.finish()
        except (BadRequest, TooLarge) as error:
            return error
        finally:
            if part is not None:
                part.spooled.close()
        return None

    async def _finish_part(self, part: _Incoming) -> PartResult:
        try:
            with part.spooled:
                if part.failure is not None:
                    PARTS.labels("failed").inc()
                    return part.failure
                return await self._store_part(part.spooled)
        finally:
            self._slots.release()

    async def _store_part(self, part: SpooledPart) -> PartResult:
        with span("stow.part"):
            result = await self._admit_and_receive(part)
        PARTS.labels("stored" if isinstance(result, Stored) else "failed").inc()
        return result

    async def _admit(self, part: SpooledPart) -> Admission:
        """Judge a part; a long one in a thread, for it may have a million elements or fragments."""
        if part.size <= _ADMITTED_AT_ONCE:
            return admit(part.buffer(), limits=self.limits.gate)
        return await asyncio.to_thread(admit, part.buffer(), limits=self.limits.gate)

    async def _admit_and_receive(self, part: SpooledPart) -> PartResult:
        admission = None
        try:
            admission = await self._admit(part)
            if self.study_uid not in (None, admission.study_instance_uid):
                return Failed(STUDY_MISMATCH, admission.sop_class_uid, admission.sop_instance_uid)
            reception = await self.receiver.receive(
                admission,
                part.buffer(),
                self.source,
                partition=self.partition,
                traceparent=current_traceparent(),
                reply_to=self.verdicts.reply_to,
            )
        except Refused as error:
            log.info("stow_part_refused", reason=error.reason.reason)
            return Failed(error.reason.failure_reason, *claimed_identity(part.buffer()))
        except GantryError as error:
            log.warning("stow_part_failed", outcome=error.outcome.value)
            if admission is None:
                return Failed(_OUT_OF_RESOURCES)
            return Failed(_OUT_OF_RESOURCES, admission.sop_class_uid, admission.sop_instance_uid)
        except Exception:
            log.exception("stow_part_crashed")
            return Failed(_PROCESSING_FAILURE)
        verdict = await self.verdicts.wait(reception.object_key, self.limits.verdict_seconds)
        return _stored(reception, verdict)


def _stored(reception: Reception, verdict: Verdict | None) -> Stored:
    return Stored(
        study_instance_uid=reception.study_instance_uid,
        series_instance_uid=reception.series_instance_uid,
        sop_class_uid=reception.sop_class_uid,
        sop_instance_uid=reception.sop_instance_uid,
        searchable=verdict is not None and verdict.state not in _INVISIBLE,
        warning_reason=_warning_reason(reception, verdict),
    )


def _warning_reason(reception: Reception, verdict: Verdict | None) -> int | None:
    if verdict is not None and verdict.state == VERDICT_STATE_CONFLICT_LOSER:
        return ANOTHER_VERSION_IS_CURRENT
    return COERCED if UID_ASSIGNED in reception.warnings else None
