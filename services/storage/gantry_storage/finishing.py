"""Batches with a manifest: feed what has no verdict, let the journal entry go when all have one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from gantry.reception.v1.reception_pb2 import Manifest, Outcome, Reception
from gantry_dicom.errors import NotFound
from gantry_objectstore.errors import BadSeal
from gantry_objectstore.keys import manifest_key
from gantry_objectstore.records import read_manifest
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import ObjectStore
from gantry_telemetry.logs import get_logger

from gantry_storage.feeding import Feeder, Feeding, Work
from gantry_storage.instruments import BROKEN, FINISHED, PASSES
from gantry_storage.journal import Journal, Listed

log = get_logger(__name__)

# Batches looked at together: one query for their verdicts.
GROUP = 16


class Finishing:
    """Takes batches with a manifest to their end; everything it does may be done twice."""

    def __init__(
        self,
        store: ObjectStore,
        sealer: Sealer,
        journal: Journal,
        undecided: Callable[[Iterable[str]], Awaitable[set[str]]],
        feeder: Feeder,
        *,
        feed_after_seconds: float,
        void_after_seconds: float = 0.0,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._journal = journal
        self._undecided = undecided
        self._feeder = feeder
        self._feed_after_seconds = feed_after_seconds
        # An unanswered line without an object comes to nothing after this: a put that its sender did
        # not wait for may still be under way.
        self._void_after_seconds = void_after_seconds

    async def run_once(self) -> int:
        """Look at every journal entry; returns how many were finished. Raises ``Unavailable``."""
        with PASSES.labels("finish").time():
            entries = await self._journal.entries()
            feeding = Feeding(self._feeder)
            finished = 0
            for start in range(0, len(entries), GROUP):
                done, found = await self._look_at(entries[start : start + GROUP])
                finished += done
                feeding.add(found)
                # What is live goes at once; the rest has to wait for the whole picture.
                await feeding.feed(0)
            for rank in (1, 2):
                await feeding.feed(rank)
            return finished

    async def _look_at(self, entries: Sequence[Listed]) -> tuple[int, list[Work]]:
        manifests = await asyncio.gather(*(self._manifest(entry) for entry in entries))
        closed = [
            (entry, manifest)
            for entry, manifest in zip(entries, manifests, strict=True)
            if manifest is not None
        ]
        keys = [line.object_key for _, manifest in closed for line in expected(manifest)]
        undecided = set(await self._undecided(keys)) if keys else set()
        finished = 0
        waiting: list[Work] = []
        for entry, manifest in closed:
            open_lines = [line for line in expected(manifest) if line.object_key in undecided]
            present = [line for line in open_lines if not await self._is_void(line)]
            absent_may_come = entry.age_seconds < self._void_after_seconds
            if not present and not (open_lines and absent_may_come):
                await self._journal.delete(entry)
                FINISHED.inc()
                finished += 1
            elif present and entry.age_seconds >= self._feed_after_seconds:
                waiting.append(Work(manifest.partition, present))
        return finished, waiting

    async def _manifest(self, entry: Listed) -> Manifest | None:
        read = await self._journal.read(entry)
        if read is None:
            return None
        try:
            return await read_manifest(self._store, manifest_key(read.partition, read.batch), self._sealer)
        except NotFound:
            return None
        except BadSeal:
            BROKEN.labels("manifest").inc()
            log.exception("manifest_refused", batch=entry.batch, partition=read.partition)
            return None

    async def _is_void(self, line: Reception) -> bool:
        """Whether the sender went away before anything was stored: there is nothing to index."""
        if line.outcome != Outcome.OUTCOME_UNANSWERED:
            return False
        try:
            await self._store.head(line.object_key)
        except NotFound:
            return True
        return False


def expected(manifest: Manifest) -> list[Reception]:
    """Return the lines that need a verdict: all but the refused ones."""
    return [line for line in manifest.receptions if line.outcome != Outcome.OUTCOME_REFUSED]
