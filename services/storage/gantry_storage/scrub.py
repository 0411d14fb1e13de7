"""A scrub: objects are read again and compared with what manifest and index say of them.

It trusts nobody's word about the bytes: sizes and both digests are taken from what is read now, twice
before it says that something is wrong. Nothing is changed here; what is found is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_INDEXED,
    VERDICT_STATE_PENDING,
    VERDICT_STATE_TOMBSTONED,
)
from gantry.reception.v1.reception_pb2 import Manifest, Outcome, Reception
from gantry_dicom.errors import NotFound
from gantry_index.findings import Found
from gantry_index.object_rows import ObjectRow
from gantry_index.records import FindingKind
from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import (
    batch_folder,
    batch_time,
    journal_key,
    manifest_day_folder,
    parse_manifest_key,
)
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.records import read_manifest
from gantry_objectstore.sealing import Sealer
from gantry_telemetry.logs import get_logger

from gantry_storage.comparison import Pace, Reading, read_again, size_again
from gantry_storage.instruments import SCRUB_FINDINGS, SCRUBBED, SCRUBBED_BYTES

log = get_logger(__name__)

# Objects of a manifest read at a time.
PARALLEL = 4
# Before, an object may be in a folder and in no manifest yet.
UNLISTED_AFTER = timedelta(days=1)


class IndexRows(Protocol):
    """What a scrub asks the index. Every method may raise ``Unavailable``."""

    async def rows_of(self, object_keys: Sequence[str]) -> Mapping[str, ObjectRow]:
        """Return the rows of objects by key."""
        ...

    async def rows_under(self, folder: str) -> Mapping[str, ObjectRow]:
        """Return the rows of every object of a batch by key."""
        ...

    async def destroyed_among(self, object_keys: Sequence[str]) -> frozenset[str]:
        """Return which objects a purge has destroyed; what is only hidden must be there."""
        ...


@dataclass(slots=True)
class Examined:
    """What came of a manifest: what is wrong, and the keys about which nothing is."""

    found: list[Found] = field(default_factory=list)
    sound: list[str] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0

    def add(self, other: Examined) -> None:
        """Count another manifest in."""
        self.found += other.found
        self.objects += other.objects
        self.bytes += other.bytes


class Scrub:
    """Examines manifests with everything that they name."""

    def __init__(
        self,
        store: ObjectStore,
        sealer: Sealer,
        index: IndexRows,
        pace: Pace,
        *,
        reads_bytes: bool = True,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._index = index
        self._pace = pace
        self._reads_bytes = reads_bytes

    async def examine(self, key: str) -> Examined:
        """Compare bucket and index with the manifest at ``key``. Raises ``BadKey``, ``Unavailable``."""
        place = parse_manifest_key(key)
        try:
            manifest = await read_manifest(self._store, key, self._sealer)
        except NotFound:
            return Examined()  # it went between the listing and now: whoever did that says so
        except BadSeal:
            SCRUBBED.labels(FindingKind.BAD_MANIFEST.value).inc()
            return Examined([Found(FindingKind.BAD_MANIFEST, place.partition, object_key=key)])
        examined = await self.compare(manifest)
        examined.sound.append(key)
        return examined

    async def compare(self, manifest: Manifest, only: Collection[str] | None = None) -> Examined:
        """Compare bucket and index with a manifest, or with what it says of the keys in ``only``.

        Raises ``Unavailable``.
        """
        lines = [line for line in manifest.receptions if only is None or line.object_key in only]
        folder = batch_folder(manifest.partition, manifest.batch)
        rows = dict(await self._index.rows_under(folder))
        elsewhere = [line.object_key for line in lines if line.object_key not in rows]
        rows.update(await self._index.rows_of(elsewhere) if elsewhere else {})
        examined = Examined()
        slots = asyncio.Semaphore(PARALLEL)
        is_queued = await self._is_queued(manifest.batch, lines, rows)

        async def examine(line: Reception) -> None:
            async with slots:
                await self._examine_line(manifest.partition, line, rows, is_queued, examined)

        await asyncio.gather(*(examine(line) for line in lines))
        named = {line.object_key for line in manifest.receptions}
        unnamed = {
            key: row for key, row in rows.items() if key not in named and (only is None or key in only)
        }
        await self._examine_others(manifest, named, unnamed, is_whole=only is None, examined=examined)
        for found in examined.found:
            if self._reads_bytes:
                SCRUB_FINDINGS.labels(found.kind.value).inc()
            log.error("scrub_finding", kind=found.kind.value, object_key=found.object_key)
        return examined

    async def _examine_line(
        self,
        partition: str,
        line: Reception,
        rows: Mapping[str, ObjectRow],
        is_queued: bool,
        examined: Examined,
    ) -> None:
        row = rows.get(line.object_key)
        if line.outcome == Outcome.OUTCOME_REFUSED:
            if row is not None and row.is_shown:
                examined.found.append(
                    _found(FindingKind.INDEX_STALE, partition, line, {"refused": line.refusal})
                )
            return
        reading = await self._read(line, examined)
        if reading is None and await self._may_be_absent(line, row):
            self._count("absent")
            examined.sound.append(line.object_key)
            return
        found = _of_bytes(partition, line, reading) or _of_row(partition, line, row, is_queued)
        self._count(found.kind.value if found else "whole")
        if found is None:
            examined.sound.append(line.object_key)
        else:
            examined.found.append(found)

    async def _read(self, line: Reception, examined: Examined) -> Reading | None:
        if not self._reads_bytes:
            return await size_again(self._store, line)
        reading = await read_again(self._store, line, self._pace)
        if reading is None or not reading.is_as(line):
            # A store that errs once is no damage.
            reading = await read_again(self._store, line, self._pace)
        if reading is not None:
            examined.objects += 1
            examined.bytes += reading.size
            SCRUBBED_BYTES.inc(reading.size)
        return reading

    async def _may_be_absent(self, line: Reception, row: ObjectRow | None) -> bool:
        """Whether nobody was told that the object is there, or a purge destroyed it."""
        if row is not None and row.is_shown:
            return False
        if line.outcome == Outcome.OUTCOME_UNANSWERED:
            return True
        return bool(await self._index.destroyed_among([line.object_key]))

    def _count(self, outcome: str) -> None:
        if self._reads_bytes:
            SCRUBBED.labels(outcome).inc()

    async def _is_queued(self, batch: str, lines: Iterable[Reception], rows: Mapping[str, ObjectRow]) -> bool:
        """Whether something is undecided and still has a journal entry that leads to it."""
        if all(_is_decided(rows.get(line.object_key)) for line in lines):
            return False
        try:
            await self._store.head(journal_key(batch))
        except NotFound:
            return False
        return True

    async def _examine_others(
        self,
        manifest: Manifest,
        named: Collection[str],
        unnamed_rows: Mapping[str, ObjectRow],
        *,
        is_whole: bool,
        examined: Examined,
    ) -> None:
        """Look for what the batch's folder and the index have beside what the manifest names."""
        is_old = is_whole and datetime.now(UTC) - batch_time(manifest.batch) > UNLISTED_AFTER
        if not unnamed_rows and not is_old:
            return
        folder = batch_folder(manifest.partition, manifest.batch)
        stored = {info.key: info.size async for info in self._store.list(folder)}
        for key, row in unnamed_rows.items():
            if key not in stored and row.state != VERDICT_STATE_TOMBSTONED:
                examined.found.append(_of_unnamed_row(row))
        unlisted = sorted(set(stored).difference(named)) if is_old else []
        for key in await self._named_nowhere(manifest.partition, manifest.batch, unlisted):
            evidence = {"size": stored[key], "indexed": key in unnamed_rows}
            examined.found.append(
                Found(FindingKind.OBJECT_UNLISTED, manifest.partition, object_key=key, evidence=evidence)
            )

    async def _named_nowhere(self, partition: str, batch: str, keys: Sequence[str]) -> list[str]:
        """Return those of ``keys`` that no manifest of the following hours names either.

        What was put after its own batch had been swept is named by a later one (``late_object_keys``).
        """
        missing = set(keys)
        day = batch_time(batch)
        for folder_day in (day, day + timedelta(days=1)):
            if not missing:
                break
            folder = manifest_day_folder(partition, folder_day.date().isoformat())
            async for info in self._store.list(folder):
                try:
                    later = await read_manifest(self._store, info.key, self._sealer)
                except (NotFound, BadKey, BadSeal):
                    continue  # a finding of its own
                missing -= {line.object_key for line in later.receptions}
        return sorted(missing)


