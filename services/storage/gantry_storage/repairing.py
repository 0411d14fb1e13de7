"""Mending what a scrub found. Nothing is believed twice: what is wrong is proven again, then mended.

An object is written only when what lies at its key is proven to be something else, from bytes whose
size and digests are those of the manifest, and what lay there is kept aside. The manifest is the
measure; a repair never changes what it says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from gantry.index.v1.index_pb2 import VERDICT_STATE_QUARANTINED
from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.errors import CannotProcess, GantryError, NotFound, Unavailable
from gantry_index.aggregates import difference_of, recount
from gantry_index.findings import Finding, close_finding, close_of_study, note_attempt
from gantry_index.object_rows import forget_object, hidden_among, rows_of
from gantry_index.pools import IndexPool
from gantry_index.quarantine import try_again
from gantry_index.records import FindingKind
from gantry_index.verdicts import undecided
from gantry_objectstore.aside import set_aside
from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import journal_key, manifest_key, parse_object_key
from gantry_objectstore.protocol import Data, ObjectStore
from gantry_objectstore.records import read_manifest
from gantry_objectstore.sealing import Sealer
from gantry_telemetry.logs import get_logger

from gantry_storage.comparison import UNREADABLE, Pace, Reading, exists, read_again
from gantry_storage.instruments import REPAIRS
from gantry_storage.spare_copies import SpareCopies

log = get_logger(__name__)

# Seconds in which the indexer is expected to decide about an object that it was asked for.
DECIDED_WITHIN = 15.0
POLL_SECONDS = 0.1

# Asks the indexer for lines of a manifest: its key, the first line and how many; whether Redis took it.
SendChunk = Callable[[str, int, int], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Repair:
    """How a repair ended; ``evidence`` is added to the finding's."""

    resolution: str
    evidence: Mapping[str, object] = field(default_factory=dict)


