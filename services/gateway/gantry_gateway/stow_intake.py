"""Taking in the parts of one STOW-RS request (PS3.18 10.5).

Parts are stored while later ones still arrive, several at a time; each succeeds or fails
by itself, and what was stored when a request breaks off half way stays and is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_CONFLICT_LOSER,
    VERDICT_STATE_QUARANTINED,
    VERDICT_STATE_TOMBSTONED,
    Verdict,
)
from gantry.reception.v1.reception_pb2 import Reception, Source
from gantry_dicom.admission import Admission
from gantry_dicom.errors import BadRequest, GantryError, TooLarge
from gantry_dicom.gate import admit
from gantry_dicom.identify import claimed_identity
from gantry_dicom.refusals import Refusal, Refused
from gantry_messaging.verdicts import VerdictListener
from gantry_reception.errors import Undecided
from gantry_reception.receiver import Receiver
from gantry_reception.spool import Spool, SpooledPart
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import current_traceparent, span

from gantry_gateway.stow_answer import (
    ANOTHER_VERSION_IS_CURRENT,
    WARNING_REASONS,
    PartResult,
    Stored,
    failed,
)
from gantry_gateway.stow_parts import IncomingPart, StowLimits, bounded, incoming_parts

log = get_logger(__name__)

PARTS = metrics.counter("gantry_stow_parts", "Parts of STOW-RS requests, by how they ended", ("outcome",))

# Bytes of a part that the event loop judges itself, in about a millisecond.
_ADMITTED_AT_ONCE = 4 << 20
_INVISIBLE = (VERDICT_STATE_QUARANTINED, VERDICT_STATE_TOMBSTONED)


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
    _undecided: Undecided | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.limits.parallel)

    def check_decided(self) -> None:
        """Raise ``Undecided`` if a part may appear though it failed: then no store response is true."""
        if self._undecided is not None:
            raise self._undecided

    async def store_multipart(self, body: AsyncIterator[bytes], boundary: str) -> list[PartResult]:
        """Store every part of a multipart body and return one result a part, in order.

        Raises ``BadRequest`` or ``TooLarge`` only when nothing was stored before the body
        turned out to be malformed or too long.
        """
        broken: GantryError | None = None
        async with asyncio.TaskGroup() as tasks:
            try:
                async with aclosing(incoming_parts(body, boundary, self.spool, self.limits)) as parts:
                    async for part in parts:
                        await self._slots.acquire()
                        self._tasks.append(tasks.create_task(self._finish_part(part)))
            except (BadRequest, TooLarge) as error:
                broken = error
        results = [task.result() for task in self._tasks]
        if broken is None:
            return results
        if not any(isinstance(result, Stored) for result in results):
            raise broken
        rest = Refusal.PROCESSING_FAILURE if isinstance(broken, BadRequest) else Refusal.TOO_LARGE
        return [*results, failed(rest)]

    async def store_single(self, body: AsyncIterator[bytes]) -> list[PartResult]:
        """Store a body that is one instance."""
        with self.spool.part() as part:
            async for chunk in bounded(body, self.limits.body_bytes):
                if part.size + len(chunk) > self.limits.part_bytes:
                    raise TooLarge("the instance is longer than this server takes")
                part.write(chunk)
            return [await self.store_part(part)]

    async def _finish_part(self, part: IncomingPart) -> PartResult:
        try:
            with part.spooled:
                if part.failure is not None:
                    PARTS.labels("failed").inc()
                    return failed(part.failure)
                return await self.store_part(part.spooled)
        finally:
            self._slots.release()

    async def store_part(self, part: SpooledPart) -> PartResult:
        """Admit and store one instance that has arrived whole; its failure is its result."""
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
                return failed(Refusal.STUDY_MISMATCH, admission.sop_class_uid, admission.sop_instance_uid)
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
            return failed(error.reason, *claimed_identity(part.buffer()))
        except GantryError as error:
            log.warning("stow_part_failed", outcome=error.outcome.value)
            if isinstance(error, Undecided):
                self._undecided = error
            if admission is None:
                return failed(Refusal.OUT_OF_RESOURCES)
            return failed(Refusal.OUT_OF_RESOURCES, admission.sop_class_uid, admission.sop_instance_uid)
        except Exception:
            log.exception("stow_part_crashed")
            return failed(Refusal.PROCESSING_FAILURE)
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
    return next((WARNING_REASONS[name] for name in reception.warnings if name in WARNING_REASONS), None)
