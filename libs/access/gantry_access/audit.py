"""Access records of one process: durable before the first byte of an answer leaves.

``record`` gives what to wait for: the event is then on this machine's disk, in a group commit
with others. What the window has already (another frame of an instance) costs a look-up. At the
end of a window its events become chained records in one sealed batch, which goes to the bucket;
while the bucket is away batches wait, up to a bound, and beyond it nothing more is allowed.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from gantry.access.v1.access_pb2 import ACCESS_KIND_REFUSAL, AccessKind, AccessRecord
from gantry_dicom.errors import Conflict, GantryError
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

from gantry_access.audit_chain import CLOSED, OPENED, batch_key, marker
from gantry_access.audit_spool import SpoolFolder, frame, orphans
from gantry_access.errors import AccessLogBroken, AccessLogFull
from gantry_access.storage import Seals, Store

log = get_logger(__name__)

EVENTS = metrics.counter("gantry_access_events", "Accesses by how they were kept", ("how",))
_KNOWN, _WRITTEN = EVENTS.labels("known"), EVENTS.labels("written")
_BEYOND_BOUND, _FULL = EVENTS.labels("beyond-bound"), EVENTS.labels("refused")
SPOOLED = metrics.gauge("gantry_access_spool_bytes", "Access events and batches waiting on this machine")

# Distinct refusals kept of one window; a scan must not fill the spool.
_REFUSALS_PER_WINDOW = 1000
# How long an event that nobody waits for may be in memory alone.
_LAZY_SECONDS = 1.0
# How long an end waits for the bucket.
_CLOSING_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Where events are spooled, for how long they are gathered, and how many may wait."""

    folder: Path
    window: float = 30.0
    spool_bytes: int = 256 << 20
    # A segment that is longer becomes a batch before its window ends.
    segment_bytes: int = 4 << 20


