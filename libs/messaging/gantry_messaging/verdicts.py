"""Verdicts on their way back: STOW-RS waits for them, so that what was stored can be read.

The channel belongs to one process; its name travels in each request. A notice may come
before anybody waits for it, because the object key is known only when the request is on
its way: early notices are kept for a while, so no wake-up is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeVar

from gantry.index.v1.index_pb2 import Verdict, VerdictNotice, VerdictState
from gantry_dicom.errors import GantryError
from gantry_telemetry.logs import get_logger
from gantry_telemetry.metrics import counter
from redis.asyncio.client import PubSub

from gantry_messaging.circuit import Circuit
from gantry_messaging.connections import TROUBLE, connect, drop_connections
from gantry_messaging.names import new_verdict_channel
from gantry_messaging.seals import Seals

log = get_logger(__name__)

V = TypeVar("V")

WAITS = counter("gantry_verdict_waits", "Waits for a verdict, by how they ended", ["outcome"])

# Early notices and probes kept, in number and seconds.
KEPT = 8_192
KEPT_SECONDS = 30.0


class VerdictPublisher:
    """Tells waiting processes the verdicts of a commit; used by the indexer."""

    def __init__(self, redis_url: str, seals: Seals, *, timeout: float = 1.0) -> None:
        self._seals = seals
        self._redis = connect(redis_url, timeout=timeout)
        self._circuit = Circuit("redis", self._redis.ping)

    async def publish(self, verdicts: Mapping[str, Sequence[Verdict]]) -> bool:
        """Send the verdicts of each ``reply_to`` channel; returns whether they left. Never raises."""
        channels = {channel: found for channel, found in verdicts.items() if channel and found}
        if not channels:
            return True
        if self._circuit.is_open:
            return False
        pipeline = self._redis.pipeline(transaction=False)
        for channel, found in channels.items():
            pipeline.publish(channel, self._seals.seal(VerdictNotice(verdicts=found)))
        try:
            await pipeline.execute()
        except TROUBLE as error:
            log.warning("verdict_notice_failed", error=type(error).__name__)
            self._circuit.trip()
            await drop_connections(self._redis)
            return False
        return True

    async def close(self) -> None:
        """Close the connections."""
        await self._circuit.close()
        await self._redis.aclose()


class VerdictListener:
    """Waits for verdicts on a channel of its own; one per process and event loop.

    ``start`` before the first request is published. Circuit breaker: after one missed
    verdict ``wait`` answers at once, until a verdict comes in time again or, once every
    ``probe_every`` seconds, one caller waits as a probe.
    """

    def __init__(
        self, redis_url: str, seals: Seals, *, probe_every: float = 5.0, longest_pause: float = 2.0
    ) -> None:
        self._seals = seals
        self._redis = connect(redis_url, timeout=2.0)
        self._channel = new_verdict_channel()
        self._probe_every = probe_every
        self._longest_pause = longest_pause
        self._listening: asyncio.Task[None] | None = None
        self._subscribed = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[Verdict | None]] = {}
        self._early: OrderedDict[str, tuple[float, Verdict]] = OrderedDict()
        # Keys nobody waits for because the circuit is open, with the time by which a
        # verdict would have been in time.
        self._unwaited: OrderedDict[str, float] = OrderedDict()
        self._probe_at: float | None = None

    @property
    def reply_to(self) -> str:
        """The channel to name in requests; empty while nothing could be heard on it."""
        return self._channel if self._subscribed.is_set() else ""

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open: verdicts did not come lately."""
        return self._probe_at is not None

    async def start(self, wait_seconds: float = 0.0) -> bool:
        """Begin to listen; waits up to ``wait_seconds`` and returns whether it is subscribed."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen_for_ever())
        if wait_seconds:
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._subscribed.wait()
            except TimeoutError:
                log.warning("verdict_channel_not_subscribed", timeout_s=wait_seconds)
        return self._subscribed.is_set()

    async def wait(self, object_key: str, timeout: float) -> Verdict | None:  # noqa: ASYNC109
        """Return the verdict about ``object_key``, or ``None`` when it does not come in time."""
        early = self._early.pop(object_key, None)
        if early is not None:
            self._close_circuit()
            WAITS.labels("early").inc()
            return early[1]
        if not self._subscribed.is_set():
            WAITS.labels("unsubscribed").inc()
            return None
        now = time.monotonic()
        if self._probe_at is not None:
            if now < self._probe_at:
                _keep(self._unwaited, object_key, now + timeout)
                WAITS.labels("circuit").inc()
                return None
            self._probe_at = now + self._probe_every
        future = self._waiting.setdefault(object_key, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(timeout):
                verdict = await asyncio.shield(future)
        except TimeoutError:
            self._missed()
            WAITS.labels("missed").inc()
            return None
        finally:
            self._waiting.pop(object_key, None)
        WAITS.labels("answered" if verdict is not None else "disconnected").inc()
        return verdict

    def _missed(self) -> None:
        if self._probe_at is None:
            log.warning("circuit_opened", dependency="indexer")
        self._probe_at = time.monotonic() + self._probe_every

    def _close_circuit(self) -> None:
        if self._probe_at is not None:
            log.info("circuit_closed", dependency="indexer")
            self._probe_at = None
            self._unwaited.clear()

    def _hear(self, verdict: Verdict) -> None:
        now = time.monotonic()
        future = self._waiting.get(verdict.object_key)
        if future is not None:
            self._close_circuit()
            if not future.done():
                future.set_result(verdict)
            return
        deadline = self._unwaited.pop(verdict.object_key, None)
        if deadline is None:
            _keep(self._early, verdict.object_key, (now, verdict))
        elif now <= deadline:
            self._close_circuit()
        while self._early and next(iter(self._early.values()))[0] < now - KEPT_SECONDS:
            self._early.popitem(last=False)

    async def _listen_for_ever(self) -> None:
        pause = 0.1
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(self._channel)
                    async for data in _messages(pubsub, self._subscribed):
                        pause = 0.1
                        self._read_notice(data)
            except TROUBLE as error:
                log.warning("verdict_channel_lost", error=type(error).__name__)
            self._lost()
            await drop_connections(self._redis)
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._longest_pause)

    def _read_notice(self, data: bytes) -> None:
        try:
            notice = self._seals.open(data, VerdictNotice)
        except GantryError:
            log.exception("verdict_notice_forged")
            return
        for verdict in notice.verdicts:
            self._hear(verdict)

    def _lost(self) -> None:
        self._subscribed.clear()
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)

    async def close(self) -> None:
        """Stop listening; whoever waits gets ``None``."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        self._lost()
        await self._redis.aclose()


async def _messages(pubsub: PubSub, subscribed: asyncio.Event) -> AsyncIterator[bytes]:
    """Yield message bodies; pings when the line is quiet, so that a dead one is noticed."""
    silent = 0
    while True:
        message = await pubsub.get_message(timeout=1.0)
        if message is None:
            silent += 1
            if silent >= 10:
                raise ConnectionError("no answer to a ping")
            if silent % 3 == 0:
                await pubsub.ping()
            continue
        silent = 0
        if message["type"] == "subscribe":
            subscribed.set()
        elif message["type"] == "message":
            yield message["data"]


def _keep(kept: OrderedDict[str, V], key: str, value: V) -> None:
    kept[key] = value
    if len(kept) > KEPT:
        kept.popitem(last=False)


def is_standing(verdict: Verdict | None) -> bool:
    """Whether the verdict is final: later deliveries and replays change nothing."""
    return verdict is not None and verdict.state not in (
        VerdictState.VERDICT_STATE_UNSPECIFIED,
        VerdictState.VERDICT_STATE_PENDING,
    )
