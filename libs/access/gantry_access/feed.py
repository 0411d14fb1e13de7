"""The snapshot in force in this process: loaded, kept fresh, and let go when it is too old.

The bucket is asked now and then, and at once when Redis hints that something changed. Neither
auth nor PostgreSQL is ever asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from gantry.access.v1.access_pb2 import PolicySnapshot
from gantry_dicom.errors import GantryError
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gantry_access.entities import Registry
from gantry_access.errors import StalePolicy
from gantry_access.floor import VersionFloor
from gantry_access.snapshots import POLICY_CHANNEL, load_newest
from gantry_access.storage import Seals, Store
from gantry_access.tokens import TokenVerifier

log = get_logger(__name__)

VERSION = metrics.gauge("gantry_policy_version", "Version of the policy in force", over_workers="livemax")
GOOD_UNTIL = metrics.gauge(
    "gantry_policy_good_until_timestamp_seconds",
    "When the policy in force is too old to decide by, unless a newer one comes",
    over_workers="livemin",
)

_LONGEST_PAUSE = 2.0
# Redis is asked for a sign of life each second; after so many without one it is not listened to.
_SILENT_SECONDS = 3


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """How old a snapshot may be and how often the bucket is asked for a newer one (seconds)."""

    # 0: as long as the snapshot says of itself.
    max_age: float = 0.0
    poll: float = 15.0
    # While hints cannot be heard: a revocation still arrives within five seconds.
    poll_without_hints: float = 2.0
    # How long a start waits for the first answer of the bucket.
    first: float = 5.0


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """A snapshot and what was made of it once."""

    version: int
    tokens: TokenVerifier
    entities: Registry
    good_until: float


class PolicyFeed:
    """Keeps the newest snapshot; ``current`` may be read from any thread."""

    def __init__(
        self,
        store: Store,
        sealer: Seals,
        *,
        redis_url: str = "",
        floor: VersionFloor | None = None,
        settings: FeedSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._redis_url = redis_url
        self._floor = floor
        self._settings = settings or FeedSettings()
        self._clock = clock
        self._wall_clock = wall_clock
        self._in_force: PolicyInForce | None = None
        self._hinted = asyncio.Event()
        self._hears_hints = False
        self._tasks: list[asyncio.Task[None]] = []

    def current(self) -> PolicyInForce:
        """Return what is in force. Raises ``StalePolicy`` when there is none, or none young enough."""
        in_force = self._in_force
        if in_force is None or self._clock() >= in_force.good_until:
            raise StalePolicy("the rules of access are not known at present")
        return in_force

    async def start(self) -> None:
        """Load the newest snapshot, or give up waiting for it, and go on looking."""
        if self._tasks:
            return
        try:
            async with asyncio.timeout(self._settings.first):
                await self.refresh()
        except TimeoutError:
            log.warning("policy_not_loaded", reason="timeout")
        self._tasks = [asyncio.create_task(self._poll())]
        if self._redis_url:
            self._tasks.append(asyncio.create_task(self._listen()))

    async def refresh(self) -> None:
        """Look for a newer snapshot now; never raises what the store raises."""
        try:
            known = self._in_force.version if self._in_force else await self._oldest_known()
            snapshot, bad = await load_newest(self._store, self._sealer, newer_than=known)
        except GantryError as error:
            log.warning("policy_not_loaded", reason=error.outcome.value)
            return
        if bad:
            log.error("policy_snapshots_forged", count=len(bad), object_key=bad[0])
        if snapshot is not None:
            self._take(snapshot)
            if self._floor is not None:
                await asyncio.to_thread(self._floor.rise, snapshot.version)

    async def _oldest_known(self) -> int:
        """Return the version above which this process may begin."""
        if self._floor is None:
            return 0
        return max(0, await asyncio.to_thread(self._floor.read) - 1)

    async def close(self) -> None:
        """Stop looking."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def _take(self, snapshot: PolicySnapshot) -> None:
        limits = [snapshot.good_for_us / 1e6, self._settings.max_age]
        good_for = min((limit for limit in limits if limit > 0), default=0.0)
        # The wall clock says how old it is already, the steady one when it will be too old:
        # setting the former back makes no snapshot young again.
        age = max(0.0, self._wall_clock() - snapshot.published_at_us / 1e6)
        self._in_force = PolicyInForce(
            snapshot.version,
            TokenVerifier(snapshot, clock=self._wall_clock),
            Registry(snapshot),
            self._clock() + good_for - age,
        )
        VERSION.set(snapshot.version)
        GOOD_UNTIL.set(self._wall_clock() + good_for - age)
        log.info("policy_loaded", version=snapshot.version, age_s=round(age, 1))

    async def _poll(self) -> None:
        while True:
            pause = self._settings.poll if self._hears_hints else self._settings.poll_without_hints
            try:
                async with asyncio.timeout(pause):
                    await self._hinted.wait()
            except TimeoutError:
                pass
            self._hinted.clear()
            await self._refresh_whatever()

    async def _refresh_whatever(self) -> None:
        try:
            await self.refresh()
        except Exception:
            # A bug must not end the loop: the old snapshot would stay until it is too old.
            log.exception("policy_refresh_failed")

    async def _listen(self) -> None:
        pause = 0.1
        while True:
            redis = Redis.from_url(
                self._redis_url,
                socket_timeout=2.0,
                socket_connect_timeout=2.0,
                socket_keepalive=True,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
            try:
                await self._hear(redis)
            except (RedisError, OSError) as error:
                if self._hears_hints:
                    log.warning("policy_channel_lost", error=type(error).__name__)
                    # What was hinted at meanwhile nobody heard, and the pause in hand is too long now.
                    self._hinted.set()
            finally:
                self._hears_hints = False
                await redis.aclose()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _hear(self, redis: Redis) -> None:
        async with redis.pubsub() as channel:
            await channel.subscribe(POLICY_CHANNEL)
            silent = 0
            while True:
                message = await channel.get_message(timeout=1.0)
                if message is None:
                    silent += 1
                    if silent > _SILENT_SECONDS:
                        raise ConnectionError("no answer to a ping")
                    await channel.ping()
                    continue
                silent = 0
                if message["type"] == "subscribe":
                    self._hears_hints = True
                # Also after subscribing: something may have changed while nobody listened.
                if message["type"] in ("subscribe", "message"):
                    self._hinted.set()
