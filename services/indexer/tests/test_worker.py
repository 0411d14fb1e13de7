"""The indexer's real processes: poison that raises, poison that kills, replay, death of a consumer."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.request

import pytest
from gantry.index.v1.index_pb2 import VerdictState
from gantry_embedded.ports import free_port
from gantry_indexer.bootstrap import make_parts, make_tasks
from gantry_indexer.consuming import isolation_body
from gantry_indexer.isolating import Attempt, Isolating, Next
from gantry_messaging.celery_app import send
from gantry_messaging.connections import connect
from gantry_messaging.names import INDEX_GROUP, INDEX_LIVE, ISOLATE_QUEUE, REPLAY_QUEUE
from gantry_messaging.verdicts import VerdictListener
from gantry_objectstore.keys import manifest_key
from gantry_testing.builders import identified

INDEXED = VerdictState.VERDICT_STATE_INDEXED
QUARANTINED = VerdictState.VERDICT_STATE_QUARANTINED


async def test_poison_that_raises_is_quarantined_with_its_reason(
    fronting, states, until, settings, database, processes, sealer
):
    poison = identified(2)["SOPInstanceUID"]
    processes("consume", port=free_port(), fault_raise_sop_uids=poison)
    processes("worker", port=free_port(), fault_raise_sop_uids=poison)
    listener = VerdictListener(settings.redis_url, sealer)
    assert await listener.start(5)
    async with fronting(settings) as front:
        receptions = await front.store(1, 2, 3, reply_to=listener.reply_to)
        assert await until(states(database, receptions), 40) == [INDEXED, QUARANTINED, INDEXED]
        verdict = await listener.wait(receptions[1].object_key, 10)
    await listener.close()
    row = await database.fetchrow("SELECT attempts, reason FROM reception WHERE state = $1", QUARANTINED)
    assert row["attempts"] == 3
    assert row["reason"] == "cannot be indexed (InjectedFault)"
    assert verdict is not None
    assert verdict.state == QUARANTINED


async def test_poison_that_kills_is_counted_and_quarantined(
    fronting, states, until, settings, database, processes
):
    poison = identified(2)["SOPInstanceUID"]
    port = free_port()
    environment = {"fault_kill_sop_uids": poison, "dead_after_seconds": "1.5"}
    consumer = processes("consume", port=port, **environment)
    await until(lambda: alive(port), 30)
    async with fronting(settings) as front:
        receptions = await front.store(1, 2, 3)
        # It takes the consumer with it; the next one claims what it left and lets it be tried alone.
        await asyncio.to_thread(consumer.wait, 30)
        assert consumer.returncode == -signal.SIGKILL
        processes("consume", port=free_port(), **environment)
        processes("worker", port=free_port(), **environment)
        assert await until(states(database, receptions), 60) == [INDEXED, QUARANTINED, INDEXED]
        later = await front.store(4)
        assert await until(states(database, later)) == [INDEXED]
    row = await database.fetchrow("SELECT attempts, reason FROM reception WHERE state = $1", QUARANTINED)
    assert row["attempts"] == 4
    assert row["reason"] == "ended the process 3 times"


async def test_a_killed_consumer_loses_nothing(fronting, states, until, settings, database, processes):
    port = free_port()
    consumer = processes("consume", port=port, dead_after_seconds="1.5")
    await until(lambda: alive(port), 30)
    async with fronting(settings) as front, connect(settings.redis_url) as redis:
        os.kill(consumer.pid, signal.SIGSTOP)
        receptions = await front.store(*range(1, 31))
        os.kill(consumer.pid, signal.SIGCONT)

        async def took():
            pending = await redis.xpending(INDEX_LIVE, INDEX_GROUP)
            return pending["pending"] or await database.fetchval("SELECT count(*) FROM reception")

        await until(took)
        consumer.kill()
        processes("consume", port=free_port(), dead_after_seconds="1.5")
        processes("worker", port=free_port())
        assert set(await until(states(database, receptions), 60)) == {INDEXED}
    assert await database.fetchval("SELECT instance_count FROM study") == 30


async def test_a_replayed_chunk_is_read_again_from_the_store(
    fronting, silence, states, until, settings, database, processes
):
    async with fronting(settings, publisher=silence) as front:
        receptions = await front.store(*range(1, 11))
    key = manifest_key("main", receptions[0].batch)
    processes("worker", port=free_port())
    tasks = make_tasks(settings)
    assert await send(tasks, REPLAY_QUEUE, key, 2, 5)
    assert await until(states(database, receptions[2:7]), 40) == [INDEXED] * 5
    assert await database.fetchval("SELECT count(*) FROM reception") == 5
    assert await send(tasks, REPLAY_QUEUE, key, 0, 64)
    assert await until(states(database, receptions), 40) == [INDEXED] * 10


async def test_nonsense_in_the_queues_ends_no_worker(
    fronting, silence, states, until, settings, database, processes
):
    processes("worker", port=free_port())
    tasks = make_tasks(settings)
    await send(tasks, ISOLATE_QUEUE, "no base64!")
    await send(tasks, ISOLATE_QUEUE, "AAAA")
    await send(tasks, REPLAY_QUEUE, "../../etc/passwd", 0, 5)
    await send(tasks, REPLAY_QUEUE, "m/main/2026-01-01/01ARZ3NDEKTSV4RRFFQ69G5FAV", 0, 5)
    async with fronting(settings, publisher=silence) as front:
        receptions = await front.store(1)
    assert await send(tasks, REPLAY_QUEUE, manifest_key("main", receptions[0].batch), 0, 1)
    assert await until(states(database, receptions), 40) == [INDEXED]


@pytest.mark.parametrize("process", ["consume", "worker"])
async def test_a_process_starts_and_stops_while_everything_is_down(until, settings, processes, process):
    port = free_port()
    nowhere = free_port()
    child = processes(
        process,
        port=port,
        redis_url=f"redis://127.0.0.1:{nowhere}/0",
        index_dsn=f"postgresql://nobody@127.0.0.1:{nowhere}/none",
    )
    await until(lambda: alive(port), 30)
    child.terminate()
    assert await asyncio.to_thread(child.wait, 30) == 0


async def test_an_attempt_that_failed_for_want_of_the_store_does_not_count(
    fronting, silence, settings, sealer
):
    class Standing:
        attempts = 0

        async def begin_attempt(self, request):
            self.attempts += 1
            return Attempt(self.attempts)

        async def forgive_attempt(self, object_key):
            self.attempts -= 1

    class Down:
        async def doubted(self, requests):
            return {}

        async def index(self, requests):
            from gantry_dicom.errors import Unavailable

            raise Unavailable("the store is down")

    standing = Standing()
    async with fronting(settings, publisher=silence) as front:
        (reception,) = await front.store(1)
    from gantry.index.v1.index_pb2 import IndexRequest

    body = isolation_body(sealer, IndexRequest(partition="main", reception=reception))
    parts = make_parts(settings)
    isolating = Isolating(Down(), standing, parts.verdicts, sealer)
    assert await isolating.try_alone(body) is Next.LATER
    assert standing.attempts == 0
    await parts.close()


async def alive(port):
    def ask():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    return await asyncio.to_thread(ask)
