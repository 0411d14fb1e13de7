"""The composition root of the storage service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from gantry.amendment.v1.amendment_pb2 import Amendment
from gantry_commitment.ledger import Ledger
from gantry_commitment.verification import Verifier
from gantry_failures.ledger import FailureLedger
from gantry_index import verdicts
from gantry_index.amendments import applied_revision, waiting_receptions
from gantry_index.corrections import is_renewing
from gantry_index.locks import SWEEPER, AdvisoryLock
from gantry_index.object_rows import ObjectRow, destroyed_among, rows_of, rows_under
from gantry_index.pools import IndexPool, open_pool
from gantry_index.reader import IndexReader
from gantry_messaging.celery_app import make_app, send
from gantry_messaging.names import AMEND_QUEUE, REPLAY_QUEUE
from gantry_messaging.publisher import IndexPublisher
from gantry_objectstore.keys import AmendmentKey
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import ObjectStore, open_store
from gantry_objectstore.tiers import open_tiers, parse_tiers, stores_of
from gantry_routing.ledger import JobLedger

from gantry_storage.amendments import Amendments
from gantry_storage.capacity import CapacityKeeper, CapacitySettings
from gantry_storage.commitments import Commitments
from gantry_storage.comparison import Pace
from gantry_storage.feeding import Feeder
from gantry_storage.finishing import Finishing
from gantry_storage.journal import Journal
from gantry_storage.reconciling import Reconciler
from gantry_storage.recovery import Recovery
from gantry_storage.repairing import Repairer
from gantry_storage.replay import Replay
from gantry_storage.retention.assembly import RetentionParts, make_retention
from gantry_storage.retention.settings import RetentionSettings
from gantry_storage.scrub import Scrub
from gantry_storage.scrubbing import Scrubbing, ScrubLimits
from gantry_storage.serving import Serving
from gantry_storage.settings import StorageSettings
from gantry_storage.spare_copies import SpareCopies
from gantry_storage.sweeper import Sweeper, SweepLimits
from gantry_storage.watching import Watching


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a scrub asks the index."""

    pool: IndexPool

    async def rows_of(self, object_keys: Sequence[str]) -> Mapping[str, ObjectRow]:
        return await rows_of(self.pool, object_keys)

    async def rows_under(self, folder: str) -> Mapping[str, ObjectRow]:
        return await rows_under(self.pool, folder)

    async def destroyed_among(self, object_keys: Sequence[str]) -> frozenset[str]:
        return await destroyed_among(self.pool, object_keys)


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
    scrubbing: Scrubbing
    watching: Watching
    serving: Serving
    retention: RetentionParts
    capacity: CapacityKeeper
    replica: ObjectStore | None

    async def close(self) -> None:
        """Close every connection."""
        if self.replica is not None:
            await self.replica.close()
        await self.publisher.close()
        await self.lock.release()
        await self.pool.close()
        await self.store.close()


def make_parts(
    settings: StorageSettings, *, store: ObjectStore | None = None, replay_window: int = 16
) -> Parts:
    """Return the parts; nothing is connected yet. ``store`` stands in for the one of the settings."""
    sealer = Sealer.from_text(settings.seal_keys)
    tiers = parse_tiers(settings.tiers, settings.store_id)
    if store is None:
        options = StoreSettings(settings.s3_access_key, settings.s3_secret_key, settings.s3_ca_file)
        store = open_tiers(settings.store_url, settings.store_id, tiers, options=options)
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

    async def is_waiting(place: AmendmentKey, amendment: Amendment) -> bool:
        study_uid = amendment.study_instance_uid
        return await is_renewing(pool, place.partition, place.scope) or bool(
            study_uid and await waiting_receptions(pool, place.partition, study_uid)
        )

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
    replica = _replica(settings)
    store_ids = (settings.store_id, *(tier.store_id for tier in tiers))
    stores = dict(zip(store_ids, stores_of(store), strict=True))
    rows = _Rows(pool)
    repairer = Repairer(store, sealer, pool, SpareCopies(store, pool, replica), send_chunk)
    scrubbing = Scrubbing(
        store,
        Scrub(store, sealer, rows, Pace(settings.scrub_objects_per_second, settings.scrub_bytes_per_second)),
        pool,
        repairer,
        ScrubLimits(timedelta(days=settings.scrub_every_days), settings.repair_attempts),
    )
    retention = make_retention(
        store,
        sealer,
        pool,
        send_amendment,
        RetentionSettings(),
        stores=stores,
        places=(settings.store_url, *(tier.url for tier in tiers)),
        backups=tuple(filter(None, (settings.replica_store_url,))),
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
            void_after_seconds=settings.lease_seconds + settings.sweep_margin_seconds,
        ),
        amendments=amendments,
        commitments=Commitments(store, Ledger(store, sealer), Verifier(store, IndexReader(pool))),
        failures=FailureLedger(store, sealer),
        route_jobs=JobLedger(store, sealer),
        replay=Replay(store, sealer, undecided, send_chunk, amendments.replay, window=replay_window),
        scrubbing=scrubbing,
        watching=Watching(
            pool,
            scrubbing,
            studies_per_second=settings.recount_studies_per_second,
            every_seconds=settings.recount_every_hours * 3600,
        ),
        serving=Serving(
            store, pool, repairer, Reconciler(store, sealer, pool, rows), scrubbing, retention.methods
        ),
        retention=retention,
        capacity=CapacityKeeper(pool, stores, CapacitySettings()),
        replica=replica,
    )


def _replica(settings: StorageSettings) -> ObjectStore | None:
    if not settings.replica_store_url:
        return None
    options = StoreSettings(
        access_key=settings.replica_s3_access_key or settings.s3_access_key,
        secret_key=settings.replica_s3_secret_key or settings.s3_secret_key,
        ca_file=settings.s3_ca_file,
    )
    return open_store(settings.replica_store_url, options=options)
