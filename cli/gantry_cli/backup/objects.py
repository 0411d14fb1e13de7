"""A copy of the bucket: key by key, only what is new, and every byte compared.

What a manifest names is there before the manifest is, and a journal entry is taken before the manifests are
looked for: so whatever the archive does meanwhile, an archive that begins from the copy finds everything
that its records speak of. A bucket of a storage service is better kept by its own versioning and
replication (``python -m gantry_storage bucket``); this is for folders, and for a copy elsewhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from gantry.reception.v1.reception_pb2 import Outcome, Reception
from gantry_dicom.errors import BadRequest, CannotProcess, NotFound
from gantry_objectstore.files import FileStore
from gantry_objectstore.keys import (
    FAILURE_PREFIX,
    JOB_PREFIX,
    JOURNAL_PREFIX,
    MANIFEST_PREFIX,
    OBJECT_PREFIX,
    OPEN_COMMITMENT_PREFIX,
    OPEN_JOB_PREFIX,
    WAITING_PREFIX,
    batch_folder,
    check_key,
    manifest_day_folder,
)
from gantry_objectstore.protocol import Buffer, ObjectStore
from gantry_objectstore.records import read_journal, read_manifest
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.whole import whole_object

T = TypeVar("T")

# When the copy was last whole, in the copy itself.
LAST_KEY = "copied.json"
PARALLEL = 8
# Notes and records that the archive itself deletes again: they go from the copy too.
PASSING = (
    JOURNAL_PREFIX,
    WAITING_PREFIX,
    OPEN_COMMITMENT_PREFIX,
    OPEN_JOB_PREFIX,
    FAILURE_PREFIX,
    JOB_PREFIX,
)
# What an archive that begins from the copy would carry on with, towards the outside.
ERRANDS = (OPEN_COMMITMENT_PREFIX, OPEN_JOB_PREFIX)
# In order: see above. Everything else comes before them.
_ORDERED = (OBJECT_PREFIX, JOURNAL_PREFIX, MANIFEST_PREFIX)


@dataclass(slots=True)
class CopyReport:
    """What a run has done; ``damaged`` and ``missing`` are keys that the source does not have as written."""

    began: datetime
    manifests: int = 0
    objects: int = 0
    records: int = 0
    bytes: int = 0
    deleted: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    # Manifests whose objects are not all in the copy: they are looked at again by the next run.
    again: list[str] = field(default_factory=list)


class BucketCopy:
    """Copies from one store to another.

    ``links`` makes hard links between two folders instead of copies: for a drill, which must not take the
    space once more, and never for a copy that has to outlive the original. ``check`` reads again what was
    copied earlier, and copies anew what is not as its manifest says.
    """

    def __init__(
        self,
        source: ObjectStore,
        target: ObjectStore,
        sealer: Sealer,
        *,
        links: bool = False,
        check: bool = False,
        leave_out: Iterable[str] = (),
        into_use: bool = False,
    ) -> None:
        """``into_use``: the target is a bucket that serves, and may hold what the copy never had.

        Then nothing of it is deleted or overwritten: its journal leads to objects that were acknowledged.
        """
        self._source = source
        self._target = target
        self._sealer = sealer
        self._links = links
        self._check = check
        self._leave_out = tuple(leave_out)
        self._into_use = into_use
        self._slots = asyncio.Semaphore(PARALLEL)
        self._report = CopyReport(datetime.now(UTC))

    async def run(self) -> CopyReport:
        """Bring the copy up to date. Raises ``Unavailable`` when either store goes away."""
        report = self._report = CopyReport(await self._source.now())
        again = await _to_look_at_again(self._target)
        names = [f"{name}/" for name in sorted(await self._source.list_folders(""))]
        for prefix in names:
            if prefix not in _ORDERED and prefix not in self._leave_out:
                await self._copy_records(prefix)
        await self._copy_journal()
        await self._copy_manifests(again)
        if self._into_use:
            return report
        await self._forget_passing()
        last = {
            "began": report.began.isoformat(),
            "ended": (await self._source.now()).isoformat(),
            "again": report.again,
        }
        await self._target.put(LAST_KEY, json.dumps(last).encode())
        return report

    async def _copy_records(self, prefix: str) -> None:
        there = {info.key: info async for info in self._target.list(prefix)}
        stale = []
        async for info in self._source.list(prefix):
            copied = there.get(info.key)
            is_other = copied is not None and (
                copied.size != info.size or copied.last_modified < info.last_modified
            )
            if copied is None or (is_other and not self._into_use):
                stale.append(info.key)
        await _each(stale, self._copy_record)

    async def _copy_record(self, key: str) -> None:
        async with self._slots:
            try:
                data = await self._source.get(key)
            except NotFound:
                return  # deleted meanwhile
            await self._target.put(key, data)
        self._report.records += 1
        self._report.bytes += len(data)

    async def _copy_journal(self) -> None:
        keys = [info.key async for info in self._source.list(JOURNAL_PREFIX)]
        for key in keys:
            try:
                entry = await read_journal(self._source, key, self._sealer)
            except NotFound:
                continue  # its batch has a manifest by now
            folder = batch_folder(entry.partition, entry.batch)
            there = {info.key async for info in self._target.list(folder)}
            wanted = [info.key async for info in self._source.list(folder)]
            wanted += entry.late_object_keys
            await _each([each for each in wanted if each not in there], self._copy_unlisted)
            await self._copy_record(key)

    async def _copy_manifests(self, again: Set[str]) -> None:
        async for day in self._days():
            there = {info.key async for info in self._target.list(day)}
            keys = [info.key async for info in self._source.list(day)]
            for key in sorted(key for key in keys if self._check or key not in there or key in again):
                failed = len(self._report.damaged) + len(self._report.missing)
                manifest = await read_manifest(self._source, key, self._sealer)
                lines = [line for line in manifest.receptions if line.outcome != Outcome.OUTCOME_REFUSED]
                await _each(lines, self._recopy_line if key in there else self._copy_line)
                if len(self._report.damaged) + len(self._report.missing) > failed:
                    self._report.again.append(key)
                if key not in there:
                    await self._copy_record(key)
                    self._report.manifests += 1

    async def _days(self) -> AsyncIterator[str]:
        for partition in sorted(await self._source.list_folders(MANIFEST_PREFIX)):
            for day in sorted(await self._source.list_folders(f"{MANIFEST_PREFIX}{partition}/")):
                yield manifest_day_folder(partition, day)

    async def _copy_unlisted(self, key: str) -> None:
        """Copy an object that no manifest describes yet."""
        await self._copy_line(Reception(object_key=key, outcome=Outcome.OUTCOME_ACKNOWLEDGED))

    async def _recopy_line(self, line: Reception) -> None:
        """Copy an object again unless its copy is as its manifest says."""
        try:
            async with (
                self._slots,
                whole_object(self._target, line.object_key, line.size) as data,
            ):
                if await asyncio.to_thread(_digest_of, data, line) is not None:
                    return
        except (NotFound, CannotProcess):
            pass
        await self._copy_line(line)

    async def _copy_line(self, line: Reception) -> None:
        key = line.object_key
        async with self._slots:
            try:
                info = await self._source.head(key)
                if self._link(key):
                    self._report.objects += 1
                    return
                async with whole_object(self._source, key, info.size) as data:
                    digest = await asyncio.to_thread(_digest_of, data, line)
                    if digest is None:
                        self._report.damaged.append(key)
                        return
                    await self._target.put(key, data)
            except NotFound:
                # An unanswered one may never have been stored.
                if line.outcome == Outcome.OUTCOME_ACKNOWLEDGED:
                    self._report.missing.append(key)
                return
            if await self._written(key) != digest:
                await self._target.delete(key)
                self._report.damaged.append(key)
                return
        self._report.objects += 1
        self._report.bytes += info.size

    async def _written(self, key: str) -> str:
        digest = hashlib.sha256()
        async for piece in self._target.stream(key):
            digest.update(piece)
        return digest.hexdigest()

    def _link(self, key: str) -> bool:
        if not self._links:
            return False
        source, target = self._source, self._target
        if not isinstance(source, FileStore) or not isinstance(target, FileStore):
            return False
        place = target.root / check_key(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source.root / key, place)
        except FileExistsError:
            return True
        except OSError:
            return False  # another file system
        return True

    async def _forget_passing(self) -> None:
        for prefix in PASSING:
            kept = {info.key async for info in self._source.list(prefix)}
            for key in [info.key async for info in self._target.list(prefix)]:
                if key not in kept:
                    await self._target.delete(key)
                    self._report.deleted += 1


async def last_copied(store: ObjectStore) -> datetime | None:
    """Return the moment up to which a copy holds everything, ``None`` for what is no finished copy."""
    try:
        return datetime.fromisoformat(json.loads(await store.get(LAST_KEY))["began"])
    except NotFound:
        return None
    except (ValueError, KeyError) as error:
        raise BadRequest("the copy does not say when it was made") from error


async def _to_look_at_again(store: ObjectStore) -> Set[str]:
    """Return the manifests of which the last run could not copy everything."""
    try:
        return set(json.loads(await store.get(LAST_KEY)).get("again", ()))
    except (NotFound, ValueError):
        return set()


def _digest_of(data: Buffer, line: Reception) -> str | None:
    """Return the digest of an object, ``None`` when it is not what its manifest says."""
    with memoryview(data) as view:
        digest = hashlib.sha256(view).hexdigest()
        if not line.data_set_digest:
            return digest
        start = line.meta_length
        is_whole = (
            len(view) == line.size
            and hashlib.sha256(view[start:]).digest() == line.data_set_digest
            and line.meta_digest in (b"", hashlib.sha256(view[:start]).digest())
        )
    return digest if is_whole else None


async def _each(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do all of it at once, as far as there are slots; the first failure ends the rest."""
    tasks = [asyncio.ensure_future(work(item)) for item in items]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
