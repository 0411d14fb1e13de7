"""What waits on the index streams is seen from aside, and so is a Redis that does not answer."""

from __future__ import annotations

import time

from gantry_messaging.names import INDEX_BULK, INDEX_LIVE
from gantry_messaging.stream_watch import DEPTH, OLDEST, REACHABLE, StreamWatch
from redis import Redis


def value(gauge, *labels):
    return (gauge.labels(*labels) if labels else gauge)._value.get()


async def test_depth_and_age_of_each_stream_are_shown(redis_url):
    client = Redis.from_url(redis_url)
    for age in (90, 30):
        client.xadd(INDEX_LIVE, {"m": b"x"}, id=f"{int((time.time() - age) * 1000)}-0")
    watch = StreamWatch(redis_url)
    await watch.look()
    assert value(DEPTH, INDEX_LIVE) == 2
    assert 85 < value(OLDEST, INDEX_LIVE) < 120
    assert value(DEPTH, INDEX_BULK) == value(OLDEST, INDEX_BULK) == 0
    assert value(REACHABLE) == 1


async def test_a_redis_that_does_not_answer_is_shown(free_port):
    await StreamWatch(f"redis://127.0.0.1:{free_port}").look()
    assert value(REACHABLE) == 0
