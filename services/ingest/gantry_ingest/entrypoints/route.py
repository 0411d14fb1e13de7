"""``python -m gantry_ingest route``: sends on what has arrived, by the rules of a file."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import uvloop
from gantry.events.v1.events_pb2 import EVENT_KIND_STUDY_COMPLETE, EVENT_KIND_TRANSFER_ENDED, IndexEvent
from gantry.routing.v1.routing_pb2 import Completion
from gantry_dicom.errors import BadRequest, Unavailable
from gantry_imaging.workers import PixelWorkers
from gantry_index.locks import ROUTER, AdvisoryLock
from gantry_index.pools import Purpose, open_pool
from gantry_index.reader import IndexReader
from gantry_messaging.events import EventPublisher, EventReader
from gantry_objectstore.corrected import CorrectedObjects
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import StoreSettings
from gantry_objectstore.tiers import open_tiers, parse_tiers
from gantry_routing.ledger import JobLedger
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import flush_traces
from gantry_web.health import HealthServer
from gantry_web.lifeline import end_with_parent

from gantry_ingest.bootstrap import configure_process
from gantry_ingest.routing.delivering import Deliverer
from gantry_ingest.routing.episodes import Episode
from gantry_ingest.routing.manifests import ManifestWatcher
from gantry_ingest.routing.router import Router
from gantry_ingest.routing.rules import Routes, parse_routes
from gantry_ingest.sending import InstanceSender
from gantry_ingest.settings import IngestSettings
from gantry_ingest.transcoding import Transcoder

log = get_logger(__name__)


def run(settings: IngestSettings) -> None:
    """Route until SIGTERM or SIGINT; whatever is cut off is gone on with by the next process."""
    configure_process(settings)
    routes = read_routes(settings.routes_file)
    uvloop.run(_serve(settings, routes))
    flush_traces()


def read_routes(file: str) -> Routes:
    """Return the routes of ``GANTRY_ROUTES_FILE``. Raises ``BadRequest``."""
    try:
        return parse_routes(Path(file).read_text())
    except OSError as error:
        raise BadRequest(f"the routes cannot be read: {error.strerror}") from error


async def _serve(settings: IngestSettings, routes: Routes) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    sealer = Sealer.from_text(settings.seal_keys)
    options = StoreSettings(settings.s3_access_key, settings.s3_secret_key, settings.s3_ca_file)
    tiers = parse_tiers(settings.tiers, settings.store_id)
    store = CorrectedObjects(open_tiers(settings.store_url, settings.store_id, tiers, options=options))
    pool = open_pool(settings.index_dsn, purpose=Purpose.READ, application_name="gantry-router")
    events = EventPublisher(settings.redis_url, sealer)
    workers = PixelWorkers(
        settings.pixel_workers,
        memory_bytes=settings.pixel_worker_memory_bytes,
        seconds=settings.pixel_seconds,
        prepare=partial(end_with_parent, partial(os._exit, 1)),
    )
    slots = asyncio.Semaphore(2 * settings.pixel_workers)
    sender = InstanceSender(store, Transcoder(store, workers, settings.spool_folder or None, slots))
    router = Router(
        routes,
        ManifestWatcher(store, sealer, timedelta(hours=settings.routes_look_back_hours)),
        JobLedger(store, sealer),
        IndexReader(pool),
        Deliverer(sender, store, settings.move_connect_seconds),
        partial(_announce, events),
    )
    hints = EventReader(settings.redis_url, sealer)
    lock = AdvisoryLock(settings.index_dsn, ROUTER)
    health = HealthServer(settings.http_host, settings.http_port, ready=lambda: True)
    health.start()
    loops = [
        asyncio.create_task(_repeat("look", router.look, settings.routes_seconds, lock)),
        asyncio.create_task(_repeat("work", router.work, settings.routes_seconds, lock)),
        # It waits by itself for what is next.
        asyncio.create_task(_repeat("listen", partial(_listen, hints, router), 0.0)),
    ]
    log.info("router_started", count=len(routes.rules))
    await stopping.wait()
    for task in loops:
        task.cancel()
    await asyncio.wait(loops)
    workers.close()
    await events.close()
    await hints.close()
    await lock.release()
    await pool.close()
    await store.close()
    health.stop()
    log.info("router_stopped")


async def _announce(events: EventPublisher, episode: Episode, completion: Completion) -> None:
    sop_uids = sorted(set().union(*episode.series.values()))
    await events.publish(
        IndexEvent(
            kind=EVENT_KIND_STUDY_COMPLETE,
            partition=episode.partition,
            study_instance_uid=episode.study_uid,
            sop_instance_uids=sop_uids,
            occurred_at_us=completion.last_received_at_us + completion.quiet_us,
            completion=completion,
        )
    )


async def _listen(hints: EventReader, router: Router) -> None:
    """Tell the router which associations have ended."""
    for event in await hints.next():
        if event.kind == EVENT_KIND_TRANSFER_ENDED:
            router.arrivals.transfer_ended(
                event.partition, event.study_instance_uid, event.occurred_at_us, released=event.released
            )


async def _repeat(
    task: str, work: Callable[[], Awaitable[None]], seconds: float, lock: AdvisoryLock | None = None
) -> None:
    """Call ``work`` again and again, with a ``lock`` while it is ours; a failure costs a turn only."""
    while True:
        try:
            if lock is None or await lock.hold():
                await work()
        except Unavailable as error:
            log.warning("turn_missed", task=task, reason=error.detail)
        except Exception:
            log.exception("turn_failed", task=task)
        await asyncio.sleep(seconds)