def _is_decided(row: ObjectRow | None) -> bool:
    return row is not None and row.state != VERDICT_STATE_PENDING


def _of_bytes(partition: str, line: Reception, reading: Reading | None) -> Found | None:
    if reading is None:
        return _found(FindingKind.OBJECT_MISSING, partition, line, {"size": line.size})
    if not reading.is_as(line):
        return _found(FindingKind.OBJECT_DAMAGED, partition, line, reading.evidence(line))
    return None


def _of_row(partition: str, line: Reception, row: ObjectRow | None, is_queued: bool) -> Found | None:
    if row is None or row.state == VERDICT_STATE_PENDING:
        return None if is_queued else _found(FindingKind.NOT_INDEXED, partition, line, {})
    said = {
        "size": (line.size, row.size),
        "meta_length": (line.meta_length, row.meta_length),
        "digest": (line.data_set_digest.hex(), row.data_set_digest.hex()),
    }
    differing: dict[str, object] = {
        name: {"manifest": ours, "index": theirs} for name, (ours, theirs) in said.items() if ours != theirs
    }
    # A line of an unanswered instance may not say what its object is.
    if line.data_set_digest and line.size and differing:
        return _found(FindingKind.INDEX_DIFFERS, partition, line, differing)
    if row.is_shown != (row.state == VERDICT_STATE_INDEXED):
        return _found(FindingKind.INDEX_DIFFERS, partition, line, {"shown": row.is_shown, "state": row.state})
    return None


def _of_unnamed_row(row: ObjectRow) -> Found:
    place = (row.partition, row.study_uid, row.series_uid, row.sop_uid, row.object_key)
    return Found(FindingKind.INDEX_STALE, *place, {"state": row.state, "shown": row.is_shown})


def _found(kind: FindingKind, partition: str, line: Reception, evidence: Mapping[str, object]) -> Found:
    uids = (line.study_instance_uid, line.series_instance_uid, line.sop_instance_uid)
    return Found(kind, partition, *uids, line.object_key, evidence)
