"""A process that receives until it is killed, and says what it has acknowledged.

``receiving_child.py URL LEASE MODE``: ``flood`` prints each acknowledged key and its SHA-256;
``pause`` says ``put`` when the object is put, waits for a line, and goes on to acknowledge.
"""

import asyncio
import hashlib
import importlib.util
import sys
from pathlib import Path

from gantry.reception.v1.reception_pb2 import Source
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import open_store
from gantry_reception.receiver import Receiver
from gantry_reception.settings import ReceiverSettings
from gantry_telemetry.logs import configure_logs

specification = importlib.util.spec_from_file_location("helpers", Path(__file__).with_name("conftest.py"))
helpers = importlib.util.module_from_spec(specification)
sys.modules["helpers"] = helpers
specification.loader.exec_module(helpers)


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


async def pause(moment: str, key: str) -> None:
    if (moment, key[:2]) == ("after", "o/"):
        say("put", key)
        await asyncio.to_thread(sys.stdin.readline)


async def main(url: str, lease: float, mode: str) -> None:
    store = helpers.WatchedStore(open_store(url))
    settings = ReceiverSettings(lease_seconds=lease, batch_instances=16)
    receiver = Receiver(store, Sealer({"k1": bytes(32)}, "k1"), helpers.Recorder(), settings)

    async def receive() -> None:
        instance = helpers.make_instance(pixels=100_000)
        reception = await receiver.receive(instance.admission, instance.buffer, Source(), partition="main")
        say("acknowledged", reception.object_key, hashlib.sha256(instance.stored).hexdigest())

    if mode == "pause":
        store.tap = pause
        await receive()
        await receiver.close()
        return

    async def flood() -> None:
        while True:
            await receive()

    await asyncio.gather(*(flood() for _ in range(8)))


configure_logs("receiving-child")
asyncio.run(main(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
