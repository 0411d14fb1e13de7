"""What the gateway's tests share: one complete archive, and a second gateway with tight limits on it."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx
import psycopg
import pytest
from gantry_embedded.ports import LOOPBACK, free_port, free_ports
from gantry_embedded.process import ChildProcess, ProcessSpec
from gantry_gateway.app import create_app
from gantry_gateway.settings import GatewaySettings
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store
from gantry_testing.access import TestIssuer
from gantry_testing.stack import SEAL_KEYS, Stack
from gantry_testing.web import WebClient

BODY_LIMIT = 3 << 20
PART_LIMIT = 2 << 20
INFLATED_LIMIT = 1 << 20


@pytest.fixture(scope="session")
def stack(tmp_path_factory) -> Iterator[Stack]:
    """One running archive; each test stores studies of its own."""
    with Stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def web(stack) -> Iterator[WebClient]:
    with stack.web() as client:
        yield client


@pytest.fixture(scope="session")
def path_of_object(stack):
    """Return the file under which an instance is stored."""

    def find(sop_uid):
        with psycopg.connect(stack.index_dsn) as connection:
            row = connection.execute(
                "SELECT object_key FROM instance WHERE sop_uid = %s", [sop_uid]
            ).fetchone()
        return stack.folder / "objects" / row[0]

    return find


@pytest.fixture
def second_gateway(stack):
    """A gateway of two worker processes beside the first, with small limits; yields it and its root URL."""
    (port,) = free_ports(1)
    limits = {
        "GANTRY_HTTP_WORKERS": "2",
        "GANTRY_STOW_BODY_BYTES": str(BODY_LIMIT),
        "GANTRY_STOW_PART_BYTES": str(PART_LIMIT),
        "GANTRY_GATE_INFLATED_BYTES": str(INFLATED_LIMIT),
        "GANTRY_PUBLIC_BASE_URL": "https://pacs.example/archive/",
    }
    root = f"http://{LOOPBACK}:{port}"
    child = ChildProcess(
        ProcessSpec(
            name="second-gateway",
            argv=(sys.executable, "-P", "-m", "gantry_gateway"),
            log_file=stack.logs / "second-gateway.log",
            cwd=stack.folder,
            env=stack.environment(port) | limits,
            ready=lambda: _answers(f"{root}/readyz"),
            grace_seconds=30.0,
        )
    )
    child.wait_ready()
    yield child, root
    child.stop()


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


@pytest.fixture
async def world(tmp_path):
    """An issuer, the bucket, and ``gateway(...)`` that runs an application on it with nothing else up."""
    store = open_store((tmp_path / "store").as_uri(), options=StoreSettings())
    issuer = TestIssuer()

    @asynccontextmanager
    async def gateway(**settings):
        nobody = free_port()
        app = create_app(
            GatewaySettings(
                **{
                    "store_url": (tmp_path / "store").as_uri(),
                    "index_dsn": f"postgresql://nobody@127.0.0.1:{nobody}/index",
                    "redis_url": f"redis://127.0.0.1:{nobody}/0",
                    "seal_keys": SEAL_KEYS,
                    "policy": "rules",
                    "access_log_folder": str(tmp_path / "access"),
                    "cors_origins": "https://viewer.example, https://Second.example/",
                    "log_level": "CRITICAL",
                }
                | settings
            )
        )
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://pacs.test") as client,
        ):
            yield client

    yield SimpleNamespace(store=store, issuer=issuer, gateway=gateway, folder=tmp_path)
    await store.close()
