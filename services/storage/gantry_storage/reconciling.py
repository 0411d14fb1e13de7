"""One study, side by side: what the manifests name, what the bucket holds, what the index says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gantry.index.v1.index_pb2 import VerdictState
from gantry.reception.v1.reception_pb2 import Manifest, Outcome, Reception
from gantry_dicom.errors import NotFound
from gantry_index.aggregates import difference_of
from gantry_index.findings import Found
from gantry_index.object_rows import ObjectRow, StudyNumbers, numbers_of_study, rows_of_study
from gantry_index.pools import IndexPool
from gantry_index.records import FindingKind
from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import (
    MANIFEST_PREFIX,
    journal_key,
    manifest_day_folder,
    manifest_key,
    parse_manifest_key,
    parse_object_key,
)
from gantry_objectstore.protocol import ObjectInfo, ObjectStore
from gantry_objectstore.records import read_manifest
from gantry_objectstore.sealing import Sealer

from gantry_storage.comparison import Pace, exists
from gantry_storage.scrub import IndexRows, Scrub

# Keys of each kind that a report names; the counts are of all.
NAMED = 200
PARALLEL = 8
# A batch is open for so long at most, its manifest lies in the day of its begin.
SLACK = timedelta(hours=1)


@dataclass(slots=True)
class StudyReport:
    """What was compared, in numbers and keys; ``found`` is what would be a scrub's finding."""

    partition: str
    study_uid: str
    # Lines of manifests that need a verdict, objects that are there, receptions in the index.
    manifest_lines: int = 0
    objects: int = 0
    bytes: int = 0
    receptions: Mapping[str, int] = field(default_factory=dict)
    shown: int = 0
    numbers: StudyNumbers | None = None
    # Numbers of the study that are not those of a recount.
    differing: Sequence[str] = ()
    # Keys named elsewhere and not there.
    not_in_manifests: Sequence[str] = ()
    not_in_bucket: Sequence[str] = ()
    not_in_index: Sequence[str] = ()
    # Manifests that were read, batches that are open and have none yet, manifests not to be believed.
    manifests: int = 0
    open_batches: Sequence[str] = ()
    bad_manifests: Sequence[str] = ()
    found: list[Found] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether all three sides say the same."""
        gaps = (*self.not_in_manifests, *self.not_in_bucket, *self.not_in_index, *self.bad_manifests)
        return not (gaps or self.differing or self.found)


class Reconciler:
    """Compares studies; changes nothing."""

    def __init__(self, store: ObjectStore, sealer: Sealer, pool: IndexPool, rows: IndexRows) -> None:
        self._store = store
        self._sealer = sealer
        self._pool = pool
        self._rows = rows

    async def study(
        self, partition: str, study_uid: str, *, since: datetime | None = None, digests: bool = False
    ) -> StudyReport:
        """Compare a study. Raises ``NotFound`` when nothing knows it, and ``Unavailable``.

        The manifests are those of the batches that the index knows of, and with ``since`` all that were
        received from then on: an instance that the index lost with its whole batch is seen by that only.
        With ``digests`` every object is read, otherwise their sizes are compared.
        """
        report = StudyReport(partition, study_uid)
        rows = await rows_of_study(self._pool, partition, study_uid)
        keys = {manifest_key(partition, parse_object_key(key).batch) for key in rows}
        if since is not None:
            keys |= await self._manifests_since(partition, since)
        manifests = await self._read(sorted(keys), report)
        lines = {
            line.object_key: line
            for manifest in manifests.values()
            for line in manifest.receptions
            if line.outcome != Outcome.OUTCOME_REFUSED
            and (line.study_instance_uid == study_uid or line.object_key in rows)
        }
        # What was moved is shown in another study, whose report it belongs to.
        moved = await self._rows.rows_of([key for key in lines if key not in rows])
        lines = {key: line for key, line in lines.items() if key not in moved}
        if not lines and not rows:
            raise NotFound("neither the index nor a manifest that was read knows the study")
        stored = await self._stored(sorted({*lines, *rows}))
        self._count(report, lines, rows, stored)
        await self._look_closer(report, manifests, lines, digests=digests)
        report.numbers = await numbers_of_study(self._pool, partition, study_uid)
        difference = await difference_of(self._pool, partition, study_uid)
        if difference is not None and difference.fields:
            report.differing = difference.fields
            report.found.append(
                Found(
                    FindingKind.AGGREGATES_DIFFER,
                    partition,
                    study_uid,
                    evidence={"fields": list(difference.fields)},
                )
            )
        return report

    async def _manifests_since(self, partition: str, since: datetime) -> set[str]:
        first = (since - SLACK).date().isoformat()
        days = await self._store.list_folders(f"{MANIFEST_PREFIX}{partition}/")
        return {
            info.key
            for day in days
            if day >= first
            async for info in self._store.list(manifest_day_folder(partition, day))
        }

    async def _read(self, keys: Sequence[str], report: StudyReport) -> dict[str, Manifest]:
        slots = asyncio.Semaphore(PARALLEL)
        bad: list[str] = []
        still_open: list[str] = []

        async def read(key: str) -> Manifest | None:
            async with slots:
                try:
                    return await read_manifest(self._store, key, self._sealer)
                except NotFound:
                    batch = parse_manifest_key(key).batch
                    if await exists(self._store, journal_key(batch)):
                        still_open.append(batch)
                    return None
                except (BadKey, BadSeal):
                    bad.append(key)
                    return None

        found = await asyncio.gather(*(read(key) for key in keys))
        report.bad_manifests, report.open_batches = sorted(bad), sorted(still_open)
        manifests = {key: one for key, one in zip(keys, found, strict=True) if one is not None}
        report.manifests = len(manifests)
        return manifests

    async def _stored(self, keys: Sequence[str]) -> dict[str, ObjectInfo]:
        """Return which of ``keys`` the bucket lists, by key."""
        wanted = set(keys)
        folders = sorted({key.rsplit("/", 1)[0] + "/" for key in keys})
        return {
            info.key: info
            for folder in folders
            async for info in self._store.list(folder)
            if info.key in wanted
        }

    def _count(
        self,
        report: StudyReport,
        lines: Mapping[str, Reception],
        rows: Mapping[str, ObjectRow],
        stored: Mapping[str, ObjectInfo],
    ) -> None:
        report.manifest_lines = len(lines)
        report.objects, report.bytes = len(stored), sum(info.size for info in stored.values())
        states = Counter(state_name(row.state) for row in rows.values())
        report.receptions = dict(sorted(states.items()))
        report.shown = sum(row.is_shown for row in rows.values())
        missing = sorted({*rows, *stored} - set(lines))
        report.not_in_manifests = [
            key for key in missing if parse_object_key(key).batch not in report.open_batches
        ]
        report.not_in_bucket = sorted({*rows, *lines} - set(stored))
        report.not_in_index = sorted({*lines, *stored} - set(rows))

    async def _look_closer(
        self,
        report: StudyReport,
        manifests: Mapping[str, Manifest],
        lines: Mapping[str, Reception],
        *,
        digests: bool,
    ) -> None:
        """Find what a scrub would find in the study."""
        scrub = Scrub(self._store, self._sealer, self._rows, Pace(), reads_bytes=digests)
        for manifest in manifests.values():
            examined = await scrub.compare(manifest, only={*report.not_in_manifests, *lines})
            report.found += examined.found
        report.found += [
            Found(FindingKind.BAD_MANIFEST, report.partition, object_key=key) for key in report.bad_manifests
        ]


def state_name(state: int) -> str:
    """Return what a verdict's state is called, such as ``conflict-loser``."""
    name = VerdictState.Name(VerdictState.ValueType(state))
    return name.removeprefix("VERDICT_STATE_").lower().replace("_", "-")
