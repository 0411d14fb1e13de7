"""The ack contract: what must hold before a sender is told that its instance is safe.

1. A batch belongs to this process and one partition. Its journal entry is put when it opens;
   ``t0`` is read from the lease's clock before that. It takes 256 instances or 10 seconds.
2. The admission gate has passed before anything is put. The object goes under a key that
   nobody else writes.
3. Acknowledged is what is put, under a journal entry that is put, while less than half the
   lease has passed since ``t0``; the sweeper leaves an entry alone for the whole lease and a
   margin. Later (a huge object, a paused machine), or when the manifest has been drawn up
   without it, the object gets a journal entry of its own that names it.
4. Then the indexer is told, which may fail.
5. A closed batch gets a manifest with every line's outcome. Nothing is ever deleted here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gantry.index.v1.index_pb2 import IndexRequest
from gantry.reception.v1.reception_pb2 import (
    JournalEntry,
    Lane,
    Manifest,
    ManifestWriter,
    Outcome,
    Reception,
    Source,
)
from gantry_dicom.errors import Conflict, GantryError, Unavailable
from gantry_dicom.gate import Admission
from gantry_dicom.refusals import Refusal
from gantry_objectstore.keys import BatchIds, check_partition, object_key
from gantry_objectstore.records import write_journal
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import Buffer, ObjectStore
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import continue_trace, current_traceparent, span

from gantry_reception.batches import Batch, Line, lease_clock
from gantry_reception.digests import digests_of
from gantry_reception.errors import Undecided
from gantry_reception.instruments import ACK_SECONDS, LATE, OPEN_BATCHES, RECEIVED_BYTES, RECEPTIONS
from gantry_reception.lanes import Lanes
from gantry_reception.manifests import ManifestWriting
from gantry_reception.publishing import IndexFeed, Publisher, header_within
from gantry_reception.settings import ReceiverSettings

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Placement:
    """An instance that is durable and led to, and whose sender has not been answered."""

    admission: Admission
    batch: Batch
    line: Line


class Receiver:
    """Takes instances that passed the gate; one per process, on one event loop."""

    def __init__(
        self,
        store: ObjectStore,
        sealer: Sealer,
        publisher: Publisher,
        settings: ReceiverSettings | None = None,
        *,
        clock: Callable[[], float] = lease_clock,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings or ReceiverSettings()
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._wall_clock = wall_clock
        self._ids = BatchIds(wall_clock)
        self._lanes = Lanes(self._settings)
        self._feed = IndexFeed(publisher, self._settings)
        self._manifests = ManifestWriting(store, sealer, self._settings, self._ids.new)
        self._current: dict[str, tuple[Batch, asyncio.TimerHandle]] = {}
        self._closing: dict[asyncio.Task[None], Batch] = {}
        self._closed = False

    async def receive(
        self,
        admission: Admission,
        buffer: Buffer,
        source: Source,
        *,
        partition: str,
        lane: Lane | None = None,
        traceparent: str = "",
        reply_to: str = "",
    ) -> Reception:
        """Store an instance; when this returns, its sender may be told success.

        ``buffer`` is what was received, whole; ``admission`` is the gate's. Without a ``lane`` the
        sender's traffic decides. ``reply_to`` names the channel on which its verdict is awaited.
        Raises ``Unavailable`` (tell the sender a failure) and ``BadKey`` for a partition name that
        is none. Cancelled, the instance is unanswered.
        """
        begun = time.perf_counter()
        outcome = "failed"
        try:
            with continue_trace(traceparent), span("reception.receive", partition=partition):
                placement = await self.place(admission, buffer, source, partition=partition, lane=lane)
                reception = await self.acknowledge(placement, reply_to=reply_to)
            outcome = "acknowledged"
        except asyncio.CancelledError:
            outcome = "unanswered"
            raise
        finally:
            ACK_SECONDS.labels(outcome).observe(time.perf_counter() - begun)
        return reception

    async def place(
        self,
        admission: Admission,
        buffer: Buffer,
        source: Source,
        *,
        partition: str,
        lane: Lane | None = None,
    ) -> Placement:
        """Make an instance durable without deciding its answer.

        For callers that may still have to refuse; each placement needs one of ``acknowledge``,
        ``refuse`` and ``abandon``. Raises as ``receive`` does.
        """
        check_partition(partition)
        if self._closed:
            raise Unavailable("the process is shutting down")
        meta, data_set = _stored_parts(admission, buffer)
        batch = self._batch_of(partition)
        line = batch.add(
            self._reception(admission, meta, data_set, source, lane or self._lanes.lane_of(partition, source))
        )
        line.reception.object_key = object_key(partition, batch.batch, line.reception.ordinal)
        if len(batch.lines) >= self._settings.batch_instances:
            self._retire(batch)
        try:
            with span("object put", bytes=line.reception.size):
                await self._make_durable(batch, line, meta, data_set)
        except BaseException as error:
            self._give_up(batch, line, error)
            raise
        return Placement(admission, batch, line)

    async def acknowledge(
        self, placement: Placement, *, traceparent: str = "", reply_to: str = ""
    ) -> Reception:
        """Make sure that a placed instance will be found, and tell the indexer.

        When this returns, its sender may be told success. Raises ``Unavailable``.
        """
        batch, line = placement.batch, placement.line
        if line.settled:
            raise Conflict("the instance has been answered")
        record = ""
        if batch.drawn_up or self._clock() - batch.t0 >= self._settings.lease_seconds / 2:
            try:
                record = await self._journal_late(batch, line)
            except BaseException as error:
                self._give_up(batch, line, error)
                raise
        # No await from here to the return: what was checked still holds when we say so.
        self._settle(batch, line, Outcome.OUTCOME_ACKNOWLEDGED, record=record)
        RECEIVED_BYTES.inc(line.reception.size)
        request = IndexRequest(
            partition=batch.partition,
            reception=line.reception,
            header=header_within(placement.admission, self._settings.header_bytes),
            traceparent=traceparent or current_traceparent(),
            reply_to=reply_to,
        )
        self._feed.offer(batch.partition, request)
        return request.reception

    async def refuse(self, placement: Placement, refusal: Refusal) -> None:
        """Record that the sender is told a failure: the placed instance must never appear."""
        self._settle(placement.batch, placement.line, Outcome.OUTCOME_REFUSED, refusal)

    async def abandon(self, placement: Placement) -> None:
        """Record that the sender went away before its answer: the placed instance may appear."""
        self._settle(placement.batch, placement.line, Outcome.OUTCOME_UNANSWERED)

    def hurry(self) -> None:
        """Tell the indexer now what ``publish_interval`` holds back: somebody waits for its verdict."""
        self._feed.hurry()

    async def close(self, seconds: float = 10.0) -> None:
        """Close every batch, write manifests, publish what waits; the rest is left to the sweeper.

        Takes about ``seconds`` at most. What is placed and not answered by then counts as
        unanswered in its manifest and can still be acknowledged.
        """
        self._closed = True
        deadline = time.monotonic() + seconds
        for batch, _ in list(self._current.values()):
            self._retire(batch)
        if self._closing:
            await asyncio.wait(self._closing, timeout=seconds)
        for task, batch in list(self._closing.items()):
            task.cancel()
            self._draw_up(batch)
        await self._feed.finish(max(0.0, deadline - time.monotonic()))
        await self._manifests.finish(max(1.0, deadline - time.monotonic()))

    def _batch_of(self, partition: str) -> Batch:
        """Return the batch that takes the next instance of a partition."""
        if partition in self._current:
            batch, _ = self._current[partition]
            if self._clock() - batch.t0 < self._settings.rotation_seconds:
                return batch
            # The timer is late: the machine was paused, or the loop is busy.
            self._retire(batch)
        return self._open_batch(partition)

    def _open_batch(self, partition: str) -> Batch:
        t0 = self._clock()
        entry = JournalEntry(
            batch=self._ids.new(),
            partition=partition,
            process=self._settings.process,
            opened_at_us=self._now_us(),
        )
        journal = asyncio.create_task(write_journal(self._store, entry, self._sealer))
        batch = Batch(entry.batch, partition, entry.process, t0, entry.opened_at_us, journal)
        journal.add_done_callback(partial(self._journal_ended, batch))
        timer = asyncio.get_running_loop().call_later(self._settings.rotation_seconds, self._retire, batch)
        self._current[partition] = (batch, timer)
        OPEN_BATCHES.inc()
        return batch

    def _journal_ended(self, batch: Batch, journal: asyncio.Task[str]) -> None:
        if journal.cancelled() or journal.exception() is not None:
            # Nothing can be acknowledged under it: the next instance opens another.
            self._retire(batch)

    def _retire(self, batch: Batch) -> None:
        """Give a batch no more instances, and close it when all it has are settled."""
        current = self._current.get(batch.partition)
        if current is None or current[0] is not batch:
            return
        del self._current[batch.partition]
        current[1].cancel()
        task = asyncio.create_task(self._close_batch(batch))
        self._closing[task] = batch
        task.add_done_callback(self._closing.pop)

    async def _close_batch(self, batch: Batch) -> None:
        # What is settled after half the lease is late by rule 3 and gets a record of its own.
        remaining = self._settings.lease_seconds / 2 - (self._clock() - batch.t0)
        await batch.wait_settled(max(0.0, remaining))
        self._draw_up(batch)

    def _draw_up(self, batch: Batch) -> None:
        if not batch.drawn_up:
            OPEN_BATCHES.dec()
            self._manifests.submit(batch.draw_up(self._now_us()))

    async def _make_durable(self, batch: Batch, line: Line, meta: Buffer, data_set: Buffer) -> None:
        """Return when object and journal entry are both put."""
        put = asyncio.ensure_future(self._store.put(line.reception.object_key, [meta, data_set]))
        put.add_done_callback(_hear)
        try:
            # Let it begin: the store works while the digests are made.
            await asyncio.sleep(0)
            digests = await digests_of(meta, data_set)
            line.reception.meta_digest = digests.meta
            line.reception.data_set_digest = digests.data_set
            ended, _ = await asyncio.wait({put, batch.journal}, return_when=asyncio.FIRST_EXCEPTION)
            for task in ended:
                task.result()
        except GantryError as error:
            raise Unavailable("the object could not be stored durably") from error
        finally:
            put.cancel()

    async def _journal_late(self, batch: Batch, line: Line) -> str:
        """Put a journal entry that names this object, which is stored already; return its batch id."""
        entry = JournalEntry(
            batch=self._ids.new(),
            partition=batch.partition,
            process=batch.process,
            opened_at_us=self._now_us(),
            late_object_keys=[line.reception.object_key],
        )
        await write_journal(self._store, entry, self._sealer)
        LATE.inc()
        log.info("instance_is_late", object_key=line.reception.object_key, batch=entry.batch)
        return entry.batch

    def _give_up(self, batch: Batch, line: Line, error: BaseException) -> None:
        """Settle a line whose put or record failed. Raises ``Undecided`` where a failure is no answer."""
        if not isinstance(error, GantryError):
            self._settle(batch, line, Outcome.OUTCOME_UNANSWERED)
        elif batch.drawn_up:
            self._settle(batch, line, Outcome.OUTCOME_UNANSWERED)
            raise Undecided("the object store failed too late to say what became of the instance") from error
        else:
            self._settle(batch, line, Outcome.OUTCOME_REFUSED, Refusal.OUT_OF_RESOURCES)

    def _settle(
        self,
        batch: Batch,
        line: Line,
        outcome: Outcome,
        refusal: Refusal | None = None,
        record: str = "",
    ) -> None:
        """Decide a line's outcome; ``record`` is the batch id of a journal entry of its own."""
        if line.settled:
            return
        batch.settle(line, outcome, refusal.reason if refusal else "")
        RECEPTIONS.labels(Outcome.Name(outcome).removeprefix("OUTCOME_").lower()).inc()
        if record or (batch.drawn_up and outcome != Outcome.OUTCOME_UNANSWERED):
            # The batch's manifest calls it unanswered, or will be overtaken by the late entry's.
            now = self._now_us()
            self._manifests.submit(
                Manifest(
                    batch=record or self._ids.new(),
                    partition=batch.partition,
                    process=batch.process,
                    opened_at_us=now,
                    closed_at_us=now,
                    writer=ManifestWriter.MANIFEST_WRITER_RECEIVER,
                    receptions=[line.reception],
                )
            )

    def _reception(
        self,
        admission: Admission,
        meta: Buffer,
        data_set: Buffer,
        source: Source,
        lane: Lane,
    ) -> Reception:
        return Reception(
            store_id=self._settings.store_id,
            size=memoryview(meta).nbytes + memoryview(data_set).nbytes,
            meta_length=admission.meta_length,
            transfer_syntax_uid=admission.transfer_syntax_uid,
            sop_class_uid=admission.sop_class_uid,
            study_instance_uid=admission.study_instance_uid,
            series_instance_uid=admission.series_instance_uid,
            sop_instance_uid=admission.sop_instance_uid,
            source=source,
            received_at_us=self._now_us(),
            lane=lane,
            warnings=admission.warnings,
        )

    def _now_us(self) -> int:
        return int(self._wall_clock() * 1_000_000)


def _stored_parts(admission: Admission, buffer: Buffer) -> tuple[Buffer, Buffer]:
    """Return what is stored before the data set, and the data set."""
    view = memoryview(buffer)
    data_set = view[admission.data_set_offset :]
    meta: Buffer = admission.meta if admission.meta is not None else view[: admission.data_set_offset]
    return meta, data_set


def _hear(put: asyncio.Future[None]) -> None:
    # A put that fails after its caller left is no news.
    if not put.cancelled():
        put.exception()
