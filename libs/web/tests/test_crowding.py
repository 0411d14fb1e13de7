"""Requests beyond what a process can take are turned away at once, and told so."""

import asyncio

import httpx
import pytest
from gantry_web.app import TemplateRoute, make_app
from gantry_web.crowding import AtMost
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse


@pytest.fixture
def gate():
    return asyncio.Event()


@pytest.fixture
async def client(gate):
    async def slow(_request):
        await gate.wait()
        return PlainTextResponse("done")

    app = make_app(
        [TemplateRoute("/slow", slow)], ready=lambda: True, middleware=[Middleware(AtMost, requests=2)]
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        yield client


async def test_who_comes_beyond_the_bound_is_asked_to_come_back(client, gate):
    async with asyncio.TaskGroup() as tasks:
        inside = [tasks.create_task(client.get("/slow")) for _ in range(2)]
        await asyncio.sleep(0)
        turned_away = await client.get("/slow")
        assert turned_away.status_code == 503
        assert int(turned_away.headers["retry-after"]) > 0
        assert turned_away.headers["content-type"] == "application/problem+json"
        assert (await client.get("/livez")).status_code == 200
        gate.set()
    assert [task.result().status_code for task in inside] == [200, 200]
    assert (await client.get("/slow")).status_code == 200
