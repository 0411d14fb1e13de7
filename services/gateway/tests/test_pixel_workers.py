"""Pixel workers: a job that hangs, dies or eats memory fails alone."""

import asyncio
import operator
import os
import time

import pytest
from gantry_dicom.errors import BadRequest, CannotProcess
from gantry_gateway.adapters.byte_cache import ByteCache
from gantry_gateway.adapters.pixel_workers import PixelWorkers
from gantry_gateway.media_types import parse_media_type


@pytest.fixture
def workers():
    workers = PixelWorkers(1, memory_bytes=2 << 30, seconds=5.0)
    yield workers
    workers.close()


async def test_a_job_runs_and_its_result_comes_back(workers):
    assert await workers.run(operator.add, 2, 3) == 5


async def test_our_own_error_of_a_job_is_the_callers(workers):
    with pytest.raises(BadRequest, match="malformed"):
        await workers.run(parse_media_type, "no media type")


async def test_any_other_error_of_a_job_says_that_the_frame_cannot_be_decoded(workers):
    with pytest.raises(CannotProcess):
        await workers.run(operator.truediv, 1, 0)


async def test_a_job_that_ends_its_worker_leaves_its_neighbour_alone():
    workers = PixelWorkers(2, memory_bytes=2 << 30, seconds=20.0)
    neighbour = asyncio.create_task(workers.run(time.sleep, 2))
    await asyncio.sleep(0)
    with pytest.raises(CannotProcess):
        await workers.run(os.abort)
    assert await neighbour is None
    workers.close()


async def test_a_caller_that_leaves_does_not_lose_the_worker(workers):
    caller = asyncio.create_task(workers.run(time.sleep, 1))
    await asyncio.sleep(0)
    caller.cancel()
    assert await workers.run(operator.add, 1, 1) == 2


async def test_a_job_that_takes_its_worker_down_fails_and_the_next_one_runs(workers):
    with pytest.raises(CannotProcess):
        await workers.run(os.abort)
    assert await workers.run(operator.add, 1, 1) == 2


async def test_a_job_over_its_time_is_ended_and_the_next_one_runs():
    workers = PixelWorkers(1, memory_bytes=2 << 30, seconds=1.5)
    with pytest.raises(CannotProcess, match="too long"):
        await workers.run(time.sleep, 60)
    assert await workers.run(operator.add, 1, 1) == 2
    workers.close()


async def test_the_time_of_a_job_begins_when_its_process_is_up():
    workers = PixelWorkers(1, memory_bytes=2 << 30, seconds=0.2)
    assert await workers.run(operator.add, 1, 1) == 2
    workers.close()


async def test_a_job_over_its_memory_fails_and_the_next_one_runs(workers):
    with pytest.raises(CannotProcess, match="memory"):
        await workers.run(bytearray, 8 << 30)
    assert await workers.run(operator.add, 1, 1) == 2


async def test_concurrent_misses_of_one_key_are_made_once():
    cache = ByteCache("test", 1000)
    made = []
    release = asyncio.Event()

    async def make():
        made.append(1)
        await release.wait()
        return b"x"

    callers = [asyncio.create_task(cache.get("k", make)) for _ in range(5)]
    await asyncio.sleep(0)
    release.set()
    assert await asyncio.gather(*callers) == [b"x"] * 5
    assert len(made) == 1


async def test_a_computation_lives_as_long_as_one_caller_waits_for_it():
    cache = ByteCache("test", 1000)
    began, release, ended = asyncio.Event(), asyncio.Event(), []

    async def make():
        began.set()
        try:
            await release.wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return b"x"

    first, second = (asyncio.create_task(cache.get("k", make)) for _ in range(2))
    await began.wait()
    first.cancel()
    await asyncio.wait([first])
    assert not ended
    second.cancel()
    await asyncio.wait([second])
    third = asyncio.create_task(cache.get("k", make))
    await asyncio.sleep(0)
    assert ended == ["cancelled"]
    release.set()
    assert await third == b"x"


async def test_a_failure_is_not_kept():
    cache = ByteCache("test", 1000)

    async def fail():
        raise CannotProcess("no")

    async def work():
        return b"x"

    with pytest.raises(CannotProcess):
        await cache.get("k", fail)
    assert await cache.get("k", work) == b"x"


async def test_the_least_recently_used_goes_first():
    cache = ByteCache("test", 100)
    calls = []

    def maker(name):
        async def make():
            calls.append(name)
            return b"x" * 40

        return make

    for name in ("a", "b", "a", "c", "a", "b"):
        await cache.get(name, maker(name))
    assert calls == ["a", "b", "c", "b"]
