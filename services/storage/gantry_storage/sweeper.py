"""Batches without a manifest: wait out the lease, then write it (the ack contract's last resort).

Needs the object store only. PostgreSQL gives a lock that saves double work when it is up;
Redis is not asked at all.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gantry_dicom.errors import GantryError, NotFound, Unavailable
from gantry_objectstore.keys import manifest_key
from gantry_objectstore.store import ObjectStore
from gantry_telemetry.logs import get_logger

from gantry_storage.instruments import PASSES
from gantry_storage.journal import Journal, Listed
from gantry_storage.recovery import Recovery

log = get_logger(__name__)

# Batches recovered at a time.
PARALLEL = 4


@dataclass(frozen=True, slots=True)
class SweepLimits:
    """How old an entry without a manifest must be, in seconds by the store's own clock."""

    lease: float
    margin: float

    @property
    def leave_alone(self) -> float:
        """Age up to which a receiver may still acknowledge under the entry."""
        return self.lease + self.margin


class Sweeper:
    """Finds batches whose receiver is gone and writes their manifests; doing it twice is harmless."""

    def __init__(self, store: ObjectStore, journal: Journal, recovery: Recovery, limits: SweepLimits) -> None:
        self._store = store
        self._journal = journal
        self._recovery = recovery
        self._limits = limits
        # Batches known to have a manifest; it is permanent, so this never becomes wrong.
        self._closed: set[str] = set()

    async def sweep(self) -> int:
        """Write the manifests that are due; returns how many batches were recovered.

        One batch that cannot be recovered does not keep the others from it. Raises
        ``Unavailable`` when the store does not even list.
        """
        with PASSES.labels("sweep").time():
            entries = await self._journal.entries()
            self._closed &= {entry.batch for entry in entries}
            due = [
                entry
                for entry in entries
                if entry.age_seconds > self._limits.leave_alone and entry.batch not in self._closed
            ]
            slots = asyncio.Semaphore(PARALLEL)

            async def recover(entry: Listed) -> bool:
                async with slots:
                    return await self._recover(entry)

            return sum(await asyncio.gather(*(recover(entry) for entry in due)))

    async def _recover(self, entry: Listed) -> bool:
        try:
            read = await self._journal.read(entry)
            if read is None:
                return False
            recovered = not await self._has_manifest(read.partition, read.batch)
            if recovered:
                await self._recovery.recover(read)
        except Unavailable as error:
            log.warning("batch_not_swept", batch=entry.batch, reason=error.detail)
            return False
        except GantryError:
            log.exception("batch_not_swept", batch=entry.batch)
            return False
        self._closed.add(entry.batch)
        return recovered

    async def _has_manifest(self, partition: str, batch: str) -> bool:
        try:
            await self._store.head(manifest_key(partition, batch))
        except NotFound:
            return False
        return True
