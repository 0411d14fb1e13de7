"""The composition root of the storage service."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gantry_commitment.ledger import Ledger
from gantry_commitment.verification import Verifier
from gantry_failures.ledger import FailureLedger
from gantry_index import verdicts
from gantry_index.amendments import applied_revision, waiting_receptions
from gantry_index.locks import SWEEPER, AdvisoryLock
from gantry_index.pools import IndexPool, open_pool
from gantry_index.reader import IndexReader
from gantry_messaging.celery_app import make_app, send
from gantry_messaging.names import AMEND_QUEUE, REPLAY_QUEUE
from gantry_messaging.publisher import IndexPublisher
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import ObjectStore, open_store
from gantry_routing.ledger import JobLedger

from gantry_storage.amendments import Amendments
from gantry_storage.commitments import Commitments
from gantry_storage.feeding import Feeder
from gantry_storage.finishing import Finishing
from gantry_storage.journal import Journal
from gantry_storage.recovery import Recovery
from gantry_storage.replay import Replay
from gantry_storage.settings import StorageSettings
from gantry_storage.sweeper import Sweeper, SweepLimits


@dataclass(frozen=True, slots=True)
class Parts:
    """What the service is made of; made inside the event loop that uses it."""

    store: ObjectStore
    sealer: Sealer
    pool: IndexPool
    lock: AdvisoryLock
    publisher: IndexPublisher
    sweeper: Sweeper
    finishing: Finishing
    amendments: Amendments
    commitments: Commitments
    failures: FailureLedger
    route_jobs: JobLedger
    replay: Replay

    async def close(self) -> None:
        """Close every connection."""
        await self.publisher.close()
        await self.lock.release()
        await self.pool.close()
        await self.store.close()


def make_parts(
    settings: StorageSettings, *, store: ObjectStore | None = None, replay_window: int = 16
) -> Parts:
    """Return the parts; nothing is connected yet. ``store`` stands in for the one of the settings."""
    sealer = Sealer.from_text(settings.seal_keys)
    if store is None:
        options = StoreSettings(access_key=settings.s3_access_key, secret_key=settings.s3_secret_key)
        store = open_store(settings.store_url, options=options)
    pool = open_pool(settings.index_dsn, application_name="gantry-storage")
    publisher = IndexPublisher(settings.redis_url, sealer)
    tasks = make_app(settings.redis_url, [REPLAY_QUEUE, AMEND_QUEUE])
    journal = Journal(store, sealer)

    async def undecided(object_keys: Iterable[str]) -> set[str]:
        return await verdicts.undecided(pool, object_keys)

    async def send_chunk(key: str, first: int, count: int) -> bool:
        return await send(tasks, REPLAY_QUEUE, key, first, count)

    async def is_applied(partition: str, scope: str, revision: int) -> bool:
        return await applied_revision(pool, partition, scope) >= revision

    async def is_waiting(partition: str, study_uid: str) -> bool:
        return bool(await waiting_receptions(pool, partition, study_uid))

    async def send_amendment(key: str) -> bool:
        return await send(tasks, AMEND_QUEUE, key)

    amendments = Amendments(
        store,
        sealer,
        is_applied,
        is_waiting,
        send_amendment,
        leave_alone=settings.lease_seconds + settings.sweep_margin_seconds,
    )
    return Parts(
        store=store,
        sealer=sealer,
        pool=pool,
        lock=AdvisoryLock(settings.index_dsn, SWEEPER),
        publisher=publisher,
        sweeper=Sweeper(
            store,
            journal,
            Recovery(store, sealer, settings.store_id),
            SweepLimits(settings.lease_seconds, settings.sweep_margin_seconds),
        ),
        finishing=Finishing(
            store,
            sealer,
            journal,
            undecided,
            Feeder(publisher, window=settings.feed_window, again_seconds=settings.feed_again_seconds),
            feed_after_seconds=settings.feed_after_seconds,
        ),
        amendments=amendments,
        commitments=Commitments(store, Ledger(store, sealer), Verifier(store, IndexReader(pool))),
        failures=FailureLedger(store, sealer),
        route_jobs=JobLedger(store, sealer),
        replay=Replay(store, sealer, undecided, send_chunk, amendments.replay, window=replay_window),
    )
