"""Celery for work that may lag, with the defaults overruled that would lose it.

What they would do (Celery 5.7, kombu's Redis transport): acknowledge a task that failed or
timed out; hide a dead worker's tasks for an hour; discard a task whose name a worker of the
previous release does not know; wait for ever on a Redis that hangs.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from celery import Celery
from gantry_telemetry.logs import get_logger
from kombu.entity import Queue
from kombu.exceptions import KombuError

from gantry_messaging.connections import TROUBLE
from gantry_messaging.errors import Misconfigured

log = get_logger(__name__)

# Seconds. A task's process is ended before its message is delivered again. There is no soft
# limit: an exception out of a signal handler would leave a task's event loop in pieces.
HARD_LIMIT = 60
VISIBILITY = 120
SOCKET_TIMEOUT = 2.0

_VERSIONED = re.compile(r"[a-z]+\.v[0-9]+")


def make_app(
    redis_url: str,
    queues: Sequence[str],
    *,
    hard_limit: int = HARD_LIMIT,
    visibility: int = VISIBILITY,
) -> Celery:
    """Return a Celery application whose workers take from ``queues``.

    Raises ``Misconfigured`` when a task could still run while its message is delivered a
    second time, or when a queue's name has no version.
    """
    app = Celery("gantry", broker=redis_url)
    app.conf.update(
        task_queues=[Queue(name, routing_key=name) for name in queues],  # type: ignore[no-untyped-call]
        task_default_queue=queues[0],
        task_create_missing_queues=False,
        # Nothing is acknowledged before it is done; a task says by Reject what is to come again.
        task_acks_late=True,
        task_acks_on_failure_or_timeout=False,
        task_reject_on_worker_lost=True,
        task_time_limit=hard_limit,
        task_publish_retry=False,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_send_task_events=False,
        # Whoever can write to Redis must not be able to command the workers.
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=SOCKET_TIMEOUT,
        broker_transport_options={
            "visibility_timeout": visibility,
            "socket_timeout": SOCKET_TIMEOUT,
            "socket_connect_timeout": SOCKET_TIMEOUT,
            "socket_keepalive": True,
            # Of a channel's own connecting, which a publisher waits for; the worker's loop
            # around it goes on for ever.
            "max_retries": 1,
            "interval_start": 0,
            "interval_max": 0.5,
        },
    )
    check_limits(app)
    return app


def check_limits(app: Celery) -> None:
    """Raise ``Misconfigured`` unless the settings of ``app`` keep their promises together."""
    conf = app.conf
    visibility = conf.broker_transport_options["visibility_timeout"]
    if not 0 < conf.task_time_limit < visibility:
        raise Misconfigured(
            f"hard limit {conf.task_time_limit} s < visibility time-out {visibility} s does not hold"
        )
    for queue in conf.task_queues:
        if not _VERSIONED.fullmatch(queue.name):
            raise Misconfigured(f"the queue name {queue.name} has no version")


async def send(app: Celery, queue: str, *args: str | int) -> bool:
    """Send the task named like its ``queue``; returns whether Redis took it. Never raises for Redis.

    The blocking publish runs in a thread and ends within a few seconds.
    """
    try:
        await asyncio.to_thread(
            app.send_task, queue, args=args, queue=queue, routing_key=queue, ignore_result=True, retry=False
        )
    except (KombuError, *TROUBLE) as error:
        log.warning("task_not_sent", queue=queue, error=type(error).__name__)
        return False
    return True
