"""Looks at the stored objects themselves: an index row is no evidence that bytes are there.

An instance is committed when its object has the size and the data set the digest that were
recorded when it was received, whatever was corrected since. Everything is read and hashed; a
commitment is what lets a modality delete its only other copy.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence

from gantry.commitment.v1.commitment_pb2 import (
    CommitmentFailure,
    CommitmentReport,
    CommitmentRequest,
    InstanceReference,
)
from gantry_dicom.errors import NotFound
from gantry_index.reader import IndexReader
from gantry_index.records import StoredInstance
from gantry_objectstore.protocol import ObjectStore
from gantry_telemetry.logs import get_logger
from gantry_telemetry.metrics import counter, histogram

from gantry_commitment.reasons import FailureReason

log = get_logger(__name__)

VERIFIED = counter("gantry_commitment_instances", "Instances looked at for storage commitment", ["outcome"])
SECONDS = histogram("gantry_commitment_seconds", "Time to verify the instances of a request")

# Objects being read at a time, and bytes hashed at once off the event loop.
PARALLEL = 4
CHUNK_BYTES = 4 << 20
# Looked up in the index at a time.
PAGE = 500
# How long an instance that was acknowledged may be on its way into the index.
INDEX_LAG_SECONDS = 60.0
_POLL_SECONDS = 0.5


class Verifier:
    """Verifies instances; safe to use from many tasks."""

    def __init__(self, store: ObjectStore, index: IndexReader) -> None:
        self._store = store
        self._index = index
        self._slots = asyncio.Semaphore(PARALLEL)

    async def verify(
        self, request: CommitmentRequest, *, patience_seconds: float = INDEX_LAG_SECONDS
    ) -> CommitmentReport:
        """Return which instances of ``request`` are safe, and why others are not.

        One that the index does not have is looked up again for ``patience_seconds``, because a
        modality asks at once for what it has just sent. Raises ``Unavailable`` when the index or
        the store does not answer: then nothing is known, and nothing is refused.
        """
        started = time.perf_counter()
        found = await self._look_up(request, patience_seconds)
        outcomes = await asyncio.gather(
            *(
                self._examine(reference, found.get(reference.sop_instance_uid, ()))
                for reference in request.references
            )
        )
        report = CommitmentReport(
            transaction_uid=request.transaction_uid,
            partition=request.partition,
            verified_at_us=time.time_ns() // 1000,
        )
        for reference, reason in zip(request.references, outcomes, strict=True):
            VERIFIED.labels("committed" if reason is None else reason.name.lower()).inc()
            if reason is None:
                report.committed.append(reference)
            else:
                report.failed.append(CommitmentFailure(reference=reference, failure_reason=reason))
        SECONDS.observe(time.perf_counter() - started)
        return report

    async def _look_up(
        self, request: CommitmentRequest, patience_seconds: float
    ) -> dict[str, list[StoredInstance]]:
        missing = list(dict.fromkeys(reference.sop_instance_uid for reference in request.references))
        found: dict[str, list[StoredInstance]] = {}
        give_up_at = time.monotonic() + patience_seconds
        while True:
            for first in range(0, len(missing), PAGE):
                page = missing[first : first + PAGE]
                for instance in await self._index.instances_by_sop_uid(request.partition, page):
                    found.setdefault(instance.sop_uid, []).append(instance)
            missing = [uid for uid in missing if uid not in found]
            if not missing or time.monotonic() >= give_up_at:
                return found
            await asyncio.sleep(_POLL_SECONDS)

    async def _examine(
        self, reference: InstanceReference, candidates: Sequence[StoredInstance]
    ) -> FailureReason | None:
        named = [instance for instance in candidates if _is_of(instance, reference)]
        if not named:
            return FailureReason.NO_SUCH_OBJECT_INSTANCE
        of_class = [one for one in named if one.sop_class_uid == reference.sop_class_uid]
        if not of_class:
            return FailureReason.CLASS_INSTANCE_CONFLICT
        # The same UID in several studies: all of them must be safe, whichever was meant.
        for instance in of_class:
            if not await self._is_whole(instance):
                return FailureReason.PROCESSING_FAILURE
        return None

    async def _is_whole(self, instance: StoredInstance) -> bool:
        async with self._slots:
            try:
                info = await self._store.head(instance.received_key)
                if info.size != instance.received_size:
                    log.error("committed_object_has_another_size", object_key=instance.received_key)
                    return False
                digest = await self._digest(instance)
            except NotFound:
                log.error("committed_object_missing", object_key=instance.received_key)  # noqa: TRY400 - expected
                return False
        if digest != instance.data_set_digest:
            log.error("committed_object_is_damaged", object_key=instance.received_key)
            return False
        return True

    async def _digest(self, instance: StoredInstance) -> bytes:
        hashing = hashlib.sha256()
        length = instance.received_size - instance.meta_length
        async for chunk in self._store.stream(
            instance.received_key, instance.meta_length, length, chunk=CHUNK_BYTES
        ):
            await asyncio.to_thread(hashing.update, chunk)
        return hashing.digest()


def _is_of(instance: StoredInstance, reference: InstanceReference) -> bool:
    """Whether the instance lies where the request says, as far as it says."""
    return reference.study_instance_uid in ("", instance.study_uid) and (
        reference.series_instance_uid in ("", instance.series_uid)
    )
