"""The stream consumer: chunks as they come, poison handed over, nothing held up by one instance."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

from celery import Celery
from gantry.index.v1.index_pb2 import IndexRequest, Verdict
from gantry.reception.v1.reception_pb2 import Channel
from gantry_dicom.errors import Unavailable
from gantry_index.reader import IndexReader
from gantry_messaging.celery_app import send
from gantry_messaging.consumer import Entry, IndexConsumer
from gantry_messaging.names import INDEX_REPLAY, ISOLATE_QUEUE
from gantry_messaging.outbox import OutboxRelay
from gantry_messaging.seals import Seals
from gantry_messaging.verdicts import VerdictPublisher, is_standing
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import continue_trace

from gantry_indexer.chunks import ChunkIndexer, ChunkResult
from gantry_indexer.instruments import ISOLATED, LAG, PAUSED, SEARCHABLE

log = get_logger(__name__)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


class Consuming:
    """Moves entries of the index streams into the index until it is told to stop."""

    def __init__(
        self,
        consumer: IndexConsumer,
        indexer: ChunkIndexer,
        reader: IndexReader,
        verdicts: VerdictPublisher,
        relay: OutboxRelay,
        tasks: Celery,
        seals: Seals,
    ) -> None:
        self._consumer = consumer
        self._indexer = indexer
        self._reader = reader
        self._verdicts = verdicts
        self._relay = relay
        self._tasks = tasks
        self._seals = seals
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Finish the chunk in hand, then return from ``run``."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume until ``stop``; outages of Redis, database and store are waited out."""
        while not self._stopping.is_set():
            entries = await self._consumer.next_batch()
            # What a consumer died over may kill this one, too.
            claimed = [entry for entry in entries if entry.claimed]
            if claimed:
                await self._hand_over(claimed, "claimed")
            fresh = [entry for entry in entries if not entry.claimed]
            suspects = await self._suspects(fresh)
            if suspects:
                await self._hand_over(suspects, "suspected")
                fresh = [entry for entry in fresh if entry not in suspects]
            if fresh:
                await self._index(fresh)

    async def _suspects(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return those of the sweeper's entries that have been tried alone without a verdict so far.

        An instance that kills the process would otherwise be fed to it again and again.
        """
        replayed = [entry for entry in entries if entry.stream == INDEX_REPLAY]
        if not replayed:
            return []
        try:
            verdicts = await self._reader.verdicts([entry.request.reception.object_key for entry in replayed])
        except Unavailable:
            return []  # indexing them will wait for the database
        return [
            entry
            for entry in replayed
            if (verdict := verdicts.get(entry.request.reception.object_key)) is not None
            and not is_standing(verdict)
        ]

    async def _index(self, entries: Sequence[Entry]) -> None:
        requests = [entry.request for entry in entries]
        result = await self._index_patiently(requests)
        if result is None:
            self._consumer.release(entries)
            return
        poison = [entries[position] for position in result.poison]
        for position, error in result.poison.items():
            reception = requests[position].reception
            log.error("instance_failed", object_key=reception.object_key, exc_info=error)
        self._relay.nudge()
        await self._verdicts.publish(by_channel(requests, result.verdicts))
        observe_times(entries[position] for position in result.verdicts)
        finished = [entries[position] for position in (*result.verdicts, *result.doubted)]
        await self._consumer.done(finished)
        if poison:
            await self._hand_over(poison, "failed")

    async def _index_patiently(self, requests: Sequence[IndexRequest]) -> ChunkResult | None:
        """Index the chunk, waiting for database and store; ``None`` when told to stop meanwhile."""
        pause = FIRST_PAUSE
        try:
            while not self._stopping.is_set():
                try:
                    return await self._indexer.index(requests)
                except Unavailable as error:
                    PAUSED.set(1)
                    log.warning("indexing_paused", reason=error.detail, delay_s=round(pause, 2))
                    await self._sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            PAUSED.set(0)
        return None

    async def _hand_over(self, entries: Sequence[Entry], why: str) -> None:
        """Queue each instance as a task of its own; an entry goes when its task is queued."""
        pause = FIRST_PAUSE
        waiting = list(entries)
        while waiting and not self._stopping.is_set():
            queued = []
            for entry in waiting:
                if not await send(self._tasks, ISOLATE_QUEUE, isolation_body(self._seals, entry.request)):
                    break
                queued.append(entry)
            ISOLATED.labels(why).inc(len(queued))
            await self._consumer.done(queued)
            waiting = waiting[len(queued) :]
            if waiting:
                await self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        self._consumer.release(waiting)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds * random.uniform(0.7, 1.3)):  # noqa: S311 - jitter
                await self._stopping.wait()
        except TimeoutError:
            return


def observe_times(entries: Iterable[Entry]) -> None:
    """Note how long instances took to the index, each as an example of its own trace."""
    now = time.time()
    for entry in entries:
        reception = entry.request.reception
        channel = Channel.Name(reception.source.channel).removeprefix("CHANNEL_").lower()
        with continue_trace(entry.request.traceparent):
            LAG.labels(entry.stream).observe(max(0.0, now - entry.queued_at))
            SEARCHABLE.labels(channel).observe(max(0.0, now - reception.received_at_us / 1e6))


def by_channel(requests: Sequence[IndexRequest], verdicts: dict[int, Verdict]) -> dict[str, list[Verdict]]:
    """Return the verdicts by the channel on which somebody waits for them."""
    channels: defaultdict[str, list[Verdict]] = defaultdict(list)
    for position, verdict in verdicts.items():
        channel = requests[position].reply_to
        if channel:
            channels[channel].append(verdict)
    return dict(channels)


def isolation_body(seals: Seals, request: IndexRequest) -> str:
    """Return a request as the argument of a task: sealed, without the header it came with.

    The bytes are read again from the store: a header that was damaged on its way is no poison.
    """
    bare = IndexRequest(
        partition=request.partition,
        reception=request.reception,
        traceparent=request.traceparent,
        reply_to=request.reply_to,
    )
    return base64.b64encode(seals.seal(bare)).decode()
