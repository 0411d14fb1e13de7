"""Publisher and consumer of the index streams against a real Valkey."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from contextlib import asynccontextmanager

import pytest
from gantry.reception.v1.reception_pb2 import Lane
from gantry_messaging.connections import connect
from gantry_messaging.consumer import ConsumerLimits, IndexConsumer
from gantry_messaging.names import BODY, INDEX_BULK, INDEX_GROUP, INDEX_LIVE, INDEX_REPLAY
from gantry_messaging.publisher import IndexPublisher, PublisherLimits

QUICK = ConsumerLimits(block=0.1, dead_after=0.6, claim_every=0.1)


@asynccontextmanager
async def publishing(redis_url, seals, **limits):
    publisher = IndexPublisher(redis_url, seals, PublisherLimits(**limits))
    try:
        yield publisher
    finally:
        await publisher.close()


async def take(consumer, count):
    taken = []
    deadline = time.monotonic() + 10
    while len(taken) < count:
        assert time.monotonic() < deadline, f"only {len(taken)} of {count} entries came"
        taken += await consumer.next_batch()
    return taken


def ordinals(entries):
    return [entry.request.reception.ordinal for entry in entries]


async def test_a_published_request_reaches_the_consumer_unchanged(redis_url, seals, make_request):
    request = make_request(7, header=500, reply_to="verdicts.x")
    request.traceparent = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    async with publishing(redis_url, seals) as publisher, IndexConsumer(redis_url, seals, QUICK) as consumer:
        assert await publisher.publish("main", [request])
        (entry,) = await take(consumer, 1)
    assert entry.request == request
    assert not entry.claimed
    assert abs(entry.queued_at - time.time()) < 10


async def test_what_is_done_leaves_the_stream(redis_url, seals, make_request):
    async with publishing(redis_url, seals) as publisher, IndexConsumer(redis_url, seals, QUICK) as consumer:
        await publisher.publish("main", [make_request(n) for n in range(5)])
        await consumer.done(await take(consumer, 5))
    async with connect(redis_url) as redis:
        assert await redis.xlen(INDEX_LIVE) == 0
        assert (await redis.xpending(INDEX_LIVE, INDEX_GROUP))["pending"] == 0


async def test_concurrent_publishers_lose_and_double_nothing(redis_url, seals, make_request):
    async with publishing(redis_url, seals) as publisher, IndexConsumer(redis_url, seals, QUICK) as consumer:
        answers = await asyncio.gather(*(publisher.publish("main", [make_request(n)]) for n in range(300)))
        assert all(answers)
        assert sorted(ordinals(await take(consumer, 300))) == list(range(300))


async def test_two_consumers_share_the_entries(redis_url, seals, make_request):
    async with (
        publishing(redis_url, seals) as publisher,
        IndexConsumer(redis_url, seals, QUICK) as one,
        IndexConsumer(redis_url, seals, QUICK) as other,
    ):
        await publisher.publish("main", [make_request(n) for n in range(200)])
        taken = []
        deadline = time.monotonic() + 10
        while len(taken) < 200 and time.monotonic() < deadline:
            for consumer in (one, other):
                batch = await consumer.next_batch()
                taken += ordinals(batch)
                await consumer.done(batch)
    assert sorted(taken) == list(range(200))


async def test_live_goes_first_and_the_others_keep_a_floor(redis_url, seals, make_request):
    async with publishing(redis_url, seals) as publisher, IndexConsumer(redis_url, seals, QUICK) as consumer:
        await consumer.next_batch()
        for lane in (Lane.LANE_REPLAY, Lane.LANE_BULK, Lane.LANE_LIVE):
            await publisher.publish("main", [make_request(n, lane) for n in range(100)])
        batch = await consumer.next_batch()
    streams = [entry.stream for entry in batch]
    assert streams.count(INDEX_LIVE) == 56
    assert streams.count(INDEX_BULK) == 6
    assert streams.count(INDEX_REPLAY) == 2


async def test_an_import_alone_fills_whole_batches(redis_url, seals, make_request):
    async with publishing(redis_url, seals) as publisher, IndexConsumer(redis_url, seals, QUICK) as consumer:
        await consumer.next_batch()
        await publisher.publish("main", [make_request(n, Lane.LANE_BULK) for n in range(100)])
        assert len(await consumer.next_batch()) == QUICK.batch


async def test_headers_travel_only_while_the_stream_is_short(redis_url, seals, make_request):
    async with (
        publishing(redis_url, seals, headers_below=3, depth_age=0.0, header_bytes=1000) as publisher,
        IndexConsumer(redis_url, seals, QUICK) as consumer,
    ):
        await publisher.publish("main", [make_request(0, header=2000)])
        for n in range(1, 6):
            await publisher.publish("main", [make_request(n, header=100)])
        taken = await take(consumer, 6)
    assert [entry.request.HasField("header") for entry in taken] == [False, True, True, False, False, False]


async def test_nothing_is_published_beyond_the_depth(redis_url, seals, make_request):
    async with publishing(redis_url, seals, depth=3, depth_age=0.0) as publisher:
        answers = [await publisher.publish("main", [make_request(n)]) for n in range(5)]
        # Another lane has its own depth.
        assert await publisher.publish("main", [make_request(9, Lane.LANE_BULK)])
    assert answers == [True, True, True, False, False]


async def test_a_redis_that_is_down_costs_no_exception_and_then_no_time(seals, make_request, free_port):
    async with publishing(f"redis://127.0.0.1:{free_port}/0", seals) as publisher:
        assert not await publisher.publish("main", [make_request(1)])
        began = time.monotonic()
        for n in range(200):
            assert not await publisher.publish("main", [make_request(n)])
        assert time.monotonic() - began < 0.5


async def test_a_redis_that_hangs_costs_one_second_once(seals, make_request):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with publishing(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", seals) as publisher:
            began = time.monotonic()
            assert not await publisher.publish("main", [make_request(1)])
            assert 0.8 < time.monotonic() - began < 2.5
            began = time.monotonic()
            answers = await asyncio.gather(*(publisher.publish("main", [make_request(n)]) for n in range(50)))
            assert not any(answers)
            assert time.monotonic() - began < 0.5


async def test_publishing_resumes_when_redis_answers_again(
    valkey_server, redis_url, seals, make_request, until
):
    pid = valkey_pid(redis_url)
    async with publishing(redis_url, seals, timeout=0.3) as publisher:
        assert await publisher.publish("main", [make_request(1)])
        os.kill(pid, signal.SIGSTOP)
        try:
            assert not await publisher.publish("main", [make_request(2)])
        finally:
            os.kill(pid, signal.SIGCONT)
        await until(lambda: publisher.publish("main", [make_request(3)]))


async def test_the_consumer_survives_a_flush_in_mid_flow(redis_url, seals, make_request):
    async with publishing(redis_url, seals) as publisher, IndexConsumer(redis_url, seals, QUICK) as consumer:
        await publisher.publish("main", [make_request(1)])
        held = await take(consumer, 1)
        async with connect(redis_url) as redis:
            await redis.flushall()
        await consumer.done(held)
        await consumer.next_batch()
        await publisher.publish("main", [make_request(2)])
        assert ordinals(await take(consumer, 1)) == [2]


async def test_a_consumer_blocked_in_a_read_survives_a_flush(redis_url, seals, make_request):
    slow = ConsumerLimits(block=5.0, claim_every=60)
    async with publishing(redis_url, seals) as publisher, IndexConsumer(redis_url, seals, slow) as consumer:
        await consumer.next_batch()
        waiting = asyncio.create_task(take(consumer, 1))
        await asyncio.sleep(0.2)
        async with connect(redis_url) as redis:
            await redis.flushall()
        await publisher.publish("main", [make_request(2)])
        assert ordinals(await asyncio.wait_for(waiting, 10)) == [2]


async def test_entries_of_a_dead_consumer_are_claimed_and_marked(redis_url, seals, make_request):
    async with publishing(redis_url, seals) as publisher:
        async with IndexConsumer(redis_url, seals, QUICK) as dead:
            await publisher.publish("main", [make_request(n) for n in range(3)])
            await take(dead, 3)
        async with IndexConsumer(redis_url, seals, QUICK) as alive:
            taken = await take(alive, 3)
    assert ordinals(taken) == [0, 1, 2]
    assert all(entry.claimed for entry in taken)


async def test_a_living_consumer_keeps_what_it_works_on_for_long(redis_url, seals, make_request):
    async with (
        publishing(redis_url, seals) as publisher,
        IndexConsumer(redis_url, seals, QUICK) as busy,
        IndexConsumer(redis_url, seals, QUICK) as idle,
    ):
        await publisher.publish("main", [make_request(1)])
        await take(busy, 1)
        deadline = time.monotonic() + 3 * QUICK.dead_after
        while time.monotonic() < deadline:
            assert await idle.next_batch() == []


async def test_a_forged_entry_is_dropped_and_holds_up_nobody(redis_url, seals, make_request):
    async with (
        publishing(redis_url, seals) as publisher,
        IndexConsumer(redis_url, seals, QUICK) as consumer,
        connect(redis_url) as redis,
    ):
        await redis.xadd(INDEX_LIVE, {BODY: b"0" * 32 + make_request(666).SerializeToString()})
        await redis.xadd(INDEX_LIVE, {b"other": b"field", b"and": b"more"})
        await publisher.publish("main", [make_request(1)])
        assert ordinals(await take(consumer, 1)) == [1]
        assert await redis.xlen(INDEX_LIVE) == 1


async def test_a_consumer_starts_while_redis_is_down(seals, free_port):
    async with IndexConsumer(f"redis://127.0.0.1:{free_port}/0", seals, QUICK) as consumer:
        assert await consumer.next_batch() == []


def valkey_pid(redis_url: str) -> int:
    import redis

    with redis.Redis.from_url(redis_url) as client:
        return int(client.info("server")["process_id"])


@pytest.mark.parametrize("count", [1, 64])
async def test_an_entry_is_delivered_to_one_consumer_only(redis_url, seals, make_request, count):
    async with (
        publishing(redis_url, seals) as publisher,
        IndexConsumer(redis_url, seals, QUICK) as one,
        IndexConsumer(redis_url, seals, QUICK) as other,
    ):
        await publisher.publish("main", [make_request(n) for n in range(count)])
        batches = await asyncio.gather(one.next_batch(), other.next_batch())
        got = ordinals(batches[0]) + ordinals(batches[1])
    assert len(got) == len(set(got))
