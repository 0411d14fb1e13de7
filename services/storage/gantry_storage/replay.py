"""Replay of manifests after a failover or restore of the index: what it lost is indexed again.

Resumable by nature: lines with a standing verdict are skipped, so a second run goes on where
the first one ended. Bounded: a chunk goes out only when one of the chunks under way is
decided. Nothing is resurrected: refused lines stay out and a tombstone is a standing verdict.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar

from gantry.reception.v1.reception_pb2 import Manifest, Outcome, Reception
from gantry_dicom.errors import NotFound, Unavailable
from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import MANIFEST_PREFIX, batch_time, manifest_day_folder, parse_manifest_key
from gantry_objectstore.records import read_manifest
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import ObjectStore
from gantry_telemetry.logs import get_logger

from gantry_storage.finishing import expected
from gantry_storage.instruments import BROKEN, REPLAYED

log = get_logger(__name__)

CHUNK = 64
# A batch opened before the moment may hold instances that were indexed after it.
SLACK = timedelta(hours=1)
POLL_SECONDS = 0.5
# A chunk without an end by then was lost on its way (Redis forgot it) and is sent again.
RESEND_SECONDS = 180.0
PAUSE_SECONDS = 2.0

P = ParamSpec("P")
T = TypeVar("T")

Undecided = Callable[[Iterable[str]], Awaitable[set[str]]]
# Sends the task for a manifest's lines: key, first line, number of lines.
SendChunk = Callable[[str, int, int], Awaitable[bool]]
# Brings every amendment of a partition, or of all, made before a moment, into the index first.
ReplayAmendments = Callable[[str | None, datetime | None], Awaitable[int]]


@dataclass(slots=True)
class ReplayReport:
    """What a replay found and did."""

    manifests: int = 0
    lines: int = 0
    replayed: int = 0
    # Studies with amendments.
    amended: int = 0


@dataclass(slots=True)
class _Chunk:
    """A chunk under way."""

    key: str
    first: int
    count: int
    object_keys: list[str]
    sent_at: float = field(default_factory=time.monotonic)


class Replay:
    """Replays manifests through the task ``replay.v1``."""

    def __init__(
        self,
        store: ObjectStore,
        sealer: Sealer,
        undecided: Undecided,
        send: SendChunk,
        replay_amendments: ReplayAmendments,
        *,
        window: int = 16,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._undecided = undecided
        self._send = send
        self._replay_amendments = replay_amendments
        self._window = window
        self._under_way: list[_Chunk] = []

    async def run(
        self, since: datetime, partition: str | None = None, *, until: datetime | None = None
    ) -> ReplayReport:
        """Replay every manifest of batches since ``since`` (with an hour's slack) until all is decided.

        With ``until`` nothing that was received, and nothing that was decided by people, at or
        after that moment: for an index as it was then.

        Waits out an unreachable database, store or Redis. Ends when every expected line has
        a verdict.
        """
        report = ReplayReport()
        # What is hidden must be known before its receptions are.
        begun = time.monotonic()
        report.amended = await self._patiently(self._replay_amendments, partition, until)
        async for key in self._keys(since - SLACK, partition):
            manifest = await self._patiently(self._read, key)
            if manifest is None:
                continue
            report.manifests += 1
            report.lines += len(manifest.receptions)
            for chunk in await self._patiently(self._chunks, key, manifest, until):
                await self._send_when_room(chunk)
                report.replayed += len(chunk.object_keys)
            if report.manifests % 100 == 0:
                log.info(
                    "replay_progress",
                    count=report.manifests,
                    replayed=report.replayed,
                    per_second=_rate(report, begun),
                    object_key=key,
                )
        while self._under_way:
            await self._settle()
        log.info(
            "replay_ended",
            count=report.manifests,
            replayed=report.replayed,
            per_second=_rate(report, begun),
        )
        return report

    async def _keys(self, since: datetime, partition: str | None) -> AsyncIterator[str]:
        """Yield the keys of manifests of batches since ``since``, day after day."""
        partitions = [partition] if partition else sorted(await self._store.list_folders(MANIFEST_PREFIX))
        for name in partitions:
            days = sorted(await self._store.list_folders(f"{MANIFEST_PREFIX}{name}/"))
            for day in days:
                if day < since.date().isoformat():
                    continue
                keys = [info.key async for info in self._store.list(manifest_day_folder(name, day))]
                for key in sorted(keys):
                    if _is_since(key, since):
                        yield key

    async def _read(self, key: str) -> Manifest | None:
        try:
            return await read_manifest(self._store, key, self._sealer)
        except NotFound:
            return None
        except (BadKey, BadSeal):
            BROKEN.labels("manifest").inc()
            log.exception("manifest_refused")
            return None

    async def _chunks(self, key: str, manifest: Manifest, until: datetime | None) -> list[_Chunk]:
        """Return the chunks of a manifest that hold an undecided line."""
        chunks = []
        undecided = await self._undecided([line.object_key for line in expected(manifest)])
        for first, count in _cuts(manifest.receptions, until):
            lines = manifest.receptions[first : first + count]
            keys = [line.object_key for line in lines if line.object_key in undecided]
            keys = [key for key in keys if not await self._is_void(key, lines)]
            if keys:
                chunks.append(_Chunk(key, first, len(lines), keys))
        return chunks

    async def _is_void(self, key: str, lines: Sequence[Reception]) -> bool:
        line = next(line for line in lines if line.object_key == key)
        if line.outcome != Outcome.OUTCOME_UNANSWERED:
            return False
        try:
            await self._store.head(key)
        except NotFound:
            return True
        return False

    async def _send_when_room(self, chunk: _Chunk) -> None:
        while len(self._under_way) >= self._window:
            await self._settle()
        await self._send_patiently(chunk)
        self._under_way.append(chunk)

    async def _settle(self) -> None:
        """Wait a moment, drop the chunks that are decided, send those again that were lost."""
        await asyncio.sleep(POLL_SECONDS)
        keys = [key for chunk in self._under_way for key in chunk.object_keys]
        undecided = await self._patiently(self._undecided, keys)
        still = []
        for chunk in self._under_way:
            if not undecided.intersection(chunk.object_keys):
                REPLAYED.labels("decided").inc()
                continue
            if time.monotonic() - chunk.sent_at > RESEND_SECONDS:
                REPLAYED.labels("resent").inc()
                await self._send_patiently(chunk)
            still.append(chunk)
        self._under_way = still

    async def _send_patiently(self, chunk: _Chunk) -> None:
        while True:
            if await self._send(chunk.key, chunk.first, chunk.count):
                break
            await asyncio.sleep(PAUSE_SECONDS)
        chunk.sent_at = time.monotonic()

    async def _patiently(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        while True:
            try:
                return await call(*args, **kwargs)
            except Unavailable as error:
                log.warning("replay_paused", reason=error.detail)
                await asyncio.sleep(PAUSE_SECONDS)


def _cuts(lines: Sequence[Reception], until: datetime | None) -> Iterator[tuple[int, int]]:
    """Yield first line and number of lines of every chunk, with no line received at ``until`` or later."""
    if until is None:
        yield from ((first, min(CHUNK, len(lines) - first)) for first in range(0, len(lines), CHUNK))
        return
    limit = until.timestamp() * 1_000_000
    first = 0
    while first < len(lines):
        count = 0
        while count < CHUNK and first + count < len(lines) and lines[first + count].received_at_us < limit:
            count += 1
        if count:
            yield first, count
        # Lines stand in the order of their objects, which need not be that of their reception.
        first += count or 1


def _rate(report: ReplayReport, begun: float) -> float:
    return round(report.replayed / max(time.monotonic() - begun, 1e-6), 1)


def _is_since(key: str, since: datetime) -> bool:
    try:
        return batch_time(parse_manifest_key(key).batch) >= since
    except BadKey:
        return False