class AccessLog:
    """One writer; ``record`` may be called from any thread, the rest on the loop of ``store``."""

    def __init__(
        self,
        service: str,
        store: Store,
        sealer: Seals,
        settings: AuditSettings,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.writer = f"{service}-{time.time_ns() // 1_000_000:012x}-{os.urandom(6).hex()}"
        self._store = store
        self._sealer = sealer
        self._settings = settings
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._queue: list[tuple[bytes, Future[None] | None]] = []
        # What the window has: per record-to-be its instances, each with its write.
        self._window: dict[tuple[object, ...], dict[str, Future[None] | None]] = {}
        self._refusals = 0
        self._rotate: Future[list[Path]] | None = None
        self._stopping = False
        self._waiting_bytes = 0
        self._segment_length = 0
        self._spool: SpoolFolder | None = None
        self._segment: int | None = None
        self._thread = threading.Thread(target=self._write_for_ever, name="access-log", daemon=True)
        self._delivering: asyncio.Task[None] | None = None
        self._ending = False
        self._full = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- for callers

    def record(
        self,
        kind: AccessKind,
        *,
        principal: str,
        operation: str,
        outcome: str,
        peer_address: str = "",
        partition: str = "",
        study_uid: str = "",
        sop_uids: Iterable[str] = (),
        traceparent: str = "",
        durable: bool = True,
    ) -> Future[None] | None:
        """Note an access; wait for the future, where there is one, before answering.

        ``None`` means that it is durable already, or need not be (``durable=False``: reception
        has its own record in the journal, a refusal gives nothing away). The future raises
        ``AccessLogBroken``. Raises ``AccessLogFull``.
        """
        key = (kind, principal, peer_address, partition, study_uid, operation, outcome)
        with self._lock:
            if self._spool is None or self._stopping:
                raise AccessLogBroken("the access log is not open")
            if kind == ACCESS_KIND_REFUSAL and key not in self._window:
                self._refusals += 1
                if self._refusals > _REFUSALS_PER_WINDOW:
                    _BEYOND_BOUND.inc()
                    return None
            known = self._window.setdefault(key, {})
            fresh, pending = _sort(known, sop_uids or ("",))
            if not fresh:
                _KNOWN.inc()
                return pending if durable else None
            data = frame(
                AccessRecord(
                    occurred_at_us=int(self._wall_clock() * 1e6),
                    kind=kind,
                    principal=principal,
                    peer_address=peer_address,
                    partition=partition,
                    study_instance_uid=study_uid,
                    sop_instance_uids=[uid for uid in fresh if uid],
                    operation=operation,
                    outcome=outcome,
                    traceparent=traceparent,
                )
            )
            if self._waiting_bytes + len(data) > self._settings.spool_bytes:
                _FULL.inc()
                raise AccessLogFull("accesses cannot be recorded at present")
            written: Future[None] | None = Future() if durable else None
            known.update(dict.fromkeys(fresh, written))
            self._waiting_bytes += len(data)
            self._segment_length += len(data)
            is_first = not self._queue
            self._queue.append((data, written))
            _WRITTEN.inc()
            if durable or is_first:
                self._wake.notify()
            if self._segment_length > self._settings.segment_bytes and self._loop is not None:
                self._segment_length = 0
                self._loop.call_soon_threadsafe(self._full.set)
        return written

    async def start(self) -> None:
        """Open the spool and begin to deliver, also what other writers left. Raises ``AccessLogBroken``."""
        self._loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(self._open)
        except OSError:
            log.exception("access_spool_unusable")
            raise AccessLogBroken("the folder of access records cannot be used") from None
        self._thread.start()
        self._delivering = asyncio.create_task(self._deliver_for_ever())

    async def close(self) -> None:
        """Write what is in hand, close the chain and deliver; what cannot be delivered stays."""
        if self._delivering is None or self._spool is None:
            return
        self._ending = True
        self._full.set()
        in_time = await _ends_in_time(self._delivering)
        with self._lock:
            self._stopping = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)
        spool, self._spool = self._spool, None
        if not in_time or not await _ends_in_time(self._deliver_the_rest(spool)):
            # The folder stays, and its lock ends with the process.
            log.warning("access_records_not_delivered", reason="timeout")

    async def _deliver_the_rest(self, spool: SpoolFolder) -> None:
        segments = await asyncio.to_thread(spool.segments)
        if await self._deliver(spool, segments, self._closing("ended")):
            await asyncio.to_thread(spool.remove)
        else:
            spool.let_go()

    async def flush(self) -> bool:
        """End the window now and deliver; returns whether everything is in the bucket."""
        if self._spool is None:
            raise AccessLogBroken("the access log is not open")
        async with self._one_at_a_time:
            rotated: Future[list[Path]] = Future()
            with self._lock:
                if self._stopping:
                    raise AccessLogBroken("the access log is not open")
                self._rotate = rotated
                self._wake.notify()
            return await self._deliver(self._spool, await asyncio.wrap_future(rotated))

    # -- the thread that writes

    def _open(self) -> None:
        spool = SpoolFolder.make(self._settings.folder / self.writer)
        self._segment = spool.open_segment()
        opened = frame(marker(OPENED, int(self._wall_clock() * 1e6)))
        with self._lock:
            self._spool = spool
            self._queue.append((opened, None))

    def _write_for_ever(self) -> None:
        while True:
            with self._lock:
                while not (self._rotate or self._stopping or any(future for _, future in self._queue)):
                    # What nobody waits for may gather others, but not for long.
                    is_woken = self._wake.wait(_LAZY_SECONDS if self._queue else None)
                    if self._queue and not is_woken:
                        break
                taken, self._queue = self._queue, []
                rotate, self._rotate = self._rotate, None
                stopping = self._stopping
                if rotate is not None:
                    self._window = {}
                    self._refusals = 0
                    self._segment_length = 0
            self._write(taken)
            if rotate is not None:
                self._next_segment(rotate)
            if stopping:
                if self._segment is not None:
                    os.close(self._segment)
                return

    def _write(self, taken: list[tuple[bytes, Future[None] | None]]) -> None:
        if not taken:
            return
        failed = False
        try:
            if self._segment is None:
                self._segment = self._held().open_segment()
            _write_all(self._segment, b"".join(data for data, _ in taken))
            os.fdatasync(self._segment)
        except OSError:
            log.exception("access_spool_write_failed")
            failed = True
            # What is behind a torn frame would not be read: go on in another segment.
            self._drop_segment()
        for _, future in taken:
            if future is not None:
                if failed:
                    future.set_exception(AccessLogBroken("accesses cannot be recorded at present"))
                else:
                    future.set_result(None)

    def _next_segment(self, rotated: Future[list[Path]]) -> None:
        """Say which segments are finished; the next is opened when there is something to write."""
        self._drop_segment()
        rotated.set_result(self._held().segments())

    def _drop_segment(self) -> None:
        if self._segment is not None:
            os.close(self._segment)
        self._segment = None

    def _held(self) -> SpoolFolder:
        if self._spool is None:
            raise AccessLogBroken("the access log is not open")
        return self._spool

    # -- the task that delivers

    async def _deliver_for_ever(self) -> None:
        await self._deliver_left_behind()
        while True:
            try:
                async with asyncio.timeout(self._settings.window):
                    await self._full.wait()
            except TimeoutError:
                pass
            if self._ending:
                return
            self._full.clear()
            try:
                await self.flush()
                await self._deliver_left_behind()
            except Exception:
                # Whatever it was, the events are on the disk and the next round tries again.
                log.exception("access_delivery_failed")

    async def _deliver_left_behind(self) -> None:
        """Deliver for writers that have died without doing so."""
        for folder in await asyncio.to_thread(orphans, self._settings.folder, self.writer):
            try:
                spool = await asyncio.to_thread(SpoolFolder.take, folder)
                if spool is None:
                    continue
                segments = await asyncio.to_thread(spool.segments)
                if await self._deliver(spool, segments, self._closing("died")):
                    await asyncio.to_thread(spool.remove)
                    log.info("access_records_of_a_dead_writer_delivered")
                else:
                    spool.let_go()
            except OSError:
                log.exception("access_spool_left_behind")

    async def _deliver(
        self, spool: SpoolFolder, segments: list[Path], closing: AccessRecord | None = None
    ) -> bool:
        """Make batches of finished segments and put them; returns whether none is left."""
        try:
            await asyncio.to_thread(_make_batches, spool, segments, self._sealer, closing)
            for path in await asyncio.to_thread(spool.batches):
                await self._put(spool, path)
        except GantryError as error:
            log.warning("access_records_not_delivered", reason=error.outcome.value)
            return False
        except OSError:
            log.exception("access_records_not_delivered")
            return False
        finally:
            if spool is self._spool:
                await asyncio.to_thread(self._measure, spool)
        return True

    async def _put(self, spool: SpoolFolder, path: Path) -> None:
        sealed, first = await asyncio.to_thread(spool.read_batch, path, self._sealer)
        key = batch_key(spool.writer, first)
        try:
            await self._store.put(key, sealed, create=True)
        except Conflict:
            # An earlier attempt may have been stored although its answer was lost.
            if await self._store.get(key) != sealed:
                log.exception("access_batch_key_taken", object_key=key)
                raise
        await asyncio.to_thread(spool.delivered, path)

    def _closing(self, how: str) -> AccessRecord:
        return marker(CLOSED, int(self._wall_clock() * 1e6), how)

    def _measure(self, spool: SpoolFolder) -> None:
        size = spool.size()
        with self._lock:
            self._waiting_bytes = size + sum(len(data) for data, _ in self._queue)
        SPOOLED.set(size)


async def _ends_in_time(work: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(_CLOSING_SECONDS):
            await work
    except TimeoutError:
        return False
    return True


def _make_batches(
    spool: SpoolFolder, segments: list[Path], sealer: Seals, closing: AccessRecord | None
) -> None:
    if closing is not None and not segments and not spool.is_closed(sealer):
        os.close(spool.open_segment())
        segments = spool.segments()
    for segment in segments:
        spool.make_batch(segment, sealer, closing if segment == segments[-1] else None)


def _sort(
    known: dict[str, Future[None] | None], uids: Iterable[str]
) -> tuple[list[str], Future[None] | None]:
    """Return which of ``uids`` are to be written, and the write under way that has all the others."""
    fresh: list[str] = []
    under_way: dict[str, Future[None]] = {}
    for uid in dict.fromkeys(uids):
        written = known.get(uid)
        if written is not None and not written.done():
            under_way[uid] = written
        elif uid not in known or (written is not None and written.exception()):
            fresh.append(uid)
    writes = set(under_way.values())
    if not fresh and len(writes) <= 1:
        return fresh, next(iter(writes), None)
    # One future is all that a caller waits for: what hangs on others is written again.
    return [*fresh, *under_way], None


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
