"""The composition root: the only place where the gateway's parts meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gantry_access.assembly import Access, AccessSettings, make_access
from gantry_commitment.ledger import Ledger
from gantry_commitment.verification import Verifier
from gantry_dicom.gate import GateLimits
from gantry_failures.ledger import FailureLedger
from gantry_index.looks import Looks
from gantry_index.pools import IndexPool, Purpose, open_pool
from gantry_index.reader import IndexReader
from gantry_messaging.publisher import IndexPublisher
from gantry_messaging.study_traces import StudyTraces
from gantry_messaging.verdicts import VerdictListener
from gantry_objectstore.certificates import CertificateLedger
from gantry_objectstore.corrected import CorrectedObjects
from gantry_objectstore.holds import HoldLedger
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import ObjectStore, StoreSettings
from gantry_objectstore.tiers import availabilities, open_tiers, parse_tiers
from gantry_reception.amending import Amender
from gantry_reception.receiver import Receiver
from gantry_reception.settings import ReceiverSettings, SpoolSettings, names_in
from gantry_reception.spool import Spool
from gantry_routing.ledger import JobLedger
from gantry_telemetry import configure
from gantry_telemetry.tracing import flush_traces

from gantry_gateway.adapters.byte_cache import ByteCache
from gantry_gateway.adapters.pixel_workers import PixelWorkers
from gantry_gateway.frames import FrameReader
from gantry_gateway.pictures import PictureMaker
from gantry_gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Components:
    """What the entry points run on; none of it is connected before it is first used."""

    settings: GatewaySettings
    access: Access
    store: ObjectStore
    pool: IndexPool
    index: IndexReader
    looks: Looks
    publisher: IndexPublisher
    verdicts: VerdictListener
    receiver: Receiver
    amender: Amender
    spool: Spool
    # For requests whose instances come as metadata and bulk data.
    metadata_slots: asyncio.Semaphore
    workers: PixelWorkers
    frames: FrameReader
    pictures: PictureMaker
    metadata_cache: ByteCache
    thumbnails: ByteCache
    ledger: Ledger
    verifier: Verifier
    failures: FailureLedger
    route_jobs: JobLedger
    holds: HoldLedger
    certificates: CertificateLedger
    study_traces: StudyTraces
    # Work that goes on after its answer.
    background: set[asyncio.Task[object]]


def build(settings: GatewaySettings) -> Components:
    """Build the parts; must be called on the event loop that will use them."""
    tiers = parse_tiers(settings.tiers, settings.store_id)
    store = CorrectedObjects(
        open_tiers(
            *(settings.store_url, settings.store_id, tiers),
            options=StoreSettings(settings.s3_access_key, settings.s3_secret_key, settings.s3_ca_file),
        )
    )
    sealer = Sealer.from_text(settings.seal_keys)
    publisher = IndexPublisher(settings.redis_url, sealer)
    pool = open_pool(settings.index_dsn, purpose=Purpose.READ, application_name="gantry-gateway")
    workers = PixelWorkers(
        settings.pixel_workers,
        memory_bytes=settings.pixel_worker_memory_bytes,
        seconds=settings.pixel_seconds,
    )
    index = IndexReader(pool, availabilities(tiers, settings.store_id))
    frames = FrameReader(
        store=store,
        workers=workers,
        cache=ByteCache("frames", settings.frame_cache_bytes),
        limits=GateLimits(),
    )
    return Components(
        settings=settings,
        access=make_access(
            AccessSettings(
                "gateway",
                settings.policy,
                settings.redis_url,
                max_age=settings.policy_max_age_seconds,
                log_folder=settings.access_log_folder,
            ),
            store,
            sealer,
        ),
        store=store,
        pool=pool,
        index=index,
        looks=Looks(pool),
        publisher=publisher,
        verdicts=VerdictListener(settings.redis_url, sealer),
        receiver=Receiver(
            store,
            sealer,
            publisher,
            ReceiverSettings(
                lease_seconds=settings.lease_seconds,
                store_id=settings.store_id,
                live_burst=settings.live_burst,
                bulk_sources=names_in(settings.bulk_sources),
            ),
        ),
        amender=Amender(store, sealer, index, settings.redis_url, wait_seconds=settings.verdict_seconds),
        spool=Spool(
            SpoolSettings(
                memory_bytes=settings.spool_memory_bytes,
                disk_bytes=settings.spool_bytes,
                folder=settings.spool_folder or None,
            )
        ),
        metadata_slots=asyncio.Semaphore(settings.stow_metadata_parallel),
        workers=workers,
        frames=frames,
        pictures=PictureMaker(frames, frames.cache),
        metadata_cache=ByteCache("metadata", settings.metadata_cache_bytes),
        thumbnails=ByteCache("thumbnails", settings.thumbnail_cache_bytes),
        ledger=Ledger(store, sealer),
        verifier=Verifier(store, index),
        failures=FailureLedger(store, sealer),
        route_jobs=JobLedger(store, sealer),
        holds=HoldLedger(store, sealer),
        certificates=CertificateLedger(store, sealer),
        study_traces=StudyTraces(settings.redis_url, enabled=settings.otlp_endpoint is not None),
        background=set(),
    )


@asynccontextmanager
async def running(settings: GatewaySettings) -> AsyncIterator[Components]:
    """Build the parts, start what listens, and close everything in order at the end."""
    configure("gateway", settings.log_level, settings.otlp_endpoint, settings.trace_share)
    parts = build(settings)
    await parts.access.start()
    await parts.verdicts.start()
    try:
        yield parts
    finally:
        # First the batch in hand gets its manifest; the rest may go in any order.
        await parts.receiver.close()
        for task in parts.background:
            task.cancel()
        await parts.access.close()
        await parts.verdicts.close()
        await parts.publisher.close()
        await parts.looks.close()
        await parts.study_traces.close()
        await parts.pool.close()
        parts.workers.close()
        parts.pictures.close()
        await parts.store.close()
        flush_traces()
