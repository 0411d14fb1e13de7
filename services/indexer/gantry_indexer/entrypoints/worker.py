"""``python -m gantry_indexer worker``: the Celery worker for what may lag."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import NoReturn

from celery import Celery, signals
from celery.exceptions import Reject, SecurityWarning
from gantry_messaging.celery_app import check_limits
from gantry_messaging.names import AMEND_QUEUE, ISOLATE_QUEUE, REPLAY_QUEUE
from gantry_telemetry import configure
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import flush_traces
from gantry_web.health import HealthServer

from gantry_indexer.adapters.standing import StandingVerdicts
from gantry_indexer.amending import Amending
from gantry_indexer.bootstrap import Parts, make_parts, make_tasks
from gantry_indexer.isolating import Isolating, Next
from gantry_indexer.renewing import Renewing
from gantry_indexer.replaying import Replaying
from gantry_indexer.settings import IndexerSettings

log = get_logger(__name__)

# A task's own limit, below the hard one that ends its process.
TASK_SECONDS = 45.0
# Pause of a worker process after it found database, store or Redis down.
LATER_SECONDS = 2.0


class Workshop:
    """The event loop and the parts of one worker process, made when its first task runs.

    Nothing of it may exist before the fork: connections and threads do not survive one.
    """

    def __init__(self, settings: IndexerSettings, tasks: Celery) -> None:
        self._settings = settings
        self._tasks = tasks
        self._runner: asyncio.Runner | None = None
        self._parts: Parts | None = None

    def isolate(self, body: str) -> None:
        """Run one attempt of the task ``isolate.v1``."""
        self._run(lambda parts: self._isolating(parts).try_alone(body))

    def replay(self, key: str, first: int, count: int) -> None:
        """Run the task ``replay.v1``."""
        self._run(lambda parts: self._replaying(parts).replay(key, first, count))

    def amend(self, key: str) -> None:
        """Run the task ``amend.v1``."""
        self._run(lambda parts: self._amending(parts).amend(key))

    def _run(self, work: Callable[[Parts], Awaitable[Next]]) -> None:
        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            outcome = self._runner.run(self._bounded(work))
        except TimeoutError:
            log.error("task_timed_out", timeout_s=TASK_SECONDS)  # noqa: TRY400 - the place says nothing
            outcome = Next.AGAIN
        except Exception:
            # Celery would drop a task that failed; this one comes again.
            log.exception("task_failed")
            outcome = Next.LATER
        if outcome is not Next.DONE:
            self._come_again(outcome)

    async def _bounded(self, work: Callable[[Parts], Awaitable[Next]]) -> Next:
        if self._parts is None:
            self._parts = make_parts(self._settings)
        async with asyncio.timeout(TASK_SECONDS):
            return await work(self._parts)

    def _come_again(self, outcome: Next) -> NoReturn:
        if outcome is Next.LATER:
            time.sleep(LATER_SECONDS)
        raise Reject(outcome.value, requeue=True)

    def _isolating(self, parts: Parts) -> Isolating:
        return Isolating(parts.indexer, StandingVerdicts(parts.pool), parts.verdicts, parts.sealer)

    def _replaying(self, parts: Parts) -> Replaying:
        return Replaying(parts.indexer, parts.reader, parts.store, parts.sealer, self._tasks)

    def _amending(self, parts: Parts) -> Amending:
        renewing = Renewing(parts.pool, parts.indexer)
        return Amending(parts.pool, parts.store, parts.sealer, self._replaying(parts), renewing)


def make_worker_app(settings: IndexerSettings) -> Celery:
    """Return the Celery application with this service's tasks. Raises ``Misconfigured``."""
    app = make_tasks(settings)
    workshop = Workshop(settings, app)
    app.task(name=ISOLATE_QUEUE)(workshop.isolate)
    app.task(name=REPLAY_QUEUE)(workshop.replay)
    app.task(name=AMEND_QUEUE)(workshop.amend)
    check_limits(app)
    return app


def run(settings: IndexerSettings) -> None:
    """Work until SIGTERM or SIGINT; tasks in hand are finished first."""
    configure("indexer-worker", settings.log_level, settings.otlp_endpoint, settings.trace_share)
    app = make_worker_app(settings)
    # Until Celery takes the signals over, there is nothing to finish.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    # A weak reference would let the handler go at once.
    signals.setup_logging.connect(lambda **_: None, weak=False)
    warnings.filterwarnings("ignore", category=SecurityWarning)
    health = HealthServer(settings.http_host, settings.http_port, ready=lambda: True)
    health.start()
    worker = app.Worker(
        pool_cls="prefork",
        concurrency=settings.worker_processes,
        optimization="fair",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    health.stop()
    flush_traces()
    raise SystemExit(worker.exitcode or 0)
