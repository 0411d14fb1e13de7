"""What the storage service's tests share: a receiver that can die, a clock that can be put forward."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import pytest
from gantry.reception.v1.reception_pb2 import Channel, Lane, Source
from gantry_dicom.gate import admit
from gantry_embedded.ports import free_port
from gantry_objectstore.keys import JOURNAL_PREFIX
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import open_store
from gantry_reception.receiver import Receiver
from gantry_reception.settings import ReceiverSettings
from gantry_storage.bootstrap import make_parts
from gantry_storage.settings import StorageSettings
from gantry_testing.builders import file_of, identified

SEAL_KEYS = "test:" + "a5" * 32
LEASE = 120.0
SOURCE = Source(channel=Channel.CHANNEL_DIMSE, calling_ae_title="MODALITY")


class LateStore:
    """An object store whose own clock can be put forward; everything else is the real one's."""

    def __init__(self, inner):
        self._inner = inner
        self.ahead = timedelta()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def now(self):
        return await self._inner.now() + self.ahead

    def wait(self, seconds):
        self.ahead += timedelta(seconds=seconds)


class Silence:
    """A publisher that loses everything."""

    async def publish(self, partition, requests, /):
        return False


@pytest.fixture
def sealer() -> Sealer:
    return Sealer.from_text(SEAL_KEYS)


@pytest.fixture
def settings(file_url, index_dsn, redis_url) -> StorageSettings:
    return StorageSettings(
        store_url=file_url,
        index_dsn=index_dsn,
        redis_url=redis_url,
        seal_keys=SEAL_KEYS,
        lease_seconds=LEASE,
        feed_after_seconds=0,
    )


@pytest.fixture
async def store(settings):
    store = LateStore(open_store(settings.store_url))
    yield store
    await store.close()


@pytest.fixture
async def parts(settings, store):
    parts = make_parts(settings, store=store)
    yield parts
    await parts.publisher.close()
    await parts.lock.release()
    await parts.pool.close()


@dataclass
class Clock:
    """The lease's clock of a receiver, which a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Front:
    """A receiver; what becomes of it is up to the test."""

    receiver: Receiver
    clock: Clock

    async def place(self, number, *, partition="main", lane=Lane.LANE_LIVE, **values):
        data = file_of(identified(number, **values))
        return await self.receiver.place(admit(data), data, SOURCE, partition=partition, lane=lane)

    async def store(self, *numbers, **options):
        placements = [await self.place(number, **options) for number in numbers]
        return [await self.receiver.acknowledge(placement) for placement in placements]

    async def die(self):
        """Let the process end here: nothing is closed, nothing is written any more."""
        for batch, timer in self.receiver._current.values():
            timer.cancel()
            await batch.journal
        self.receiver._current.clear()


@pytest.fixture
def make_front(store, sealer):
    """``make_front()``: one more receiver."""

    def make():
        clock = Clock()
        settings = ReceiverSettings(lease_seconds=LEASE, batch_seconds=3600)
        return Front(Receiver(store, sealer, Silence(), settings, clock=clock), clock)

    return make


@pytest.fixture
def front(make_front):
    return make_front()


@pytest.fixture
async def database(index_dsn):
    connection = await asyncpg.connect(index_dsn)
    yield connection
    await connection.close()


async def _journal_of(store):
    return [info.key async for info in store.list(JOURNAL_PREFIX)]


async def _until(condition, seconds=20.0):
    """Wait for an asynchronous condition and return what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        found = await condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"the condition did not come true; the last look gave {found!r}"
        await asyncio.sleep(0.05)


@pytest.fixture
def processes(settings, tmp_path):
    """Start real processes of the services by name; all are killed at the end."""
    children = []

    def start(module, *arguments, **environment):
        known = settings.model_dump(include={"store_url", "index_dsn", "redis_url", "seal_keys"})
        log = (tmp_path / f"{module}-{len(children)}.log").open("wb")
        variables = {"http_port": str(free_port())} | known | environment
        child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=os.environ | {f"GANTRY_{name.upper()}": value for name, value in variables.items()},
            stderr=log,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        if child.poll() is None:
            os.killpg(child.pid, 9)
        child.wait()
        child.stdout.close()
    for path in sorted(tmp_path.glob("*.log")):
        sys.stdout.write(f"--- {path.name}\n{path.read_text()[-4000:]}\n")


async def _decide(database, receptions):
    for reception in receptions:
        await database.execute(
            "INSERT INTO reception (object_key, partition, store_id, order_key, study_uid, series_uid,"
            " sop_uid, sop_class_uid, transfer_syntax_uid, size, meta_length, data_set_digest, state,"
            " source, received_at) VALUES ($1, 'main', 's', $1, '', '', '', '', '', 0, 0, '', 2, '', now())",
            reception.object_key,
        )


@pytest.fixture
def decide():
    """``await decide(database, receptions)``: give each a verdict that stands."""
    return _decide


@pytest.fixture
def late_store():
    """The class of stores whose clock a test puts forward."""
    return LateStore


@pytest.fixture
def journal_of():
    """``await journal_of(store)``: the keys of the journal's entries."""
    return _journal_of


@pytest.fixture
def until():
    """``await until(condition)``: wait for an asynchronous condition."""
    return _until


@pytest.fixture
def indexed(database):
    """``await indexed(receptions)``: wait until exactly these have a verdict that stands."""

    async def wait(receptions):
        wanted = {reception.object_key for reception in receptions}

        async def look():
            rows = await database.fetch("SELECT object_key FROM reception WHERE state > 1")
            return {row["object_key"] for row in rows} == wanted

        await _until(look, 60)

    return wait


@pytest.fixture
def gone(store):
    """``await gone()``: wait until the journal is empty."""

    async def look():
        return await _journal_of(store) == []

    async def wait():
        await _until(look, 30)

    return wait
