"""The manifest of a batch whose receiver is gone: what is in the store, and what the gate says of it.

Whether an instance was acknowledged died with its receiver, so whatever lies there counts as
acknowledged: the receivers use the same gate before they put. What does not pass it now was
damaged since, by a store that lost power, or was let in by an older gate. It is not dropped: the
indexer tries it alone and quarantines it, with the reason, for people to decide.
"""

from __future__ import annotations

import asyncio
import hashlib

from gantry.reception.v1.reception_pb2 import (
    JournalEntry,
    Lane,
    Manifest,
    ManifestWriter,
    Outcome,
    Reception,
)
from gantry_dicom.errors import Conflict, NotFound, Unavailable
from gantry_dicom.gate import Refused, admit
from gantry_objectstore.errors import BadKey
from gantry_objectstore.keys import batch_folder, manifest_key, parse_object_key
from gantry_objectstore.records import read_manifest, write_manifest
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import Buffer, ObjectInfo, ObjectStore
from gantry_objectstore.whole import whole_object
from gantry_telemetry.logs import get_logger

from gantry_storage.instruments import EXAMINED, SWEPT

log = get_logger(__name__)

# Objects of a batch examined at a time; each may be tens of megabytes in memory.
PARALLEL = 4
# Warning of a line whose object did not pass the gate; the indexer will say why.
GATE_FAILED = "gate-failed"


class Recovery:
    """Writes manifests for batches without one."""

    def __init__(self, store: ObjectStore, sealer: Sealer, store_id: str) -> None:
        self._store = store
        self._sealer = sealer
        self._store_id = store_id
        self._slots = asyncio.Semaphore(PARALLEL)

    async def recover(self, entry: JournalEntry) -> Manifest:
        """Write the manifest of the batch of ``entry`` and return the one that stands.

        Call it only when the entry is older than the lease and its margin: then every object
        acknowledged under it was put before the listing. Raises ``Unavailable`` and ``BadSeal``.
        """
        infos = await self._objects(entry)
        lines = await asyncio.gather(*(self._examine(info) for info in infos))
        closed = await self._store.now()
        manifest = Manifest(
            batch=entry.batch,
            partition=entry.partition,
            process=entry.process,
            opened_at_us=entry.opened_at_us,
            closed_at_us=int(closed.timestamp() * 1_000_000),
            writer=ManifestWriter.MANIFEST_WRITER_SWEEPER,
            receptions=[line for line in lines if line is not None],
        )
        try:
            await write_manifest(self._store, manifest, self._sealer)
        except Conflict:
            # The receiver lives after all, or another sweeper was faster: theirs stands.
            return await read_manifest(self._store, manifest_key(entry.partition, entry.batch), self._sealer)
        SWEPT.inc()
        log.warning(
            "batch_swept", batch=entry.batch, partition=entry.partition, count=len(manifest.receptions)
        )
        return manifest

    async def _objects(self, entry: JournalEntry) -> list[ObjectInfo]:
        folder = batch_folder(entry.partition, entry.batch)
        found = {info.key: info async for info in self._store.list(folder)}
        for key in entry.late_object_keys:
            try:
                found[key] = await self._store.head(key)
            except NotFound:
                log.error("late_object_missing", object_key=key)  # noqa: TRY400 - the place says nothing
        return [found[key] for key in sorted(found)]

    async def _examine(self, info: ObjectInfo) -> Reception | None:
        try:
            place = parse_object_key(info.key)
        except BadKey:
            log.exception("object_key_refused")
            return None
        line = Reception(
            object_key=info.key,
            batch=place.batch,
            ordinal=place.ordinal,
            store_id=self._store_id,
            size=info.size,
            received_at_us=int(info.last_modified.timestamp() * 1_000_000),
            lane=Lane.LANE_LIVE,
            outcome=Outcome.OUTCOME_ACKNOWLEDGED,
        )
        async with self._slots:
            try:
                async with whole_object(self._store, info.key, info.size) as buffer:
                    await asyncio.to_thread(_describe, buffer, line)
            except Unavailable:
                raise
            except Refused as refused:
                log.error("object_refused_after_all", object_key=info.key, reason=refused.reason.reason)  # noqa: TRY400 - the reason says all
                line.warnings.extend((GATE_FAILED, refused.reason.reason))
            except Exception:
                log.exception("object_examination_failed", object_key=info.key)
                line.warnings.append(GATE_FAILED)
        EXAMINED.labels("failed" if GATE_FAILED in line.warnings else "whole").inc()
        return line


def _describe(buffer: Buffer, line: Reception) -> None:
    """Fill in ``line`` from the stored object. Raises ``Refused``."""
    with memoryview(buffer) as view:
        admission = admit(buffer)
        start = admission.data_set_offset
        line.data_set_digest = hashlib.sha256(view[start:]).digest()
        line.meta_digest = hashlib.sha256(view[:start]).digest()
    line.meta_length = start
    line.transfer_syntax_uid = admission.transfer_syntax_uid
    line.sop_class_uid = admission.sop_class_uid
    line.study_instance_uid = admission.study_instance_uid
    line.series_instance_uid = admission.series_instance_uid
    line.sop_instance_uid = admission.sop_instance_uid
    line.warnings.extend(admission.warnings)
