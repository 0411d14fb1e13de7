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
def front(store, sealer):
    clock = Clock()
    settings = ReceiverSettings(lease_seconds=LEASE, batch_seconds=3600)
    return Front(Receiver(store, sealer, Silence(), settings, clock=clock), clock)


@pytest.fixture
async def database(index_dsn):
    connection = await asyncpg.connect(index_dsn)
    yield connection
    await connection.close()


async def journal_of(store):
    return [info.key async for info in store.list(JOURNAL_PREFIX)]


async def until(condition, seconds=20.0):
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
