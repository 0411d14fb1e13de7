"""What the indexer's tests share: a receiver in front, an indexer behind, and real servers between."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest
from gantry.reception.v1.reception_pb2 import Channel, Source
from gantry_dicom.gate import admit
from gantry_index.outbox import OutboxTable
from gantry_indexer.bootstrap import make_parts, make_tasks
from gantry_indexer.consuming import Consuming
from gantry_indexer.settings import IndexerSettings
from gantry_messaging.consumer import ConsumerLimits, IndexConsumer
from gantry_messaging.outbox import OutboxRelay
from gantry_messaging.publisher import IndexPublisher, PublisherLimits
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import open_store
from gantry_reception.receiver import Receiver
from gantry_reception.settings import ReceiverSettings
from gantry_testing.builders import file_of, identified

SEAL_KEYS = "test:" + "a5" * 32
SOURCE = Source(channel=Channel.CHANNEL_STOW, calling_ae_title="MODALITY")


@pytest.fixture
def settings(file_url, index_dsn, redis_url) -> IndexerSettings:
    return IndexerSettings(
        store_url=file_url, index_dsn=index_dsn, redis_url=redis_url, seal_keys=SEAL_KEYS, faults=True
    )


@pytest.fixture
def sealer() -> Sealer:
    return Sealer.from_text(SEAL_KEYS)


class Silence:
    """A publisher that loses everything."""

    async def publish(self, partition, requests, /):
        return False


@dataclass
class Front:
    """A receiver and the publisher behind it."""

    receiver: Receiver

    async def store(self, *numbers, partition="main", reply_to="", traceparent="", **values):
        """Store instances and return their receptions."""
        receptions = []
        for number in numbers:
            data = file_of(identified(number, **values))
            receptions.append(
                await self.receiver.receive(
                    admit(data),
                    data,
                    SOURCE,
                    partition=partition,
                    reply_to=reply_to,
                    traceparent=traceparent,
                )
            )
        return receptions


@asynccontextmanager
async def _fronting(settings, *, publisher=None, **limits):
    store, sealer = open_store(settings.store_url), Sealer.from_text(settings.seal_keys)
    ours = publisher or IndexPublisher(settings.redis_url, sealer, PublisherLimits(**limits))
    receiver = Receiver(store, sealer, ours, ReceiverSettings(batch_seconds=60))
    try:
        yield Front(receiver)
    finally:
        await receiver.close()
        if publisher is None:
            await ours.close()
        await store.close()


@asynccontextmanager
async def _indexing(settings, **limits):
    """A consumer in this process and event loop."""
    parts = make_parts(settings)
    outbox = OutboxTable(settings.index_dsn)
    relay = OutboxRelay(outbox, settings.redis_url, parts.sealer, poll=0.1)
    chosen = ConsumerLimits(**({"block": 0.2, "claim_every": 0.5} | limits))
    async with IndexConsumer(settings.redis_url, parts.sealer, chosen) as consumer:
        consuming = Consuming(
            consumer,
            parts.indexer,
            parts.reader,
            parts.verdicts,
            relay,
            make_tasks(settings),
            parts.sealer,
        )
        tasks = [asyncio.create_task(consuming.run()), asyncio.create_task(relay.run())]
        try:
            yield parts
        finally:
            consuming.stop()
            tasks[1].cancel()
            await asyncio.wait(tasks, timeout=15)
            await relay.close()
            await outbox.close()
            await parts.close()
    # Raises what ended the consumer before its time.
    tasks[0].result()


@pytest.fixture
async def database(index_dsn):
    connection = await asyncpg.connect(index_dsn)
    yield connection
    await connection.close()


async def _until(condition, seconds=20.0):
    """Wait for an asynchronous condition and return what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        found = await condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"the condition did not come true; the last look gave {found!r}"
        await asyncio.sleep(0.05)


def _states(database, receptions):
    """Return a condition: the verdict states of the receptions, once all are decided."""

    async def look():
        keys = [reception.object_key for reception in receptions]
        rows = await database.fetch(
            "SELECT object_key, state FROM reception WHERE object_key = ANY($1) AND state > 1", keys
        )
        found = {row["object_key"]: row["state"] for row in rows}
        return [found[key] for key in keys] if len(found) == len(keys) else None

    return look


@pytest.fixture
def processes(settings, tmp_path):
    """Start the indexer's real processes; all are killed at the end."""
    children = []

    def start(*arguments, **environment):
        known = settings.model_dump(
            include={"store_url", "index_dsn", "redis_url", "seal_keys"}, exclude_none=True
        )
        log = (tmp_path / f"{arguments[0]}-{len(children)}.log").open("wb")
        child = subprocess.Popen(
            [sys.executable, "-m", "gantry_indexer", *arguments],
            env=os.environ
            | {f"GANTRY_{name.upper()}": value for name, value in known.items()}
            | {"GANTRY_FAULTS": "1", "GANTRY_HTTP_PORT": str(environment.pop("port"))}
            | {f"GANTRY_{name.upper()}": value for name, value in environment.items()},
            stderr=log,
            start_new_session=True,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        if child.poll() is None:
            os.killpg(child.pid, 9)
        child.wait()
    for path in sorted(tmp_path.glob("*.log")):
        sys.stdout.write(f"--- {path.name}\n{path.read_text()[-4000:]}\n")


@pytest.fixture
def fronting():
    """``async with fronting(settings) as front``: a receiver whose messages go to the streams."""
    return _fronting


@pytest.fixture
def indexing():
    """``async with indexing(settings) as parts``: a consumer at work."""
    return _indexing


@pytest.fixture
def until():
    """``await until(condition)``: wait for an asynchronous condition."""
    return _until


@pytest.fixture
def states():
    """``until(states(database, receptions))``: the verdicts of receptions, when all are there."""
    return _states


@pytest.fixture
def silence():
    """A publisher that loses everything."""
    return Silence()


@pytest.fixture
def source():
    """Whom instances come from."""
    return SOURCE
