"""The composition root: the only place where ingest's parts meet."""

from __future__ import annotations

from dataclasses import dataclass

from gantry_access.policy import POLICIES
from gantry_dicom.gate import GateLimits
from gantry_messaging.publisher import IndexPublisher
from gantry_messaging.verdicts import VerdictListener
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import StoreSettings, open_store
from gantry_reception.receiver import Receiver
from gantry_reception.settings import ReceiverSettings
from gantry_reception.threads import ThreadedReceiver
from gantry_telemetry import configure

from gantry_ingest.settings import IngestSettings
from gantry_ingest.settling import Settling
from gantry_ingest.store import StoreService


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What a worker process runs on."""

    receiver: ThreadedReceiver
    store_service: StoreService
    settling: Settling


def configure_process(settings: IngestSettings) -> None:
    """Set up logs and traces of a process."""
    configure("ingest", settings.log_level, settings.otlp_endpoint)


def build_worker(settings: IngestSettings) -> WorkerParts:
    """Build a worker's parts; connects to nothing, so that a worker starts in an outage."""
    sealer = Sealer.from_text(settings.seal_keys)
    verdicts = VerdictListener(settings.redis_url, sealer)

    def make() -> Receiver:
        store = open_store(
            settings.store_url,
            options=StoreSettings(access_key=settings.s3_access_key, secret_key=settings.s3_secret_key),
        )
        return Receiver(
            store,
            sealer,
            IndexPublisher(settings.redis_url, sealer),
            ReceiverSettings(lease_seconds=settings.lease_seconds, store_id=settings.store_id),
        )

    receiver = ThreadedReceiver(make).start()
    receiver.run(verdicts.start())
    return WorkerParts(
        receiver,
        StoreService(receiver, POLICIES[settings.policy], GateLimits(), lambda: verdicts.reply_to),
        Settling(verdicts, receiver.run, seconds=settings.settle_seconds),
    )
