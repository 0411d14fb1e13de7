"""The composition root: the only place where the service's parts meet."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gantry_access.audit import AccessLog, AuditSettings
from gantry_index.locks import AdvisoryLock
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import StoreSettings, open_store
from gantry_telemetry import configure
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import flush_traces

from gantry_auth.adapters.database import Database
from gantry_auth.audit_index import AUDIT_INDEX_LOCK, AuditIndex
from gantry_auth.keys import KeyVault
from gantry_auth.publishing import Publisher
from gantry_auth.service import Service
from gantry_auth.settings import AuthSettings
from gantry_auth.upkeep import federate_for_ever, tend_for_ever

log = get_logger(__name__)

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the entry points run on; none of it is connected before it is first used."""

    service: Service
    store: ObjectStore
    publisher: Publisher
    audit: AuditIndex
    # Binds a form to the browser that it was given to.
    form_key: bytes


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def build(settings: AuthSettings, clock: Clock = now) -> Parts:
    """Build the parts; must be called on the event loop that will use them."""
    store = open_store(
        settings.store_url,
        options=StoreSettings(settings.s3_access_key, settings.s3_secret_key, settings.s3_ca_file),
    )
    sealer = Sealer.from_text(settings.seal_keys)
    database = Database(settings.core_dsn)
    records = None
    if settings.access_log_folder:
        records = AccessLog("auth", store, sealer, AuditSettings(Path(settings.access_log_folder)))
    return Parts(
        service=Service(settings, database, KeyVault(settings.seal_keys), clock, records),
        store=store,
        publisher=Publisher(settings, database, store, sealer, clock),
        audit=AuditIndex(
            database,
            store,
            sealer,
            AdvisoryLock(settings.core_dsn, AUDIT_INDEX_LOCK),
            clock,
            settings.audit_index_seconds,
        ),
        # Of every replica alike: the page may come from one and the form go to another.
        form_key=hmac.digest(settings.seal_keys.encode(), b"gantry auth forms", "sha256"),
    )


@asynccontextmanager
async def running(settings: AuthSettings, clock: Clock = now) -> AsyncIterator[Parts]:
    """Build the parts, start what goes on by itself, and close everything in order at the end."""
    configure("auth", settings.log_level, settings.otlp_endpoint, settings.trace_share)
    parts = build(settings, clock)
    service = parts.service
    if not settings.is_https:
        log.warning("issuer_not_encrypted", url=settings.issuer)
    service.database.open()
    if service.log is not None:
        await service.log.start()
    loops = [
        asyncio.create_task(work)
        for work in (
            tend_for_ever(service),
            federate_for_ever(service),
            parts.publisher.run(),
            parts.audit.run(),
        )
    ]
    try:
        yield parts
    finally:
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await parts.audit.lock.release()
        if service.log is not None:
            await service.log.close()
        await asyncio.to_thread(service.database.close)
        await parts.store.close()
        flush_traces()
