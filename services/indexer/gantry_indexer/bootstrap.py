"""The composition root of the indexer: what is built from what, for the consumer and the worker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from celery import Celery
from gantry_index.pools import IndexPool, Purpose, open_pool
from gantry_index.reader import IndexReader
from gantry_index.writer import IndexWriter
from gantry_messaging.celery_app import make_app
from gantry_messaging.names import AMEND_QUEUE, ISOLATE_QUEUE, REPLAY_QUEUE
from gantry_messaging.verdicts import VerdictPublisher
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import ObjectStore
from gantry_objectstore.tiers import open_tiers, parse_tiers

from gantry_indexer.chunks import ChunkIndexer
from gantry_indexer.correcting import Corrector
from gantry_indexer.faults import fault_hook
from gantry_indexer.settings import IndexerSettings
from gantry_indexer.trust import Trust


@dataclass(frozen=True, slots=True)
class Parts:
    """What both processes need; made inside the event loop that uses it."""

    sealer: Sealer
    store: ObjectStore
    pool: IndexPool
    reader: IndexReader
    indexer: ChunkIndexer
    verdicts: VerdictPublisher

    async def close(self) -> None:
        """Close every connection."""
        await self.verdicts.close()
        await self.pool.close()
        await self.store.close()


def make_parts(settings: IndexerSettings) -> Parts:
    """Return the parts; nothing is connected yet, so a service starts while everything is down."""
    sealer = Sealer.from_text(settings.seal_keys)
    store = open_tiers(
        *(settings.store_url, settings.store_id, parse_tiers(settings.tiers, settings.store_id)),
        options=StoreSettings(settings.s3_access_key, settings.s3_secret_key, settings.s3_ca_file),
    )
    pool = open_pool(settings.index_dsn, purpose=Purpose.WRITE, application_name="gantry-indexer")
    indexer = ChunkIndexer(
        store,
        Trust(store, sealer),
        IndexWriter(pool),
        Corrector(pool, store),
        replacing_sources=frozenset(filter(None, settings.replacing_sources.split(","))),
        hook=fault_hook(settings),
        # One thread: derivation is Python, a second one would only take turns with it.
        executor=ThreadPoolExecutor(max_workers=1, thread_name_prefix="derive"),
    )
    return Parts(
        sealer, store, pool, IndexReader(pool), indexer, VerdictPublisher(settings.redis_url, sealer)
    )


def make_tasks(settings: IndexerSettings) -> Celery:
    """Return the Celery application of the worker's queues. Raises ``Misconfigured``."""
    return make_app(settings.redis_url, [ISOLATE_QUEUE, REPLAY_QUEUE, AMEND_QUEUE])
