"""What holds when the process itself is killed or stopped."""

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gantry.reception.v1.reception_pb2 import Manifest
from gantry_dicom.errors import NotFound
from gantry_objectstore.keys import journal_key, parse_object_key
from gantry_objectstore.records import read_journal, read_manifest, write_manifest
from gantry_objectstore.store import ObjectStore, open_store


@contextmanager
def child(url: str, lease: float, mode: str) -> Iterator[subprocess.Popen]:
    command = [sys.executable, str(Path(__file__).with_name("receiving_child.py")), url, str(lease), mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def led_to(store: ObjectStore, sealer) -> set[str]:
    """Return every object that journal and manifests lead to: by name, or by its batch."""
    found = set()
    async for info in store.list("j/"):
        entry = await read_journal(store, info.key, sealer)
        found.update(entry.late_object_keys)
        found.update([each.key async for each in store.list("o/") if f"/{entry.batch}/" in each.key])
    async for info in store.list("m/"):
        manifest = await read_manifest(store, info.key, sealer)
        found.update(line.object_key for line in manifest.receptions)
    return found


async def test_what_was_acknowledged_is_there_after_sigkill(store_url, sealer) -> None:
    with child(store_url, 120.0, "flood") as process:
        lines = [process.stdout.readline() for _ in range(60)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    acknowledged = dict(line.split()[1:] for line in lines if line.endswith("\n"))
    assert len(acknowledged) >= 60
    store = open_store(store_url)
    leads = await led_to(store, sealer)
    for key, digest in acknowledged.items():
        assert hashlib.sha256(await store.get(key)).hexdigest() == digest
        assert key in leads
    await store.close()


async def test_a_process_stopped_for_three_leases_acknowledges_nothing_that_a_sweep_would_lose(
    store_url, sealer
) -> None:
    # Half of it is left to stop the process in: later its batch closes by itself.
    lease = 4.0
    store = open_store(store_url)
    with child(store_url, lease, "pause") as process:
        word, key = process.stdout.readline().split()
        assert word == "put"
        process.send_signal(signal.SIGSTOP)
        time.sleep(3 * lease)  # noqa: ASYNC251 - the time that passes is what is tested
        # The worst that a sweeper can do: it closes the batch without the object.
        batch = parse_object_key(key).batch
        await write_manifest(store, Manifest(batch=batch, partition="main"), sealer)
        await store.delete(journal_key(batch))
        assert key not in await led_to(store, sealer)
        process.send_signal(signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.flush()
        word, acknowledged, _ = process.stdout.readline().split()
        # At the moment of the ack, not only after the process has closed its batches.
        process.send_signal(signal.SIGKILL)
    assert (word, acknowledged) == ("acknowledged", key)
    entries = [await read_journal(store, info.key, sealer) async for info in store.list("j/")]
    assert key in {name for entry in entries for name in entry.late_object_keys}
    try:
        await store.get(journal_key(batch))
    except NotFound:
        await store.close()
    else:
        raise AssertionError("the swept entry came back")
