"""The Celery application's overruled defaults."""

from __future__ import annotations

import time

import pytest
from gantry_messaging.celery_app import check_limits, make_app, send
from gantry_messaging.connections import connect
from gantry_messaging.errors import Misconfigured
from gantry_messaging.names import ISOLATE_QUEUE, REPLAY_QUEUE

QUEUES = [ISOLATE_QUEUE, REPLAY_QUEUE]


def test_nothing_is_acknowledged_before_it_is_done(redis_url):
    conf = make_app(redis_url, QUEUES).conf
    assert conf.task_acks_late
    assert not conf.task_acks_on_failure_or_timeout
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert not conf.worker_enable_remote_control
    assert conf.accept_content == ["json"]


@pytest.mark.parametrize(("hard", "visibility"), [(60, 60), (120, 90), (0, 120)])
def test_a_task_may_not_outlive_its_invisibility(redis_url, hard, visibility):
    with pytest.raises(Misconfigured):
        make_app(redis_url, QUEUES, hard_limit=hard, visibility=visibility)


def test_the_limits_are_those_of_the_running_configuration(redis_url):
    app = make_app(redis_url, QUEUES)
    app.conf.task_time_limit = 600
    with pytest.raises(Misconfigured):
        check_limits(app)


@pytest.mark.parametrize("name", ["isolate", "isolate.v", "Isolate.v1", "isolate.v1x"])
def test_a_queue_name_has_a_version(redis_url, name):
    with pytest.raises(Misconfigured):
        make_app(redis_url, [name])


async def test_a_sent_task_lies_in_its_own_queue(redis_url):
    assert await send(make_app(redis_url, QUEUES), ISOLATE_QUEUE, "body", 3)
    async with connect(redis_url) as redis:
        assert await redis.llen(ISOLATE_QUEUE) == 1
        assert await redis.llen(REPLAY_QUEUE) == 0


async def test_sending_without_redis_ends_soon_with_a_no(free_port):
    app = make_app(f"redis://127.0.0.1:{free_port}/0", QUEUES)
    began = time.monotonic()
    assert not await send(app, ISOLATE_QUEUE, "body")
    assert time.monotonic() - began < 6