class Repairer:
    """Mends what findings are about; one at a time, and doing it twice is harmless."""

    def __init__(
        self, store: ObjectStore, sealer: Sealer, pool: IndexPool, copies: SpareCopies, send: SendChunk
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._pool = pool
        self._copies = copies
        self._send = send
        self._turn = asyncio.Lock()
        self._methods: Mapping[str, Callable[[Finding], Awaitable[Repair]]] = {
            FindingKind.OBJECT_MISSING.value: self._mend_object,
            FindingKind.OBJECT_DAMAGED.value: self._mend_object,
            FindingKind.BAD_MANIFEST.value: self._mend_manifest,
            FindingKind.NOT_INDEXED.value: self._index_again,
            FindingKind.INDEX_DIFFERS.value: self._rewrite_row,
            FindingKind.INDEX_STALE.value: self._take_row_out,
            FindingKind.AGGREGATES_DIFFER.value: self._recount,
        }

    def can_repair(self, finding: Finding) -> bool:
        """Whether there is a way to mend what the finding is about."""
        return finding.kind in self._methods

    async def repair(self, finding: Finding, by: str) -> Repair:
        """Mend it and close the finding. Raises the ``GantryError`` that kept it from that.

        A failure counts as an attempt and is kept with the finding, unless store, database or queue
        were down: then ``Unavailable`` is raised and nothing counted.
        """
        method = self._methods.get(finding.kind)
        if method is None:
            raise CannotProcess("what this finding is about is for people to decide")
        try:
            async with self._turn:
                repair = await method(finding)
        except Unavailable:
            REPAIRS.labels(finding.kind, "unavailable").inc()
            raise
        except GantryError as error:
            REPAIRS.labels(finding.kind, "failed").inc()
            log.warning("repair_failed", kind=finding.kind, object_key=finding.object_key)
            await note_attempt(self._pool, finding.id, error.detail, {})
            raise
        REPAIRS.labels(finding.kind, "repaired").inc()
        log.info("repaired", kind=finding.kind, object_key=finding.object_key, resolution=repair.resolution)
        await note_attempt(self._pool, finding.id, None, repair.evidence)
        await close_finding(self._pool, finding.partition, finding.id, by, repair.resolution)
        return repair

    async def index_object(self, object_key: str) -> None:
        """Have an object without a verdict indexed, and wait for it. Raises ``CannotProcess``.

        Raises ``Unavailable`` when the indexer does not decide in time; it will, later.
        """
        key, position, _ = await self._line(object_key)
        if not await self._send(key, position, 1):
            raise Unavailable("the queue of the indexer does not take the object")
        give_up_at = time.monotonic() + DECIDED_WITHIN
        while await undecided(self._pool, [object_key]):
            if time.monotonic() > give_up_at:
                raise Unavailable("the indexer was asked and has not decided yet")
            await asyncio.sleep(POLL_SECONDS)

    async def _mend_object(self, finding: Finding) -> Repair:
        _, _, line = await self._line(finding.object_key)
        lying = await read_again(self._store, line, Pace())
        if lying is not None and not lying.is_as(line):
            lying = await read_again(self._store, line, Pace())
        if lying is not None and lying.is_as(line):
            return Repair("it was found whole", {})
        if await hidden_among(self._pool, [finding.object_key]):
            # What a purge has destroyed must not come back out of a replica.
            raise CannotProcess("it was deleted, and is mended when it has been restored")
        if not line.data_set_digest:
            raise CannotProcess("the manifest does not say what the object was")
        async with self._copies.of(finding.partition, line, lying) as copy:
            if copy is None:
                raise CannotProcess("no other copy of these bytes was found")
            aside = await self._put(line, lying, copy.data)
        await self._release(finding.object_key)
        return Repair(f"repaired from {copy.origin}", {"aside": aside, "repaired_from": copy.origin})

    async def _put(self, line: Reception, lying: Reading | None, data: Data) -> str:
        """Put ``data`` in the place of what was proven to be wrong; returns where that is kept."""
        aside = ""
        if lying is not None and lying != UNREADABLE:
            aside = await set_aside(self._store, line.object_key)
        await self._store.put(line.object_key, data)
        written = await read_again(self._store, line, Pace())
        if written is None or not written.is_as(line):
            raise Unavailable("the store does not give back what was put")
        return aside

    async def _release(self, object_key: str) -> None:
        """Have it indexed if it was quarantined: it may have been because of the damage."""
        row = (await rows_of(self._pool, [object_key])).get(object_key)
        if row is not None and row.state == VERDICT_STATE_QUARANTINED:
            await try_again(self._pool, object_key)
            await self.index_object(object_key)

    async def _mend_manifest(self, finding: Finding) -> Repair:
        key = finding.object_key
        try:
            await read_manifest(self._store, key, self._sealer)
        except (BadSeal, NotFound):
            sealed = await self._copies.manifest(key, self._sealer)
        else:
            return Repair("it was found whole", {})
        aside = await set_aside(self._store, key)
        await self._store.put(key, sealed)
        return Repair("repaired from the replica", {"aside": aside, "repaired_from": "the replica"})

    async def _index_again(self, finding: Finding) -> Repair:
        await self.index_object(finding.object_key)
        return Repair("it was indexed")

    async def _rewrite_row(self, finding: Finding) -> Repair:
        _, _, line = await self._line(finding.object_key)
        reading = await read_again(self._store, line, Pace())
        if reading is None or not reading.is_as(line):
            raise CannotProcess("the object itself is not whole: it is mended first")
        await self._take_out(finding.object_key)
        await self.index_object(finding.object_key)
        return Repair("its row was made anew")

    async def _take_row_out(self, finding: Finding) -> Repair:
        try:
            _, _, line = await self._line(finding.object_key)
        except (NotFound, BadKey):
            line = None
        if line is not None and not line.refusal:
            raise CannotProcess("its manifest names it by now")
        await self._take_out(finding.object_key)
        return Repair("its row was taken out")

    async def _take_out(self, object_key: str) -> None:
        for reopened in await forget_object(self._pool, object_key):
            await self.index_object(reopened)

    async def _recount(self, finding: Finding) -> Repair:
        if not await recount(self._pool, finding.partition, finding.study_uid):
            return Repair("the study is not there any more")
        left = await difference_of(self._pool, finding.partition, finding.study_uid)
        if left is not None and left.fields:
            raise CannotProcess(f"a recount does not mend {', '.join(left.fields)}")
        kind = FindingKind.AGGREGATES_DIFFER
        await close_of_study(
            self._pool, finding.partition, kind, finding.study_uid, "storage", "it was recounted"
        )
        return Repair("it was recounted")

    async def _line(self, object_key: str) -> tuple[str, int, Reception]:
        """Return the manifest of an object, and its line with its position.

        Raises ``NotFound``, ``BadKey``, and ``CannotProcess`` when the manifest itself is damaged.
        """
        place = parse_object_key(object_key)
        key = manifest_key(place.partition, place.batch)
        try:
            manifest = await read_manifest(self._store, key, self._sealer)
        except BadSeal as error:
            raise CannotProcess("its manifest is damaged, and is mended first") from error
        except NotFound:
            if await exists(self._store, journal_key(place.batch)):
                raise Unavailable("its batch is open, and has its manifest in a moment") from None
            raise NotFound("the manifest of its batch is missing") from None
        for position, line in enumerate(manifest.receptions):
            if line.object_key == object_key:
                return key, position, line
        raise NotFound("its manifest does not name it")
