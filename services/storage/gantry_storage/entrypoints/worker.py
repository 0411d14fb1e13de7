"""``python -m gantry_storage worker``: the sweeper and what else goes on for ever."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta

import uvloop
from gantry_access.snapshots import forget_old_snapshots
from gantry_objectstore.administration import prepare_store, sweep_unfinished
from gantry_objectstore.tiers import stores_of
from gantry_telemetry import configure
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import flush_traces
from gantry_web.health import HealthServer

from gantry_storage.bootstrap import Parts, make_parts
from gantry_storage.capacity import CapacitySettings
from gantry_storage.entrypoints.bucket import watch_bucket
from gantry_storage.instruments import LEFTOVERS, SNAPSHOTS
from gantry_storage.loops import is_ours, repeat
from gantry_storage.retention.settings import RetentionSettings
from gantry_storage.settings import BucketSettings, StorageSettings

log = get_logger(__name__)

LEFTOVERS_SECONDS = 3600.0
SNAPSHOTS_SECONDS = 3600.0
FAILURES_SECONDS = 3600.0
JOBS_SECONDS = 3600.0
# So long the note of a routing job may be there before the job is.
JOB_NOTE_SECONDS = 3600.0
WATCH_SECONDS = 15.0
# So long an old policy snapshot can still be looked at, for who asks why something was allowed.
SNAPSHOTS_KEPT = timedelta(days=1)


def run(settings: StorageSettings) -> None:
    """Work until SIGTERM or SIGINT; whatever is cut off is done again by the next process."""
    configure("storage", settings.log_level, settings.otlp_endpoint, settings.trace_share)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(settings))
    flush_traces()


async def _work(settings: StorageSettings) -> None:
    parts, bucket, retention = make_parts(settings), BucketSettings(), RetentionSettings()
    capacity = CapacitySettings()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    health = HealthServer(settings.http_host, settings.http_port, ready=lambda: True)
    health.start()
    loops = [
        asyncio.create_task(repeat("sweep", settings.sweep_seconds, lambda: sweep(parts))),
        asyncio.create_task(repeat("finish", settings.sweep_seconds, lambda: finish(parts))),
        asyncio.create_task(repeat("amend", settings.sweep_seconds, lambda: amend(parts))),
        asyncio.create_task(repeat("commit", settings.sweep_seconds, lambda: commit(parts))),
        asyncio.create_task(repeat("leftovers", LEFTOVERS_SECONDS, lambda: clear_leftovers(parts))),
        asyncio.create_task(
            repeat("failures", FAILURES_SECONDS, lambda: clear_failures(parts, settings.failures_kept_days))
        ),
        asyncio.create_task(repeat("routes", settings.sweep_seconds, lambda: close_routes(parts))),
        asyncio.create_task(
            repeat("jobs", JOBS_SECONDS, lambda: clear_jobs(parts, settings.route_jobs_kept_days))
        ),
        asyncio.create_task(repeat("snapshots", SNAPSHOTS_SECONDS, lambda: clear_snapshots(parts))),
        asyncio.create_task(repeat("scrub", settings.scrub_seconds, lambda: scrub(parts))),
        asyncio.create_task(repeat("recount", settings.scrub_seconds, lambda: recount(parts))),
        asyncio.create_task(repeat("watch", WATCH_SECONDS, lambda: watch(parts))),
        asyncio.create_task(
            repeat(
                "bucket", bucket.bucket_check_seconds, lambda: watch_bucket(stores_of(parts.store)[0], bucket)
            )
        ),
        asyncio.create_task(repeat("serve", settings.request_seconds, lambda: serve(parts))),
        asyncio.create_task(repeat("retain", retention.run_seconds, lambda: retain(parts))),
        asyncio.create_task(repeat("move", retention.run_seconds, lambda: move(parts))),
        asyncio.create_task(repeat("resume", retention.resume_seconds, lambda: resume_purges(parts))),
        asyncio.create_task(repeat("capacity", capacity.fold_seconds, lambda: keep_capacity(parts))),
        asyncio.create_task(repeat("hold", retention.resume_seconds, lambda: lock_held(parts))),
    ]
    log.info("storage_started")
    await stopping.wait()
    for task in loops:
        task.cancel()
    await asyncio.wait(loops)
    await parts.close()
    health.stop()
    log.info("storage_stopped")


async def sweep(parts: Parts) -> None:
    """Write the manifests that are due, also while PostgreSQL and Redis are down."""
    if await is_ours(parts.lock):
        await parts.sweeper.sweep()


async def finish(parts: Parts) -> None:
    """Feed what has no verdict and let go of the journal entries that are done."""
    if await is_ours(parts.lock):
        await parts.finishing.run_once()


async def amend(parts: Parts) -> None:
    """Ask for the amendments that the index does not have."""
    if await is_ours(parts.lock):
        await parts.amendments.sweep()


async def commit(parts: Parts) -> None:
    """Verify the commitments that nobody carries on."""
    if await is_ours(parts.lock):
        await parts.commitments.sweep()


async def clear_leftovers(parts: Parts) -> None:
    """See to the bucket's settings and clear away uploads that never ended."""
    await prepare_store(parts.store)
    LEFTOVERS.inc(await sweep_unfinished(parts.store))


