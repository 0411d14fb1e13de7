"""Statements on storing that need limits of one's own, or a thousand runs."""

from __future__ import annotations

from contextlib import asynccontextmanager

import httpx
import pytest
from gantry_cli.conformance.stow_answers import race
from gantry_embedded.ports import free_port
from gantry_gateway.app import create_app
from gantry_gateway.settings import GatewaySettings
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store
from gantry_testing import raw
from gantry_testing.memory import MemoryWatch
from gantry_testing.stack import SEAL_KEYS
from gantry_testing.synthetic import generate_study
from gantry_testing.synthetic.values import make_uid
from gantry_testing.web import encode_multipart, stow_answer


@pytest.fixture
def gateway(tmp_path):
    """``gateway(...)`` runs an application with limits of its own and nothing else up but the bucket."""

    @asynccontextmanager
    async def run(**limits):
        nobody = free_port()
        app = create_app(
            GatewaySettings(
                store_url=tmp_path.as_uri(),
                index_dsn=f"postgresql://nobody@127.0.0.1:{nobody}/index",
                redis_url=f"redis://127.0.0.1:{nobody}/0",
                seal_keys=SEAL_KEYS,
                policy="open",
                log_level="CRITICAL",
                verdict_seconds=0.01,
                **limits,
            )
        )
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://pacs.test/dicom-web") as client,
        ):
            yield client

    return run


async def objects(tmp_path):
    store = open_store(tmp_path.as_uri(), options=StoreSettings())
    found = [info.key async for info in store.list("o/")]
    await store.close()
    return found


async def test_s16_a_body_over_the_limit_is_413_and_nothing_is_half_stored(gateway, tmp_path):
    [instance] = generate_study(16, "CT", size=(700, 700))
    content_type, body = encode_multipart([instance.data])
    async with gateway(stow_body_bytes=400_000) as client:
        for content, sent_as in ((body, content_type), (instance.data, "application/dicom")):
            answer = await client.post("/studies", content=content, headers={"Content-Type": sent_as})
            assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
        [small] = generate_study(17, "SC")
        content_type, body = encode_multipart([small.data])
        answer = await client.post("/studies", content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 200
    assert len(await objects(tmp_path)) == 1


async def test_s27_a_full_server_fails_with_a700_and_503_when_none_is_stored(gateway, tmp_path):
    [large], [small] = generate_study(27, "CT", size=(900, 900)), generate_study(28, "CT", size=(16, 16))
    async with gateway(spool_memory_bytes=600_000) as client:
        content_type, body = encode_multipart([large.data])
        answer = await client.post("/studies", content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["0008119A"]["Value"][0]["00081197"]["Value"] == [0xA700]
        content_type, body = encode_multipart([large.data, small.data])
        answer = await client.post("/studies", content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 202
    assert len(await objects(tmp_path)) == 1


@pytest.mark.slow
def test_s15_a_body_of_four_gigabytes_is_stored_in_flat_memory(stack, server):
    uid = make_uid(server.seed, "four gigabytes")
    block = bytes(range(256)) * 4096
    blocks = 3900
    elements = {
        0x00280002: raw.us(0x00280002, 1),
        0x00280004: raw.element(0x00280004, "CS", b"MONOCHROME2 "),
        0x00280008: raw.element(0x00280008, "IS", f"{blocks:<6}".encode()),
        0x00280010: raw.us(0x00280010, 1024),
        0x00280011: raw.us(0x00280011, 1024),
        0x00280100: raw.us(0x00280100, 8),
        0x7FE00010: raw.element(0x7FE00010, "OB", length=blocks * len(block)),
    }
    uids = {0x00080018: uid, 0x0020000D: uid, 0x0020000E: uid}
    head = raw.part10(raw.instance(*elements.items(), uids=uids), sop_instance=uid)

    def body():
        yield b"--B\r\nContent-Type: application/dicom\r\n\r\n" + head
        for _ in range(blocks):
            yield block
        yield b"\r\n--B--\r\n"

    [warm] = server.kind("SC")
    server.store([warm.data])
    with MemoryWatch(stack.pid("gateway")) as memory:
        answer = httpx.post(
            f"{server.base_url}/studies",
            content=body(),
            headers={"Content-Type": "multipart/related; type=application/dicom; boundary=B"},
            timeout=300,
        )
    assert (answer.status_code, list(stow_answer(answer).stored)) == (200, [uid])
    assert memory.growth < 64 << 20
    frame = server.get(
        f"/studies/{uid}/series/{uid}/instances/{uid}/frames/{blocks}", "application/octet-stream"
    )
    assert frame.content == block


@pytest.mark.slow
def test_s34_a_thousand_races_end_as_one_after_the_other(server):
    for number in range(1000):
        race(server, f"long race {number}", senders=6)
