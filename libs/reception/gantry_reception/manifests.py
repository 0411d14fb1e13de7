"""Writing manifests in the background: tried for minutes, in bounded memory, then left to the sweeper."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from gantry.reception.v1.reception_pb2 import JournalEntry, Manifest, Outcome, Reception
from gantry_dicom.errors import Conflict, NotFound, Unavailable
from gantry_objectstore.errors import BadSeal
from gantry_objectstore.keys import manifest_key
from gantry_objectstore.records import read_manifest, write_journal, write_manifest
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import ObjectStore
from gantry_telemetry.logs import get_logger

from gantry_reception.instruments import MANIFESTS
from gantry_reception.settings import ReceiverSettings

log = get_logger(__name__)


class ManifestWriting:
    """The manifests of this process that are not written yet."""

    def __init__(
        self, store: ObjectStore, sealer: Sealer, settings: ReceiverSettings, new_batch_id: Callable[[], str]
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._settings = settings
        self._new_batch_id = new_batch_id
        self._waiting: dict[asyncio.Task[bool], Manifest] = {}

    def submit(self, manifest: Manifest) -> None:
        """Write ``manifest`` as soon as the store takes it."""
        if len(self._waiting) >= self._settings.manifests_waiting:
            self._leave_one()
        task = asyncio.create_task(self._write(manifest))
        self._waiting[task] = manifest
        task.add_done_callback(self._forget)

    async def finish(self, seconds: float) -> None:
        """Wait for what is submitted; what takes longer is left to the sweeper."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=seconds)
        for task in list(self._waiting):
            task.cancel()
        if self._waiting:
            await asyncio.wait(self._waiting)

    def _leave_one(self) -> None:
        # What acknowledged nothing is missed least; otherwise the oldest, which the sweeper finds first.
        task = next((each for each, manifest in self._waiting.items() if not _acknowledged(manifest)), None)
        (task or next(iter(self._waiting))).cancel()

    def _forget(self, task: asyncio.Task[bool]) -> None:
        manifest = self._waiting.pop(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("manifest_writing_failed", batch=manifest.batch, exc_info=task.exception())
        elif task.cancelled() or not task.result():
            log.warning("manifest_left_to_sweeper", batch=manifest.batch, partition=manifest.partition)
        else:
            return
        MANIFESTS.labels("left").inc()

    async def _write(self, manifest: Manifest) -> bool:
        """Return whether the manifest is there; False when the time for it is over."""
        deadline = time.monotonic() + self._settings.manifest_seconds
        pause = self._settings.manifest_first_pause
        while True:
            try:
                await self._write_once(manifest)
            except Unavailable:
                if time.monotonic() > deadline:
                    return False
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                pause = min(2 * pause, self._settings.manifest_longest_pause)
            else:
                return True

    async def _write_once(self, manifest: Manifest) -> None:
        try:
            await write_manifest(self._store, manifest, self._sealer)
        except Conflict:
            await self._second_to_sweeper(manifest)
        else:
            MANIFESTS.labels("written").inc()

    async def _second_to_sweeper(self, manifest: Manifest) -> None:
        """Somebody else closed the batch, so the lease was lost; make up for what they could not see."""
        key = manifest_key(manifest.partition, manifest.batch)
        try:
            theirs = await read_manifest(self._store, key, self._sealer)
            seen = {reception.object_key for reception in theirs.receptions}
        except (BadSeal, NotFound):
            seen = set()
        missing = [line for line in _acknowledged(manifest) if line.object_key not in seen]
        MANIFESTS.labels("second").inc()
        log.warning("batch_was_swept", batch=manifest.batch, partition=manifest.partition, count=len(missing))
        if not missing:
            return
        again = Manifest()
        again.CopyFrom(manifest)
        del again.receptions[:]
        again.receptions.extend(missing)
        again.batch = self._new_batch_id()
        entry = JournalEntry(
            batch=again.batch,
            partition=again.partition,
            process=again.process,
            opened_at_us=again.opened_at_us,
            late_object_keys=[line.object_key for line in missing],
        )
        await write_journal(self._store, entry, self._sealer)
        self.submit(again)


def _acknowledged(manifest: Manifest) -> list[Reception]:
    return [line for line in manifest.receptions if line.outcome == Outcome.OUTCOME_ACKNOWLEDGED]
