"""What the tests of logins share: a database of their own, a clock that can be put forward, a browser."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from argon2 import PasswordHasher
from gantry_access.snapshots import load_newest
from gantry_auth import passwords
from gantry_auth.app import create_app
from gantry_auth.commands import ensure_client
from gantry_auth.migrations import CORE
from gantry_auth.settings import AuthSettings
from gantry_auth.upkeep import tend
from gantry_index.migrate import migrate

SEAL_KEYS = "test:" + "a5" * 32
ORIGIN = "http://127.0.0.1:8084"
ISSUER = f"{ORIGIN}/auth"
ADMIN_SECRET = "administrators-secret-of-the-tests-0123456789"
PASSWORD = "correct horse battery"
CALLBACK = "https://app.example/callback"
VERIFIER = "v" * 20 + "0123456789-._~" * 4
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()

_numbers = itertools.count(1)


class TestClock:
    """Now, plus what a test has let pass."""

    __test__ = False

    def __init__(self):
        self.ahead = timedelta()

    def __call__(self):
        return datetime.now(UTC) + self.ahead

    def wait(self, **time):
        self.ahead += timedelta(**time)


REAL_HASHER, REAL_NOBODY = passwords._HASHER, passwords._NOBODY
CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
CHEAP_NOBODY = CHEAP_HASHER.hash("")


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch):
    """Hash passwords at a cost that no test waits for; see ``real_passwords``."""
    monkeypatch.setattr(passwords, "_HASHER", CHEAP_HASHER)
    monkeypatch.setattr(passwords, "_NOBODY", CHEAP_NOBODY)


@pytest.fixture
def real_passwords(cheap_passwords, monkeypatch):
    """Hash passwords as the service does."""
    monkeypatch.setattr(passwords, "_HASHER", REAL_HASHER)
    monkeypatch.setattr(passwords, "_NOBODY", REAL_NOBODY)


@pytest.fixture(scope="session")
def core_template(postgres_server):
    migrate(postgres_server.create_database("core_template"), schema=CORE)
    return "core_template"


@pytest.fixture
def core_dsn(postgres_server, core_template):
    name = f"core_{next(_numbers)}"
    yield postgres_server.create_database(name, core_template)
    postgres_server.drop_database(name)


@pytest.fixture
def clock():
    return TestClock()


@pytest.fixture
def make_settings(core_dsn, file_url, tmp_path):
    def make(**changes):
        values = {
            "issuer": ISSUER,
            "core_dsn": core_dsn,
            "store_url": file_url,
            "seal_keys": SEAL_KEYS,
            "access_log_folder": str(tmp_path / "records"),
            "policy_watch_seconds": 0.05,
        }
        return AuthSettings(**(values | changes))

    return make


class Running:
    """The service in this process, an administrator's program, and what they can be asked."""

    def __init__(self, app, settings, clock):
        self.app = app
        self.settings = settings
        self.clock = clock

    @property
    def parts(self):
        return self.app.state.parts

    @property
    def service(self):
        return self.parts.service

    def client(self, **options):
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False, client=("10.1.2.3", 4711))
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN, **options)

    async def token(self, client_id="administration", secret=ADMIN_SECRET, **fields):
        async with self.client() as http:
            return await http.post(
                "/auth/token",
                data={"grant_type": "client_credentials"} | fields,
                auth=(client_id, secret),
            )

    async def admin(self, method, path, json=None, **options):
        token = (await self.token()).json()["access_token"]
        async with self.client() as http:
            return await http.request(
                method,
                f"/auth/admin/{path}",
                json=json,
                headers={"Authorization": f"Bearer {token}"},
                **options,
            )

    async def add_user(self, name="alice", grants=("clinician@main",)):
        answer = await self.admin(
            "POST", "users", {"name": name, "password": PASSWORD, "grants": list(grants)}
        )
        assert answer.status_code == 201, answer.text

    async def add_app(self, client_id="viewer", *, public=True, callback=CALLBACK):
        answer = await self.admin(
            "POST",
            "clients",
            {
                "client_id": client_id,
                "grant_types": ["authorization_code", "refresh_token"],
                "redirect_uris": [callback],
                "public": public,
            },
        )
        assert answer.status_code == 201, answer.text
        return answer.json().get("client_secret")

    async def snapshot(self):
        """Return the newest snapshot in the bucket, after one of this very state."""
        await self.parts.publisher.publish()
        found, bad = await load_newest(self.parts.store, self.parts.publisher.sealer)
        assert bad == []
        return found


@pytest.fixture
async def start(make_settings, clock):
    """Start a service; every one is stopped at the end."""
    async with AsyncExitStack() as stack:

        async def begin(**changes):
            settings = make_settings(**changes)
            app = create_app(settings, clock)
            await stack.enter_async_context(app.router.lifespan_context(app))
            running = Running(app, settings, clock)
            tend(running.service)
            ensure_client(running.service, "administration", ADMIN_SECRET, ["admin@*"])
            await running.parts.publisher.publish()
            return running

        yield begin


@pytest.fixture
async def auth(start):
    return await start()


class Browser:
    """A browser that follows nothing by itself."""

    def __init__(self, http):
        self.http = http

    async def log_in(self, name="alice", password=PASSWORD, *, back="/viewer/", **options):
        page = await self.http.get("/auth/login", params={"next": back, "again": "1"})
        key = re.search(r'name="key" value="([0-9a-f]+)"', page.text)[1]
        return await self.http.post(
            "/auth/login",
            data={"name": name, "password": password, "next": back, "key": key},
            headers=options.pop("headers", {"Origin": ORIGIN}),
            **options,
        )

    async def authorize(self, client_id="viewer", **changes):
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "scope": "openid profile",
            "state": "st4te",
            "nonce": "n0nce",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        } | changes
        return await self.http.get(
            "/auth/authorize", params={name: value for name, value in query.items() if value is not None}
        )

    async def code(self, client_id="viewer", **changes):
        return parameters((await self.authorize(client_id, **changes)).headers["location"])["code"]

    async def redeem(self, code, client_id="viewer", auth=None, **changes):
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
        } | ({} if auth else {"client_id": client_id})
        fields |= changes
        return await self.http.post(
            "/auth/token",
            data={name: value for name, value in fields.items() if value is not None},
            auth=auth,
        )

    async def refresh(self, refresh_token, client_id="viewer", **changes):
        fields = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": client_id}
        return await self.http.post("/auth/token", data=fields | changes)


def parameters(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@pytest.fixture
async def browser(auth):
    async with auth.client() as http:
        yield Browser(http)


@pytest.fixture
def helpers():
    """Things that test modules name; two conftest modules cannot both be imported."""

    class Helpers:
        Browser = Browser
        parameters = staticmethod(parameters)
        ORIGIN, ISSUER, PASSWORD, CALLBACK, VERIFIER, CHALLENGE = (
            ORIGIN,
            ISSUER,
            PASSWORD,
            CALLBACK,
            VERIFIER,
            CHALLENGE,
        )
        SEAL_KEYS = SEAL_KEYS

    return Helpers
