"""An instance that failed, or that a process died over, tried alone and with a count.

The attempt is committed by object key before the bytes are touched, so that an instance
that kills the process is counted, too. After ``MAXIMUM_ATTEMPTS`` it is quarantined: a
verdict like any other, which lets its batch's journal entry go.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from gantry.index.v1.index_pb2 import IndexRequest, Verdict, VerdictState
from gantry_dicom.errors import GantryError, NotFound, Unavailable
from gantry_dicom.gate import Refused
from gantry_messaging.seals import Seals
from gantry_messaging.verdicts import VerdictPublisher
from gantry_telemetry.logs import get_logger

from gantry_indexer.chunks import ChunkIndexer
from gantry_indexer.consuming import by_channel
from gantry_indexer.instruments import ATTEMPTS, VERDICTS

log = get_logger(__name__)

MAXIMUM_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Attempt:
    """The number of an attempt, from 1, or the verdict that makes it needless."""

    number: int
    verdict: Verdict | None = None


class Standing(Protocol):
    """The verdicts in the index, as isolation needs them. Every method may raise ``Unavailable``."""

    async def begin_attempt(self, request: IndexRequest) -> Attempt:
        """Commit that an attempt begins, unless a verdict stands."""
        ...

    async def forgive_attempt(self, object_key: str) -> None:
        """Take back an attempt that ended because something else was down."""
        ...

    async def quarantine(self, request: IndexRequest, reason: str) -> Verdict:
        """Set the verdict unless another one stands; returns the one that stands."""
        ...


class Next(Enum):
    """What becomes of the task."""

    DONE = "done"
    # To be delivered again at once, or after a while: something else is down.
    AGAIN = "again"
    LATER = "later"


class Isolating:
    """Tries instances alone; the rules of the task ``isolate.v1``."""

    def __init__(
        self, indexer: ChunkIndexer, standing: Standing, verdicts: VerdictPublisher, seals: Seals
    ) -> None:
        self._indexer = indexer
        self._standing = standing
        self._verdicts = verdicts
        self._seals = seals

    async def try_alone(self, body: str) -> Next:
        """Make one attempt at the request in a task's ``body``. Never raises for the instance."""
        try:
            request = self._seals.open(base64.b64decode(body, validate=True), IndexRequest)
        except (binascii.Error, GantryError):
            log.exception("isolated_request_forged")
            ATTEMPTS.labels("forged").inc()
            return Next.DONE
        try:
            outcome = await self._try(request)
        except Unavailable as error:
            log.warning("isolated_attempt_paused", reason=error.detail)
            outcome = Next.LATER
        ATTEMPTS.labels(outcome.value).inc()
        return outcome

    async def _try(self, request: IndexRequest) -> Next:
        key = request.reception.object_key
        if await self._indexer.doubted([request]):
            return Next.DONE
        begun = await self._standing.begin_attempt(request)
        if begun.verdict is not None:
            return await self._tell(request, begun.verdict)
        attempt = begun.number
        log.info("isolated_attempt", object_key=key, attempt=attempt)
        if attempt > MAXIMUM_ATTEMPTS:
            # No earlier attempt lived to say what was wrong.
            return await self._quarantine(request, f"ended the process {MAXIMUM_ATTEMPTS} times")
        try:
            result = await self._indexer.index([request])
        except Unavailable:
            await self._standing.forgive_attempt(key)
            raise
        if 0 in result.verdicts:
            return await self._tell(request, result.verdicts[0])
        if 0 in result.doubted:
            return Next.DONE
        error = result.poison[0]
        log.error("isolated_attempt_failed", object_key=key, attempt=attempt, exc_info=error)
        if attempt < MAXIMUM_ATTEMPTS and not isinstance(error, Refused | NotFound):
            return Next.AGAIN
        return await self._quarantine(request, reason_of(error))

    async def _quarantine(self, request: IndexRequest, reason: str) -> Next:
        verdict = await self._standing.quarantine(request, reason)
        VERDICTS.labels(VerdictState.Name(verdict.state)).inc()
        log.error("instance_quarantined", object_key=request.reception.object_key, reason=reason)
        return await self._tell(request, verdict)

    async def _tell(self, request: IndexRequest, verdict: Verdict) -> Next:
        await self._verdicts.publish(by_channel([request], {0: verdict}))
        return Next.DONE


def reason_of(error: Exception) -> str:
    """Return why an instance is quarantined, without a word of what is in it."""
    if isinstance(error, Refused):
        return f"refused by the gate: {error.reason.reason}"
    if isinstance(error, NotFound):
        return "the object is not in the store"
    if isinstance(error, GantryError):
        return f"{type(error).__name__}: {error.detail}"
    # The text of any other exception may quote the data.
    return f"cannot be indexed ({type(error).__name__})"
