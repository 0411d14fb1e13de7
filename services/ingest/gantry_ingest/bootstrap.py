"""The composition root: the only place where ingest's parts meet."""

from __future__ import annotations

from dataclasses import dataclass

from gantry_reception.threaded import ThreadedReceiver
from gantry_telemetry import configure

from gantry_ingest.settings import IngestSettings
from gantry_ingest.store import StoreService


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What a worker process runs on."""

    settings: IngestSettings
    receiver: ThreadedReceiver
    store_service: StoreService


def configure_process(settings: IngestSettings) -> None:
    """Set up logs and traces; pynetdicom's own logging is silenced, it prints identifiers."""
    configure("ingest", settings.log_level, settings.otlp_endpoint)


def build_worker(settings: IngestSettings) -> WorkerParts:
    """Build a worker's parts; connects to nothing, so that a worker starts in an outage."""
    raise NotImplementedError