async def close_routes(parts: Parts) -> None:
    """Forget the notes of routing jobs that have ended."""
    if await is_ours(parts.lock):
        await parts.route_jobs.forget_notes(JOB_NOTE_SECONDS)


async def clear_jobs(parts: Parts, kept_days: float) -> None:
    """Delete routing jobs that ended long ago."""
    if await is_ours(parts.lock):
        await parts.route_jobs.forget_jobs(timedelta(days=kept_days).total_seconds())


async def clear_failures(parts: Parts, kept_days: float) -> None:
    """Forget the records of failed associations that are too old."""
    if await is_ours(parts.lock):
        await parts.failures.forget(timedelta(days=kept_days))


async def clear_snapshots(parts: Parts) -> None:
    """Clear away policy snapshots that newer ones replaced long ago."""
    if await is_ours(parts.lock):
        older_than = await parts.store.now() - SNAPSHOTS_KEPT
        SNAPSHOTS.inc(await forget_old_snapshots(parts.store, older_than=older_than))


async def scrub(parts: Parts) -> None:
    """Read again what is due."""

    async def is_still_ours() -> bool:
        return await is_ours(parts.lock)

    await parts.scrubbing.turn(is_still_ours)


async def recount(parts: Parts) -> None:
    """Compare the numbers of studies with a recount."""
    if await is_ours(parts.lock):
        await parts.watching.recount()


async def watch(parts: Parts) -> None:
    """Set the gauges of findings and quarantine, in the process that sweeps."""
    if await is_ours(parts.lock):
        await parts.watching.count()
        await parts.serving.forget()


async def serve(parts: Parts) -> None:
    """Do what administrators ask for."""
    if await is_ours(parts.lock):
        await parts.serving.turn()


async def retain(parts: Parts) -> None:
    """Carry out the retention policies, if there are any; what destroys goes on in one process only."""
    if parts.retention.runs and await parts.lock.hold():
        await parts.retention.planner.run()


async def move(parts: Parts) -> None:
    """Move what the retention file says is cold, and let go of what earlier moves left behind."""
    if await parts.lock.hold():
        await parts.retention.mover.let_go()
        if parts.retention.runs:
            await parts.retention.moves.run()


async def resume_purges(parts: Parts) -> None:
    """Take up purges that were interrupted."""
    if await parts.lock.hold():
        await parts.retention.purging.resume()


async def lock_held(parts: Parts) -> None:
    """Set holds on the objects themselves where the bucket can."""
    if await is_ours(parts.lock):
        await parts.retention.locks.run_once()


async def keep_capacity(parts: Parts) -> None:
    """Bring the sums of what is stored, and the gauges, up to date."""
    if await is_ours(parts.lock):
        await parts.capacity.turn()
