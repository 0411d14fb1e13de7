"""Feeding the index from manifests: a bounded window on the replay stream, behind what is live.

The journal is the queue and the stream only its head: nothing is added while the index
streams together hold a window's worth, so a backlog of days stays in the object store.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from gantry.index.v1.index_pb2 import IndexRequest
from gantry.reception.v1.reception_pb2 import Lane, Reception
from gantry_dicom.errors import Unavailable
from gantry_messaging.names import INDEX_BULK
from gantry_messaging.publisher import IndexPublisher
from gantry_telemetry.logs import get_logger

from gantry_storage.instruments import FED

log = get_logger(__name__)

# One publication at most, so that several partitions take turns.
SLICE = 64
# Lines of a pass held in memory while they wait for their turn. What is live never waits long.
HELD_LINES = 20_000
LIVE_RANK = 0
# How long a pass waits for room in the window before it begins anew with what is live.
PATIENCE_SECONDS = 60.0
ROOM_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Work:
    """Lines of one batch that wait for a verdict."""

    partition: str
    lines: Sequence[Reception]


class Feeder:
    """Puts lines without a verdict on the stream ``index.replay``."""

    def __init__(self, publisher: IndexPublisher, *, window: int, again_seconds: float) -> None:
        self._publisher = publisher
        self._window = window
        self._again_seconds = again_seconds
        self._fed: dict[str, float] = {}

    async def has_room(self, rank: int) -> bool:
        """Whether the window has room for a lane's rank. Raises ``Unavailable`` when Redis does not say.

        What is live does not wait for the bulk that waits; the rest waits for all of it.
        """
        depths = await self._publisher.depths()
        if depths is None:
            raise Unavailable("Redis does not say how long the index streams are")
        if rank == LIVE_RANK:
            depths.pop(INDEX_BULK, None)
        return sum(depths.values()) < self._window

    def is_due(self, line: Reception) -> bool:
        """Whether the line was not fed a short while ago."""
        return time.monotonic() - self._fed.get(line.object_key, float("-inf")) > self._again_seconds

    async def feed(self, partition: str, lines: Sequence[Reception]) -> None:
        """Put up to ``SLICE`` lines on the stream. Raises ``Unavailable``."""
        now = time.monotonic()
        requests = [IndexRequest(partition=partition, reception=as_replay(line)) for line in lines[:SLICE]]
        if not await self._publisher.publish(partition, requests):
            raise Unavailable("Redis does not take index requests")
        self._fed = {key: at for key, at in self._fed.items() if now - at < self._again_seconds}
        for line in lines[:SLICE]:
            self._fed[line.object_key] = now
            FED.labels(Lane.Name(line.lane)).inc()


class Feeding:
    """The feeding of one pass: live before bulk before replay, the partitions taking turns.

    When Redis is away, or the window stays full, the rest is left to the next pass.
    """

    def __init__(self, feeder: Feeder) -> None:
        self._feeder = feeder
        self._queues: dict[tuple[int, str], deque[Reception]] = {}
        self._held = 0
        self._ended = False

    def add(self, work: Sequence[Work]) -> None:
        """Take in lines that wait for a verdict, in bounded memory; the oldest batches come first.

        An older backlog of bulk must not keep out what is live: that is fed after each group of batches.
        """
        for batch in work:
            for line in batch.lines:
                rank = lane_rank(line)
                room = not self._ended if rank == LIVE_RANK else self._held < HELD_LINES
                if room and self._feeder.is_due(line):
                    self._queues.setdefault((rank, batch.partition), deque()).append(line)
                    self._held += 1

    async def feed(self, rank: int) -> None:
        """Feed what there is of a lane's ``rank``, waiting a while for room."""
        queues = {partition: queue for (each, partition), queue in self._queues.items() if each == rank}
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while any(queues.values()) and not self._ended:
            for partition, queue in queues.items():
                if queue and not self._ended:
                    await self._feed_slice(rank, partition, queue, give_up_at)

    async def _feed_slice(
        self, rank: int, partition: str, queue: deque[Reception], give_up_at: float
    ) -> None:
        try:
            while not await self._feeder.has_room(rank):
                if time.monotonic() > give_up_at:
                    self._ended = True
                    return
                await asyncio.sleep(ROOM_POLL_SECONDS)
            lines = [queue.popleft() for _ in range(min(SLICE, len(queue)))]
            self._held -= len(lines)
            await self._feeder.feed(partition, lines)
        except Unavailable as error:
            log.warning("feeding_stopped", reason=error.detail)
            self._ended = True


def as_replay(line: Reception) -> Reception:
    """Return the line as the replay lane carries it; the manifest keeps the lane it came in."""
    replayed = Reception()
    replayed.CopyFrom(line)
    replayed.lane = Lane.LANE_REPLAY
    return replayed


def lane_rank(line: Reception) -> int:
    """Return the right of way of a line: live before bulk before replay."""
    return {Lane.LANE_BULK: 1, Lane.LANE_REPLAY: 2}.get(line.lane, LIVE_RANK)
