"""The application factory: health, problem details, observation."""

import httpx
import pytest
from gantry_dicom.errors import Conflict, GantryError, NotAuthenticated, NotFound, Outcome, Unavailable
from gantry_web.app import TemplateRoute, make_app
from gantry_web.problems import STATUSES
from starlette.responses import PlainTextResponse

RAISED = {
    "missing": NotFound("no such study"),
    "down": Unavailable("the index does not answer"),
    "clash": Conflict("other bytes"),
    "nobody": NotAuthenticated("who are you?", presented=False),
    "forged": NotAuthenticated("no good"),
}


async def item(request):
    name = request.path_params["name"]
    if name == "bug":
        raise RuntimeError("Doe^Jane is not a number")
    if name in RAISED:
        raise RAISED[name]
    return PlainTextResponse(name)


@pytest.fixture
def state():
    return {"ready": True}


@pytest.fixture
async def client(state):
    app = make_app([TemplateRoute("/items/{name}", item)], ready=lambda: state["ready"])
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize(("name", "status"), [("missing", 404), ("down", 503), ("clash", 409)])
async def test_an_error_is_answered_as_problem_details(client, name, status):
    answer = await client.get(f"/items/{name}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["detail"] == RAISED[name].detail


async def test_a_401_challenges_and_says_whether_what_was_shown_is_bad(client):
    for name, challenge in (
        ("nobody", 'Bearer realm="gantry"'),
        ("forged", 'Bearer realm="gantry", error="invalid_token"'),
    ):
        answer = await client.get(f"/items/{name}")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, challenge)


async def test_unavailable_says_when_to_come_back(client):
    assert int((await client.get("/items/down")).headers["retry-after"]) > 0


async def test_a_bug_is_a_500_that_tells_nothing(client):
    answer = await client.get("/items/bug")
    assert answer.status_code == 500
    assert "Doe" not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_unknown_path_is_a_404_problem(client):
    answer = await client.get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_wrong_method_is_405_with_allow(client):
    answer = await client.delete("/items/x")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


async def test_readiness_follows_the_process_and_liveness_does_not(client, state):
    assert (await client.get("/readyz")).status_code == 200
    state["ready"] = False
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/livez")).status_code == 200


async def test_requests_are_counted_by_route_template_not_by_path(client):
    await client.get("/items/secret-name")
    metrics = (await client.get("/metrics")).text
    assert 'route="/items/{name}"' in metrics
    assert "secret-name" not in metrics


async def test_methods_that_a_caller_makes_up_are_one_series(client):
    for method in ("BREW", "WHEN", "PROPFIND"):
        await client.request(method, "/livez")
    text = (await client.get("/metrics")).text
    assert 'method="other"' in text
    assert "BREW" not in text


def test_every_outcome_has_a_status():
    assert set(STATUSES) == set(Outcome)
    assert GantryError("x").outcome in STATUSES
