"""The web viewer's files as the gateway serves them, without an archive behind it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path

import httpx
import pytest
from gantry_gateway.entrypoints.routes import routes
from gantry_gateway.entrypoints.viewer import viewer_routes
from gantry_web.app import make_app

INLINE = 'window.PUBLIC_URL="/viewer/"'
PAGE = f'<!doctype html><script>{INLINE}</script><script defer src="/viewer/app.js"></script>'
BUNDLE = "app.bundle.0f6159c501addfe9.js"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "viewer"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "app-config.js").write_text("window.config = 'not ours'")
    (folder / BUNDLE).write_text("const plain = 1;")
    (folder / f"{BUNDLE}.gz").write_bytes(gzip.compress(b"const plain = 1;"))
    (folder / "5130ccb17e3f3f5b.wasm").write_bytes(b"\0asm")
    (folder / "app.bundle.css").write_text("body {}")
    (folder / "assets" / "favicon.ico").write_bytes(b"icon")
    (folder / "notes.txt").write_text("of no kind that a viewer has")
    (tmp_path / "secret.js").write_text("out of the folder")
    (folder / "link.js").symlink_to(tmp_path / "secret.js")
    return folder


def client_of(folder: Path | None, **more: str) -> httpx.AsyncClient:
    app = make_app([*routes(), *viewer_routes(folder, **more)], ready=lambda: True)
    # No Accept-Encoding of its own: each test says what it takes.
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://archive", headers={"Accept-Encoding": "identity"}
    )


@pytest.fixture
async def client(folder: Path):
    async with client_of(folder) as client:
        yield client


@pytest.mark.parametrize(
    "path",
    ["/viewer/", "/viewer/viewer?StudyInstanceUIDs=1.2.3", "/viewer/segmentation", "/viewer/viewer/gantry/"],
)
async def test_every_address_within_the_viewer_is_its_page(client, path):
    answer = await client.get(path)
    assert (answer.status_code, answer.text) == (200, PAGE)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


async def test_the_address_without_its_slash_leads_to_the_one_with_it(client):
    answer = await client.get("/viewer?StudyInstanceUIDs=1.2.3")
    assert answer.status_code == 308
    assert answer.headers["location"] == "/viewer/?StudyInstanceUIDs=1.2.3"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        (BUNDLE, "text/javascript; charset=utf-8"),
        ("5130ccb17e3f3f5b.wasm", "application/wasm"),
        ("app.bundle.css", "text/css; charset=utf-8"),
        ("assets/favicon.ico", "image/x-icon"),
    ],
)
async def test_each_kind_of_file_has_its_media_type_and_no_other_is_guessed(client, name, media_type):
    answer = await client.get(f"/viewer/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/viewer/missing.js",
        "/viewer/missing.bundle.0123456789abcdef.js",
        "/viewer/notes.txt",
        "/viewer/link.js",
        f"/viewer/{BUNDLE}.gz",
        "/viewer/../secret.js",
        "/viewer/%2e%2e/secret.js",
        "/viewer/..%2fsecret.js",
        "/viewer/assets/%2e%2e/%2e%2e/secret.js",
        "/viewer/..%5csecret.js",
        "/viewer//secret.js",
        "/viewer/%00.js",
        f"/viewer/./{BUNDLE}x.js",
    ],
)
async def test_what_is_not_a_file_of_the_viewer_is_not_there(folder, path):
    # Sent as it stands: a client would resolve the dots itself.
    app = make_app(viewer_routes(folder), ready=lambda: True)
    async with httpx.AsyncClient(transport=_Raw(app, path), base_url="http://archive") as client:
        answer = await client.get("/")
    assert answer.status_code == 404
    assert b"out of the folder" not in answer.content


class _Raw(httpx.ASGITransport):
    """Sends a path that no client would leave as it is."""

    def __init__(self, app, path: str) -> None:
        async def with_path(scope, receive, send):
            if scope["type"] == "http":
                raw = path.encode()
                decoded = re.sub(rb"%([0-9a-f]{2})", lambda m: bytes.fromhex(m[1].decode()), raw)
                scope = {**scope, "raw_path": raw, "path": decoded.decode("latin-1")}
            await app(scope, receive, send)

        super().__init__(with_path)


async def test_a_file_named_by_its_content_is_kept_for_ever_and_another_is_asked_for_again(client):
    for name in (BUNDLE, "5130ccb17e3f3f5b.wasm"):
        answer = await client.get(f"/viewer/{name}")
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    for name in ("app.bundle.css", "assets/favicon.ico", "app-config.js", ""):
        answer = await client.get(f"/viewer/{name}")
        assert answer.headers["cache-control"] == "no-cache"
        again = await client.get(f"/viewer/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        other = await client.get(f"/viewer/{name}", headers={"If-None-Match": '"another"'})
        assert (other.status_code, other.content) == (200, answer.content)


@pytest.mark.parametrize("accepted", ["gzip", "br, gzip;q=0.5", "*", "GZIP"])
async def test_whoever_takes_gzip_gets_the_compressed_file(client, accepted):
    async with client.stream("GET", f"/viewer/{BUNDLE}", headers={"Accept-Encoding": accepted}) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert int(answer.headers["content-length"]) == len(raw)
    assert gzip.decompress(raw) == b"const plain = 1;"


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0", "*;q=0", "gzip;q=nonsense"])
async def test_whoever_does_not_take_gzip_gets_the_plain_file(client, accepted):
    answer = await client.get(f"/viewer/{BUNDLE}", headers={"Accept-Encoding": accepted})
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.content == b"const plain = 1;"


async def test_the_two_forms_of_a_file_have_different_entity_tags(client):
    plain = await client.get(f"/viewer/{BUNDLE}")
    packed = await client.get(f"/viewer/{BUNDLE}", headers={"Accept-Encoding": "gzip"})
    assert plain.headers["etag"] != packed.headers["etag"]


async def test_a_head_request_is_answered_without_a_body(client):
    answer = await client.head(f"/viewer/{BUNDLE}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "16"


async def test_nothing_can_be_posted_to_the_viewer(client):
    assert (await client.post("/viewer/")).status_code == 405


async def test_the_settings_are_the_gateways_own_and_point_at_the_pages_origin(client):
    answer = await client.get("/viewer/app-config.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    first, rest = answer.text.split("\n", 1)
    settings = json.loads(first.removeprefix("window.config = ").removesuffix(";"))
    assert settings["routerBasename"] == "/viewer"
    assert settings["defaultDataSourceName"] == settings["dataSources"][0]["sourceName"]
    assert 'window.location.origin + "/dicom-web"' in rest


async def test_the_policy_allows_the_pages_own_scripts_and_no_others(client):
    policy = (await client.get("/viewer/")).headers["content-security-policy"]
    scripts = next(rule for rule in policy.split("; ") if rule.startswith("script-src"))
    digest = base64.b64encode(hashlib.sha256(INLINE.encode()).digest()).decode()
    assert scripts == f"script-src 'self' 'unsafe-eval' 'sha256-{digest}'"
    assert "default-src 'none'" in policy
    assert "connect-src 'self' data: blob:;" in policy


async def test_the_policy_lets_bulk_data_come_from_the_configured_base(folder):
    async with client_of(folder, public_base_url="https://pacs.example.org/archive") as client:
        policy = (await client.get("/viewer/")).headers["content-security-policy"]
    assert "connect-src 'self' data: blob: https://pacs.example.org;" in policy


async def test_workers_get_the_policy_too(client):
    answer = await client.get(f"/viewer/{BUNDLE}")
    assert "script-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("kind", ["none", "empty"])
async def test_without_a_viewer_its_addresses_are_not_there(tmp_path, kind):
    async with client_of(None if kind == "none" else tmp_path) as client:
        assert (await client.get("/viewer/")).status_code == 404
        assert (await client.get("/livez")).status_code == 200
