"""The S3 store when the network and the server misbehave: a proxy before the real server."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import pytest
from gantry.reception.v1.reception_pb2 import Manifest
from gantry_dicom.errors import NotFound, Unavailable
from gantry_objectstore.keys import new_batch_id, object_key
from gantry_objectstore.records import read_manifest, write_manifest
from gantry_objectstore.s3 import S3Store
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings

SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: 60\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>wait</Message></Error> "
)


@dataclass
class Proxy:
    """Passes requests on, but treats the next ones as told.

    ``slow-down`` answers 503, ``reset`` hangs up unread, ``lose`` passes the request on and hangs
    up instead of answering, ``hang`` never answers; ``always`` is for every request.
    """

    host: str
    port: int
    faults: list[str] = field(default_factory=list)
    always: str = ""
    requests: list[str] = field(default_factory=list)
    serving: set[asyncio.Task] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1])) if length else b""
            self.requests.append(head.split(b" ", 1)[0].decode())
            fault = self.always or (self.faults.pop(0) if self.faults else "")
            if fault == "slow-down":
                writer.write(SLOW_DOWN)
                await writer.drain()
            elif fault == "hang":
                await reader.read()
            elif fault != "reset":
                answer = await self.ask(head, body)
                if fault != "lose":
                    writer.write(answer)
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def ask(self, head: bytes, body: bytes) -> bytes:
        upstream, to_upstream = await asyncio.open_connection(self.host, self.port)
        to_upstream.write(head[:-2] + b"Connection: close\r\n\r\n" + body)
        await to_upstream.drain()
        answer = await upstream.read()
        to_upstream.close()
        return answer


@dataclass
class Bench:
    proxy: Proxy
    store: S3Store
    hasty: S3Store
    direct: S3Store


@pytest.fixture
async def bench(s3_url: str, s3_server) -> AsyncIterator[Bench]:
    bucket = urlsplit(s3_url).netloc
    settings = StoreSettings(s3_server.access_key, s3_server.secret_key, retries=3, retry_seconds=30.0)
    endpoint = urlsplit(s3_server.endpoint)
    proxy = Proxy(endpoint.hostname, endpoint.port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield Bench(
        proxy,
        S3Store(bucket, settings, endpoint=f"http://127.0.0.1:{port}"),
        S3Store(bucket, replace(settings, request_seconds=0.5), endpoint=f"http://127.0.0.1:{port}"),
        S3Store(bucket, settings, endpoint=s3_server.endpoint),
    )
    server.close()
    for task in proxy.serving:
        task.cancel()
    await asyncio.gather(*proxy.serving, return_exceptions=True)


@pytest.fixture
def key() -> str:
    return object_key("main", new_batch_id(), 1)


@pytest.mark.parametrize("fault", ["slow-down", "reset", "lose", "hang"])
async def test_a_put_that_fails_now_and_then_succeeds(bench: Bench, key: str, fault: str) -> None:
    bench.proxy.faults = [fault, fault]
    data = os.urandom(50_000)
    await (bench.hasty if fault == "hang" else bench.store).put(key, data)
    assert await bench.direct.get(key) == data
    assert bench.proxy.requests == ["PUT"] * 3


@pytest.mark.parametrize("fault", ["slow-down", "reset", "lose"])
async def test_parts_of_an_upload_that_fail_are_sent_again(bench: Bench, key: str, fault: str) -> None:
    data = os.urandom(30 << 20)
    bench.proxy.faults = ["", fault, "", fault]
    await bench.store.put(key, data)
    assert await bench.direct.get(key) == data


@pytest.mark.parametrize("fault", ["slow-down", "reset", "lose"])
async def test_reading_is_tried_again(bench: Bench, key: str, fault: str) -> None:
    data = os.urandom(50_000)
    await bench.direct.put(key, data)
    bench.proxy.faults = [fault]
    assert await bench.store.get(key) == data
    bench.proxy.faults = [fault]
    assert await bench.store.get_range(key, 10, 20) == data[10:30]
    bench.proxy.faults = [fault]
    assert (await bench.store.head(key)).size == len(data)


@pytest.mark.parametrize("fault", ["slow-down", "reset", "hang"])
async def test_a_server_in_lasting_trouble_is_unavailable_within_bounds(
    bench: Bench, key: str, fault: str
) -> None:
    bench.proxy.always = fault
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        await bench.hasty.put(key, b"x")
    assert time.monotonic() - begun < 20
    assert len(bench.proxy.requests) <= 4
    with pytest.raises(Unavailable):
        await bench.hasty.get(key)
    with pytest.raises(Unavailable):
        _ = [info async for info in bench.hasty.list("o/")]


async def test_a_server_that_takes_requests_and_says_nothing_is_given_up_sooner_for_small_objects(
    bench: Bench, key: str
) -> None:
    patient = replace(bench.direct.settings, request_seconds=60.0, patience_seconds=0.5)
    store = S3Store(bench.direct.bucket, patient, endpoint=bench.store.endpoint)
    await bench.direct.put(key, b"x")
    bench.proxy.always = "hang"
    begun = time.monotonic()
    for operation in (
        store.put(key, b"x"),
        store.get(key),
        store.head(key),
        store.get_range(key, 0, 1),
        store.get_prefix(key, 1),
    ):
        with pytest.raises(Unavailable):
            await operation
    assert time.monotonic() - begun < 10


async def test_nobody_listening_is_unavailable(free_port: int, key: str) -> None:
    settings = StoreSettings("a", "b", retries=1)
    store = S3Store("bucket", settings, endpoint=f"http://127.0.0.1:{free_port}")
    with pytest.raises(Unavailable):
        await store.put(key, b"x")
    with pytest.raises(Unavailable):
        await store.get(key)
    with pytest.raises(Unavailable):
        await store.now()


async def test_wrong_credentials_are_trouble_not_absence(bench: Bench, key: str, s3_server) -> None:
    settings = StoreSettings(s3_server.access_key, "wrong" * 8, retries=1)
    store = S3Store(bench.direct.bucket, settings, endpoint=s3_server.endpoint)
    with pytest.raises(Unavailable):
        await store.get(key)
    with pytest.raises(Unavailable):
        await store.put(key, b"x")


async def test_a_missing_bucket_is_trouble_not_absence(bench: Bench, key: str, s3_server) -> None:
    store = S3Store("no-such-bucket", bench.direct.settings, endpoint=s3_server.endpoint)
    with pytest.raises(Unavailable):
        await store.get(key)


async def test_a_manifest_whose_answer_was_lost_is_recognised_as_ours(bench: Bench) -> None:
    sealer = Sealer({"k": bytes(32)}, "k")
    manifest = Manifest(batch=new_batch_id(), partition="main")
    bench.proxy.faults = ["lose"]
    try:
        key = await write_manifest(bench.store, manifest, sealer)
    except Unavailable:
        key = await write_manifest(bench.store, manifest, sealer)
    assert await read_manifest(bench.direct, key, sealer) == manifest


async def test_a_stream_survives_a_lost_connection(bench: Bench, key: str) -> None:
    data = os.urandom(11 << 20)
    await bench.direct.put(key, data)
    bench.proxy.faults = ["", "reset", "", "slow-down"]
    assert b"".join([piece async for piece in bench.store.stream(key)]) == data


async def test_damaged_bytes_are_not_stored(bench: Bench, key: str) -> None:
    real = bench.proxy.ask

    async def damage(head: bytes, body: bytes) -> bytes:
        return await real(head, body[:-1] + bytes([body[-1] ^ 1]) if body else body)

    bench.proxy.ask = damage  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await bench.store.put(key, os.urandom(10_000))
    with pytest.raises(NotFound):
        await bench.direct.get(key)


async def test_uploads_share_one_budget_of_bytes(bench: Bench) -> None:
    store = bench.direct
    batch = new_batch_id()
    data = bytes(20 << 20)
    peak = [0]

    async def watch() -> None:
        while True:
            peak[0] = max(peak[0], store.uploads.used)
            await asyncio.sleep(0.001)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(store.put(object_key("main", batch, n), data) for n in range(1, 7)))
    watching.cancel()
    assert 0 < peak[0] <= store.settings.upload_budget_bytes
    assert store.uploads.used == 0
