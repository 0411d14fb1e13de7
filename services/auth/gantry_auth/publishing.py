"""Publishes the policy snapshot whenever what it holds has changed, and now and then.

The database counts changes by triggers, so it does not matter who made one. Publications pass
one by one, under a lock that is held until the snapshot is in the bucket: a later number never
holds an older state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from gantry_access.snapshots import (
    POLICY_CHANNEL,
    load_newest,
    publish_snapshot,
)
from gantry_dicom.errors import Conflict, GantryError, Unavailable
from gantry_messaging.connections import TROUBLE, connect
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

from gantry_auth import keys
from gantry_auth.adapters.database import Connection, Database
from gantry_auth.settings import AuthSettings
from gantry_auth.snapshot import compose

log = get_logger(__name__)

PUBLISHED = metrics.counter(
    "gantry_auth_snapshots", "Policy snapshots by what came of publishing", ("outcome",)
)
VERSION = metrics.gauge("gantry_auth_snapshot_version", "Version of the policy snapshot published last")

# Advisory lock of the one who publishes: "gantrypo" as a number.
_LOCK = 0x67616E747279706F
_STORE_SECONDS = 20.0
# Numbers of snapshots that somebody else put into the bucket: so many are stepped over.
_TRIES = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Publisher:
    """Puts snapshots into the bucket and hints at them on Redis."""

    settings: AuthSettings
    database: Database
    store: ObjectStore
    sealer: Sealer
    clock: Callable[[], datetime]

    async def run(self) -> None:
        """Publish at the start, then whatever changes, until cancelled."""
        started = False
        while True:
            try:
                if not started or await asyncio.to_thread(self._is_due):
                    await self.publish()
                    started = True
            except GantryError as error:
                PUBLISHED.labels("failed").inc()
                log.warning("policy_not_published", reason=error.outcome.value)
            except Exception:
                # A bug must not end the loop: revocations would go nowhere.
                PUBLISHED.labels("failed").inc()
                log.exception("policy_not_published")
            await asyncio.sleep(self.settings.policy_watch_seconds)

    async def publish(self) -> int:
        """Publish what the database holds now and return the version. Raises ``Unavailable``."""
        loop = asyncio.get_running_loop()
        version = await asyncio.to_thread(self._publish, loop)
        PUBLISHED.labels("published").inc()
        VERSION.set(version)
        log.info("policy_published", version=version)
        await self._hint(version)
        return version

    def _is_due(self) -> bool:
        with self.database.transaction() as connection:
            row = connection.execute(
                "SELECT revision <> published_revision, published_at FROM auth.policy"
            ).fetchone()
        if row is None or row[0] or row[1] is None:
            return True
        return bool(row[1] + timedelta(seconds=self.settings.policy_publish_seconds) <= self.clock())

    def _publish(self, loop: asyncio.AbstractEventLoop) -> int:
        with self.database.transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            # Read before what it counts: what changes in between is published once more.
            row = connection.execute("SELECT revision, published_version FROM auth.policy").fetchone()
            if row is None:
                raise Unavailable("the core database is not migrated")
            revision, version = row
            # After a restore of the database the bucket knows later numbers.
            newest, _ = _wait(loop, load_newest(self.store, self.sealer, newer_than=version))
            version = newest.version if newest is not None else version
            version, key_ids = self._put(loop, connection, version + 1)
            now = self.clock()
            connection.execute(
                "UPDATE auth.policy SET published_revision = %s, published_version = %s, published_at = %s",
                [revision, version, now],
            )
            keys.note_published(connection, key_ids, now)
            return int(version)

    def _put(
        self, loop: asyncio.AbstractEventLoop, connection: Connection, first: int
    ) -> tuple[int, list[str]]:
        for version in range(first, first + _TRIES):
            snapshot = compose(connection, self.settings, version=version, now=self.clock())
            try:
                _wait(loop, publish_snapshot(self.store, self.sealer, snapshot))
            except Conflict:
                log.warning("policy_version_taken", version=version)
                continue
            return version, [key.key_id for key in snapshot.issuers[0].keys]
        raise Unavailable("the numbers of policy snapshots are taken")

    async def _hint(self, version: int) -> None:
        if not self.settings.redis_url:
            return
        redis = connect(self.settings.redis_url)
        try:
            await redis.publish(POLICY_CHANNEL, str(version))
        except TROUBLE as error:
            # Services look into the bucket by themselves, only less soon.
            log.warning("policy_hint_not_sent", error=type(error).__name__)
        finally:
            await redis.aclose()


def _wait(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run_coroutine_threadsafe(work, loop).result(_STORE_SECONDS)
    except TimeoutError:
        raise Unavailable("the object store does not answer") from None
