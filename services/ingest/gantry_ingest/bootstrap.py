"""The composition root: the only place where ingest's parts meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gantry_access.assembly import Access, AccessSettings, make_access
from gantry_commitment.ledger import Ledger
from gantry_commitment.verification import Verifier
from gantry_dicom.errors import Unavailable
from gantry_failures.ledger import FailureLedger
from gantry_index.locks import COMMITMENT_REPORTS, AdvisoryLock
from gantry_index.looks import Looks
from gantry_index.pools import IndexPool, Purpose, open_pool
from gantry_index.reader import IndexReader
from gantry_messaging.events import EventPublisher
from gantry_messaging.publisher import IndexPublisher
from gantry_messaging.verdicts import VerdictListener
from gantry_objectstore.corrected import CorrectedObjects
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import ObjectStore, StoreSettings
from gantry_objectstore.tiers import availabilities, open_tiers, parse_tiers
from gantry_reception.receiver import Receiver
from gantry_reception.settings import ReceiverSettings, SpoolSettings, names_in
from gantry_reception.spool import Spool
from gantry_telemetry import configure

from gantry_ingest.committing import CommitmentTimes, Committing
from gantry_ingest.destinations import Destinations
from gantry_ingest.failing import FailureSpool
from gantry_ingest.identity import Identities
from gantry_ingest.querying import Querying, make_querying
from gantry_ingest.reporting import Reporter, ReportLoop
from gantry_ingest.settings import IngestSettings
from gantry_ingest.settling import Settling
from gantry_ingest.store import StoreService
from gantry_ingest.transfers import Transfers


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What a worker process runs on."""

    receiver: Receiver
    access: Access
    spool: Spool
    store_service: StoreService
    settling: Settling
    transfers: Transfers
    identities: Identities
    failures: FailureSpool
    committing: Committing
    reports: ReportLoop
    querying: Querying
    pool: IndexPool
    lock: AdvisoryLock

    async def close(self) -> None:
        """Close what keeps records, the batch first."""
        await self.receiver.close()
        await self.transfers.close()
        await self.committing.close()
        await self.failures.write()
        await self.access.close()
        self.querying.close()
        await self.lock.release()
        await self.pool.close()


def configure_process(settings: IngestSettings) -> None:
    """Set up logs and traces of a process."""
    configure("ingest", settings.log_level, settings.otlp_endpoint, settings.trace_share)


async def build_worker(settings: IngestSettings) -> WorkerParts:
    """Build a worker's parts; waits for no server, so that a worker starts in an outage."""
    sealer = Sealer.from_text(settings.seal_keys)
    verdicts = VerdictListener(settings.redis_url, sealer)

    tiers = parse_tiers(settings.tiers, settings.store_id)

    def open_objects() -> ObjectStore:
        options = StoreSettings(settings.s3_access_key, settings.s3_secret_key, settings.s3_ca_file)
        return CorrectedObjects(open_tiers(settings.store_url, settings.store_id, tiers, options=options))

    receiver = Receiver(
        open_objects(),
        sealer,
        IndexPublisher(settings.redis_url, sealer),
        ReceiverSettings(
            lease_seconds=settings.lease_seconds,
            store_id=settings.store_id,
            publish_interval=settings.index_interval_seconds,
            live_burst=settings.live_burst,
            bulk_sources=names_in(settings.bulk_sources),
        ),
    )
    access = await _start_access(settings, open_objects, sealer)
    await verdicts.start()
    spool = SpoolSettings(
        memory_bytes=settings.memory_bytes,
        disk_bytes=settings.spool_bytes,
        folder=settings.spool_folder or None,
    )
    objects = open_objects()
    pool = open_pool(settings.index_dsn, purpose=Purpose.READ, application_name="gantry-ingest")
    ledger = Ledger(objects, sealer)
    lock = AdvisoryLock(settings.index_dsn, COMMITMENT_REPORTS)
    reporter = Reporter(ledger, Destinations(access, settings.named_destinations()).find)
    return WorkerParts(
        receiver,
        access,
        Spool(spool),
        StoreService(receiver, access, settings.gate_limits(), lambda: verdicts.reply_to),
        Settling(verdicts, receiver.hurry, seconds=settings.settle_seconds),
        Transfers(EventPublisher(settings.redis_url, sealer)),
        Identities(access, settings.user_identity_token_url, required=settings.user_identity_required),
        FailureSpool(FailureLedger(objects, sealer)),
        Committing(
            access,
            ledger,
            Verifier(objects, IndexReader(pool)),
            reporter,
            CommitmentTimes(patience=settings.commitment_patience_seconds),
        ),
        ReportLoop(reporter, settings.commitment_give_up_days, partial(_is_ours, lock)),
        make_querying(
            settings,
            access,
            objects,
            IndexReader(pool, availabilities(tiers, settings.store_id)),
            Looks(pool),
        ),
        pool,
        lock,
    )


async def _is_ours(lock: AdvisoryLock) -> bool:
    """Whether this process brings reports: it holds the lock, or nobody can."""
    try:
        return await lock.hold()
    except Unavailable:
        return True  # two at once do no harm


async def _start_access(
    settings: IngestSettings, open_objects: Callable[[], ObjectStore], sealer: Sealer
) -> Access:
    access = make_access(
        AccessSettings(
            "ingest",
            settings.policy,
            settings.redis_url,
            max_age=settings.policy_max_age_seconds,
            log_folder=settings.access_log_folder,
        ),
        open_objects(),
        sealer,
    )
    await access.start()
    return access
