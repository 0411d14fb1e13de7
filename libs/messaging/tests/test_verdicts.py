"""Waiting for verdicts against a real Valkey."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

from gantry.index.v1.index_pb2 import Verdict, VerdictNotice, VerdictState
from gantry_messaging.connections import connect
from gantry_messaging.verdicts import VerdictListener, VerdictPublisher

INDEXED = VerdictState.VERDICT_STATE_INDEXED


@asynccontextmanager
async def line(redis_url, seals, **options):
    listener = VerdictListener(redis_url, seals, **options)
    publisher = VerdictPublisher(redis_url, seals)
    assert await listener.start(5.0)
    try:
        yield listener, publisher
    finally:
        await listener.close()
        await publisher.close()


def verdict(key: str) -> Verdict:
    return Verdict(object_key=key, state=INDEXED)


async def test_a_waiting_caller_gets_its_verdict(redis_url, seals):
    async with line(redis_url, seals) as (listener, publisher):
        waiting = asyncio.create_task(listener.wait("o/1", 5.0))
        await asyncio.sleep(0.05)
        await publisher.publish({listener.reply_to: [verdict("o/0"), verdict("o/1")]})
        assert await waiting == verdict("o/1")


async def test_a_verdict_that_comes_before_the_wait_is_not_lost(redis_url, seals, until):
    async with line(redis_url, seals) as (listener, publisher):
        await publisher.publish({listener.reply_to: [verdict("o/1"), verdict("o/2")]})
        assert await listener.wait("o/2", 5.0) == verdict("o/2")
        began = time.monotonic()
        assert await listener.wait("o/1", 5.0) == verdict("o/1")
        assert time.monotonic() - began < 0.5


async def test_after_a_missed_verdict_nobody_waits(redis_url, seals):
    async with line(redis_url, seals) as (listener, _):
        assert await listener.wait("o/1", 0.1) is None
        began = time.monotonic()
        for number in range(100):
            assert await listener.wait(f"o/{number}", 5.0) is None
        assert time.monotonic() - began < 0.5


async def test_a_verdict_in_time_closes_the_circuit(redis_url, seals, until):
    async with line(redis_url, seals) as (listener, publisher):
        assert await listener.wait("o/1", 0.1) is None
        assert await listener.wait("o/2", 5.0) is None
        await publisher.publish({listener.reply_to: [verdict("o/2")]})
        await until(lambda: not listener.is_open)
        waiting = asyncio.create_task(listener.wait("o/3", 5.0))
        await asyncio.sleep(0.05)
        await publisher.publish({listener.reply_to: [verdict("o/3")]})
        assert await waiting == verdict("o/3")


async def test_a_verdict_that_comes_too_late_leaves_the_circuit_open(redis_url, seals):
    async with line(redis_url, seals) as (listener, publisher):
        assert await listener.wait("o/1", 0.1) is None
        assert await listener.wait("o/2", 0.05) is None
        await asyncio.sleep(0.1)
        await publisher.publish({listener.reply_to: [verdict("o/2")]})
        await asyncio.sleep(0.2)
        assert listener.is_open


async def test_one_caller_probes_after_a_while(redis_url, seals):
    async with line(redis_url, seals, probe_every=0.2) as (listener, publisher):
        assert await listener.wait("o/1", 0.1) is None
        await asyncio.sleep(0.25)
        probing = asyncio.create_task(listener.wait("o/2", 5.0))
        await asyncio.sleep(0.05)
        assert await listener.wait("o/3", 5.0) is None
        await publisher.publish({listener.reply_to: [verdict("o/2")]})
        assert await probing == verdict("o/2")
        assert not listener.is_open


async def test_a_forged_notice_is_no_verdict(redis_url, seals):
    async with line(redis_url, seals) as (listener, _), connect(redis_url) as redis:
        forged = VerdictNotice(verdicts=[verdict("o/1")]).SerializeToString()
        await redis.publish(listener.reply_to, b"0" * 32 + forged)
        assert await listener.wait("o/1", 0.3) is None


async def test_without_redis_there_is_no_channel_and_no_waiting(seals, free_port):
    listener = VerdictListener(f"redis://127.0.0.1:{free_port}/0", seals)
    assert not await listener.start(0.2)
    assert listener.reply_to == ""
    began = time.monotonic()
    assert await listener.wait("o/1", 5.0) is None
    assert time.monotonic() - began < 0.5
    await listener.close()


async def test_waiters_are_let_go_when_redis_goes_and_the_channel_comes_back(redis_url, seals, until):
    async with line(redis_url, seals) as (listener, publisher), connect(redis_url) as redis:
        waiting = asyncio.create_task(listener.wait("o/1", 20.0))
        await asyncio.sleep(0.05)
        await redis.client_kill_filter(_type="pubsub")
        assert await asyncio.wait_for(waiting, 5) is None
        await until(lambda: listener.reply_to != "")
        waiting = asyncio.create_task(listener.wait("o/2", 5.0))
        await asyncio.sleep(0.05)
        await publisher.publish({listener.reply_to: [verdict("o/2")]})
        assert await waiting == verdict("o/2")
