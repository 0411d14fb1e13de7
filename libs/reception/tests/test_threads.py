"""Reception from threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from gantry.reception.v1.reception_pb2 import Source
from gantry_dicom.errors import Unavailable
from gantry_objectstore.errors import SettingsError
from gantry_objectstore.records import read_manifest
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import open_store
from gantry_reception.receiver import Receiver
from gantry_reception.threads import ThreadedReceiver


class Nobody:
    async def publish(self, partition, requests) -> bool:
        return True


@pytest.fixture
def threaded(store_url, sealer) -> ThreadedReceiver:
    return ThreadedReceiver(lambda: Receiver(open_store(store_url), sealer, Nobody()))


def test_many_threads_receive_at_once(threaded, store_url, sealer, instances) -> None:
    made = [instances() for _ in range(60)]
    with threaded, ThreadPoolExecutor(12) as pool:
        receptions = list(
            pool.map(
                lambda each: threaded.receive(each.admission, each.buffer, Source(), partition="main"), made
            )
        )
        store = open_store(store_url)
        for instance, reception in zip(made, receptions, strict=True):
            assert threaded.run(store.get(reception.object_key)) == instance.stored
    assert {reception.ordinal for reception in receptions} == set(range(1, 61))


async def test_closing_writes_the_manifests(threaded, store_url, sealer, instances) -> None:
    instance = instances()
    with threaded:
        reception = threaded.receive(instance.admission, instance.buffer, Source(), partition="main")
    store = open_store(store_url)
    (key,) = [info.key async for info in store.list("m/")]
    assert list((await read_manifest(store, key, sealer)).receptions) == [reception]


def test_after_closing_nothing_is_taken_and_nobody_waits(threaded, instances) -> None:
    instance = instances()
    with threaded:
        pass
    with pytest.raises(Unavailable):
        threaded.receive(instance.admission, instance.buffer, Source(), partition="main")
    assert not [thread for thread in threading.enumerate() if thread.name == "reception"]


def test_what_making_the_receiver_raises_is_raised_at_the_start() -> None:
    def make() -> Receiver:
        return Receiver(open_store("nowhere:"), Sealer({"k": bytes(32)}, "k"), Nobody())

    with pytest.raises(SettingsError):
        ThreadedReceiver(make).start()
    assert not [thread for thread in threading.enumerate() if thread.name == "reception"]
