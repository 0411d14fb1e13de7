"""What the gateway forwards to the auth service, and what it does not."""

import httpx
import pytest
from gantry_gateway.entrypoints import auth_proxy
from gantry_web.app import make_app


@pytest.fixture
def seen():
    return []


@pytest.fixture
async def client(monkeypatch, seen):
    def auth(request):
        seen.append(request)
        if request.url.path == "/auth/down":
            raise httpx.ConnectError("refused")
        headers = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Connection", "close"), ("Location", "/x")]
        return httpx.Response(303, headers=headers, content=b"body")

    made = httpx.AsyncClient

    def through_mock(**settings):
        return made(transport=httpx.MockTransport(auth), **settings)

    monkeypatch.setattr(auth_proxy.httpx, "AsyncClient", through_mock)
    app = make_app(auth_proxy.auth_routes("http://auth.internal:8081/"), ready=lambda: True)
    transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 1))
    async with made(transport=transport, base_url="http://pacs.test") as running:
        yield running


async def test_answers_come_back_as_they_are_without_what_is_between_neighbours(client):
    answer = await client.get("/auth/login")
    assert (answer.status_code, answer.content, answer.headers["location"]) == (303, b"body", "/x")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert "connection" not in answer.headers
    assert answer.headers["content-length"] == "4"


@pytest.mark.parametrize(
    "target",
    ["/auth/login?next=%2Fviewer%2F", "/auth/a%3Fadmin%3D1", "/auth/a%2F..%2Fb?c=%26d"],
)
async def test_the_address_is_forwarded_as_it_was_written(client, seen, target):
    await client.get(target)
    (request,) = seen
    assert request.url.raw_path.decode() == target
    assert request.url.host == "auth.internal"


async def test_the_auth_service_hears_where_the_caller_really_is(client, seen):
    claimed = {"X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1", "X-Forwarded-Host": "evil.example"}
    await client.post("/auth/token", data={"a": "b"}, headers=claimed)
    (request,) = seen
    assert request.headers.get_list("x-forwarded-for") == ["192.0.2.7"]
    assert "forwarded" not in request.headers
    assert "x-forwarded-host" not in request.headers
    assert (request.headers["host"], request.content) == ("pacs.test", b"a=b")


async def test_an_endless_form_and_a_service_that_is_down_are_answered(client, seen):
    assert (await client.post("/auth/token", content=b"x" * (300 << 10))).status_code == 413
    assert not seen
    assert (await client.get("/auth/down")).status_code == 503


def test_without_an_auth_service_nothing_is_forwarded():
    assert auth_proxy.auth_routes("") == []
