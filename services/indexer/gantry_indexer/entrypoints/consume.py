"""``python -m gantry_indexer consume``: the stream consumer and the event relay."""

from __future__ import annotations

import asyncio
import signal

import uvloop
from gantry_index.outbox import OutboxTable
from gantry_messaging.consumer import ConsumerLimits, IndexConsumer
from gantry_messaging.outbox import OutboxRelay
from gantry_messaging.stream_watch import StreamWatch
from gantry_telemetry import configure
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import flush_traces
from gantry_web.health import HealthServer

from gantry_indexer.bootstrap import make_parts, make_tasks
from gantry_indexer.consuming import Consuming
from gantry_indexer.settings import IndexerSettings

log = get_logger(__name__)


def run(settings: IndexerSettings) -> None:
    """Consume until SIGTERM or SIGINT; the chunk in hand is finished first."""
    configure("indexer", settings.log_level, settings.otlp_endpoint, settings.trace_share)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_consume(settings))
    flush_traces()


async def _consume(settings: IndexerSettings) -> None:
    parts = make_parts(settings)
    outbox = OutboxTable(settings.index_dsn)
    relay = OutboxRelay(outbox, settings.redis_url, parts.sealer)
    limits = ConsumerLimits(
        batch=settings.chunk,
        dead_after=settings.dead_after_seconds,
        claim_every=min(10.0, settings.dead_after_seconds / 3),
    )
    health = HealthServer(settings.http_host, settings.http_port, ready=lambda: True)
    async with IndexConsumer(settings.redis_url, parts.sealer, limits) as consumer:
        consuming = Consuming(
            consumer,
            parts.indexer,
            parts.reader,
            parts.verdicts,
            relay,
            make_tasks(settings),
            parts.sealer,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, consuming.stop)
        health.start()
        log.info("indexer_started", workers=1)
        aside = [
            asyncio.create_task(relay.run()),
            asyncio.create_task(StreamWatch(settings.redis_url).run()),
        ]
        try:
            await consuming.run()
        finally:
            for task in aside:
                task.cancel()
            await asyncio.wait(aside)
            await relay.close()
            await outbox.close()
            await parts.close()
            health.stop()
            log.info("indexer_stopped")
