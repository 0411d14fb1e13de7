"""A scrub: every object is read again and compared with what its manifest says, and the index asked for it.

It trusts nobody's word about the bytes: sizes and both digests are taken from what is read now.
Nothing is changed; what is found is told.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gantry.reception.v1.reception_pb2 import Outcome, Reception
from gantry_dicom.errors import NotFound
from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import MANIFEST_PREFIX, manifest_day_folder
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.records import read_manifest
from gantry_objectstore.sealing import Sealer
from gantry_telemetry.logs import get_logger

from gantry_storage.finishing import expected
from gantry_storage.instruments import SCRUB_FINDINGS, SCRUBBED, SCRUBBED_BYTES

log = get_logger(__name__)

Undecided = Callable[[Iterable[str]], Awaitable[set[str]]]


class Kind(StrEnum):
    """What can be wrong."""

    MISSING = "missing"
    DAMAGED = "damaged"
    # Whole, and without a verdict in the index: a replay brings it there.
    NOT_INDEXED = "not-indexed"
    # A manifest that cannot be read or is not sealed by us: what it names was not examined.
    BAD_MANIFEST = "bad-manifest"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was written; ``key`` is the object's or the manifest's."""

    kind: Kind
    key: str
    partition: str
    study_instance_uid: str = ""
    sop_instance_uid: str = ""


class Scrub:
    """Reads everything once, no faster than ``bytes_per_second`` (0: as fast as it goes)."""

    def __init__(
        self, store: ObjectStore, sealer: Sealer, undecided: Undecided, *, bytes_per_second: float = 0.0
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._undecided = undecided
        self._bytes_per_second = bytes_per_second
        self._ready_at = time.monotonic()
        # Objects and bytes read so far.
        self.objects = 0
        self.bytes = 0

    async def run(
        self, partition: str | None = None, since: datetime | None = None
    ) -> AsyncIterator[Finding]:
        """Yield what is wrong, manifest after manifest, oldest day first. Raises ``Unavailable``.

        ``since`` leaves out what was received on earlier days: to go on where a run was ended.
        """
        first_day = since.date().isoformat() if since else ""
        names = [partition] if partition else sorted(await self._store.list_folders(MANIFEST_PREFIX))
        for name in names:
            for day in sorted(await self._store.list_folders(f"{MANIFEST_PREFIX}{name}/")):
                if day < first_day:
                    continue
                log.info("scrub_progress", partition=name, day=day, count=self.objects)
                keys = [info.key async for info in self._store.list(manifest_day_folder(name, day))]
                for key in sorted(keys):
                    async for finding in self._examine(name, key):
                        SCRUB_FINDINGS.labels(finding.kind).inc()
                        log.error("scrub_finding", kind=finding.kind, object_key=finding.key)
                        yield finding

    async def _examine(self, partition: str, key: str) -> AsyncIterator[Finding]:
        try:
            manifest = await read_manifest(self._store, key, self._sealer)
        except (NotFound, BadKey, BadSeal):
            yield Finding(Kind.BAD_MANIFEST, key, partition)
            return
        lines = expected(manifest)
        undecided = await self._undecided([line.object_key for line in lines])
        for line in lines:
            kind = await self._compare(line)
            if kind is Kind.MISSING and line.outcome == Outcome.OUTCOME_UNANSWERED:
                continue  # nobody was told that it is there
            if kind is None and line.object_key in undecided:
                kind = Kind.NOT_INDEXED
            if kind is not None:
                yield Finding(
                    kind, line.object_key, partition, line.study_instance_uid, line.sop_instance_uid
                )

    async def _compare(self, line: Reception) -> Kind | None:
        meta, data_set = hashlib.sha256(), hashlib.sha256()
        size = 0
        try:
            async for piece in self._store.stream(line.object_key):
                cut = max(0, line.meta_length - size)
                meta.update(piece[:cut])
                await asyncio.to_thread(data_set.update, piece[cut:])
                size += len(piece)
                await self._pace(len(piece))
        except NotFound:
            return Kind.MISSING
        self.objects += 1
        SCRUBBED.inc()
        is_whole = (
            size == line.size
            and line.data_set_digest in (b"", data_set.digest())
            and line.meta_digest in (b"", meta.digest())
        )
        return None if is_whole else Kind.DAMAGED

    async def _pace(self, size: int) -> None:
        self.bytes += size
        SCRUBBED_BYTES.inc(size)
        if not self._bytes_per_second:
            return
        now = time.monotonic()
        self._ready_at = max(self._ready_at, now) + size / self._bytes_per_second
        await asyncio.sleep(self._ready_at - now)
