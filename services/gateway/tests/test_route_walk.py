"""Every route of the application with every role and with none: no route without a decision."""

from __future__ import annotations

import pytest
from gantry.access.v1.access_pb2 import ACCESS_KIND_RETRIEVE
from gantry_access.audit_chain import read_records
from gantry_access.point import AccessPoint
from gantry_access.policy import Action
from gantry_access.roles import ROLES
from gantry_dicom.errors import GantryError
from gantry_objectstore.sealing import Sealer
from gantry_testing.access import TestIssuer

SEALER = Sealer.from_text("test:" + "5e" * 32)
VALUES = {
    "partition": "main",
    "study": "1.2.3",
    "series": "1.2.3.4",
    "instance": "1.2.3.4.5",
    "frames": "1",
    "path:path": "7FE00010",
    "transaction": "1.2.3.4.5.6",
    "hold": "01JGANTRY00000000000000000",
    "number": "7",
    "certificate": "none",
    "finding": "7",
    "object:path": "o/main/06/01JGANTRY00000000000000000/0001",
}
# What anybody may ask for, and why: nothing of it says what is in the archive. A route that is not
# here needs a decision.
PUBLIC = {
    "/livez": "probed by what runs us",
    "/readyz": "probed by what runs us",
    "/metrics": "counts by route and outcome; scraped within the cluster",
    "/openapi.json": "the description of the interface",
    "/viewer": "the viewer's own files",
    "/viewer/{path:path}": "the viewer's own files",
    "/auth/{path:path}": "the auth service decides for itself, and answers the login",
}
# What a method needs; reading is told apart by the path (PS3.18 10.6 and 10.4).
CHANGES = {"POST": Action.STORE, "PUT": Action.STORE, "DELETE": Action.ADMINISTER}
SEARCHES = ("/studies", "/series", "/instances")
# Who asks for safe keeping is who stored (PS3.18 13), and so is who fetches the answer.
OF_STORING = "/commitment-requests/{transaction}"

ADMINISTRATION = "/admin/"
# What is of the whole deployment needs a right in every partition.
OF_ALL_PARTITIONS = ("/admin/dimse-failures", "/admin/capacity")


def partition_of(path):
    if path in OF_ALL_PARTITIONS:
        return "*"
    return "second" if "{partition}" in path else "main"


def action_of(method, path):
    """Return what a route needs, said here once more so that no route can forget it."""
    if path.startswith(ADMINISTRATION):
        return Action.ADMINISTER
    if path.endswith(OF_STORING):
        return Action.STORE
    if method in CHANGES:
        return CHANGES[method]
    return Action.SEARCH if path.endswith(SEARCHES) else Action.RETRIEVE


def address_of(path, **changed):
    for name, value in (VALUES | changed).items():
        path = path.replace("{" + name + "}", value)
    assert "{" not in path, "a parameter that the walk has no value for"
    return path


def guarded(client):
    """Return method and path of every route that must ask, from the application itself."""
    routes = client._transport.app.routes
    return [
        (method, route.path)
        for route in routes
        if route.path not in PUBLIC
        for method in sorted(route.methods - {"OPTIONS"})
    ]


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def asked(monkeypatch):
    """What the policy point was asked, and whether it allowed it, in order."""
    questions = []
    require = AccessPoint.require

    def note(self, principal, action, resource):
        try:
            decision = require(self, principal, action, resource)
        except GantryError:
            questions.append((action, resource.partition, False))
            raise
        questions.append((action, resource.partition, True))
        return decision

    monkeypatch.setattr(AccessPoint, "require", note)
    return questions


@pytest.fixture
async def client(world, tmp_path):
    """The application with everything that can be switched on."""
    viewer = tmp_path / "viewer"
    viewer.mkdir()
    (viewer / "index.html").write_text("<!doctype html>")
    await world.issuer.publish(world.store, SEALER)
    async with world.gateway(viewer_folder=viewer, auth_url="http://127.0.0.1:9") as running:
        yield running


async def test_the_walk_sees_the_whole_application(client):
    paths = {route.path for route in client._transport.app.routes}
    assert set(PUBLIC) <= paths
    assert len(guarded(client)) > 40
    assert {method for method, _ in guarded(client)} >= {"GET", "HEAD", "POST"}


async def test_every_route_asks_the_policy_for_what_it_does_in_its_partition(client, world, asked):
    headers = bearer(world.issuer.token(["admin@*"]))
    for method, path in guarded(client):
        asked.clear()
        await client.request(method, address_of(path, partition="second"), headers=headers)
        assert set(asked) == {(action_of(method, path), partition_of(path), True)}, (method, path)


async def test_every_route_lets_exactly_the_roles_of_the_table_through(client, world, asked):
    for method, path in guarded(client):
        for role, actions in {**ROLES, "unknown": frozenset()}.items():
            for scope in ("main", "*"):
                headers = bearer(world.issuer.token([f"{role}@{scope}"]))
                asked.clear()
                answer = await client.request(method, address_of(path), headers=headers)
                said = (method, path, role, scope, answer.status_code)
                is_within = scope == "*" or path not in OF_ALL_PARTITIONS
                allowed = is_within and action_of(method, path) in actions
                assert {granted for *_, granted in asked} == {allowed}, said
                if allowed:
                    # It went on, and ended at the index that is down or at the body.
                    assert answer.status_code not in (401, 403, 500), said
                else:
                    assert answer.status_code == (403 if actions and is_within else 404), said
    feed = client._transport.app.state.components.access
    await feed.log.flush()
    records = [record async for _, record in read_records(world.store, SEALER)]
    assert all(record.kind != ACCESS_KIND_RETRIEVE for record in records)


async def test_every_route_refuses_nobody_and_strangers(client, world, asked):
    stranger = TestIssuer()
    stranger.key = type(stranger.key).generate_key("Ed25519", {"kid": world.issuer.key.kid})
    good = world.issuer.token(["admin@*"])
    bad = [
        {},
        bearer(""),
        bearer("x"),
        bearer(stranger.token(["admin@*"])),
        bearer(world.issuer.token(["admin@*"], seconds=-60)),
        {"Authorization": "Basic YWRtaW46YWRtaW4="},
        {"Authorization": good},
        {"Cookie": "gantry_session=x", "Sec-Fetch-Site": "same-origin"},
        {"Cookie": f"gantry_session={stranger.token(['admin@*'])}", "Sec-Fetch-Site": "same-origin"},
    ]
    for method, path in guarded(client):
        for headers in bad:
            answer = await client.request(method, address_of(path), headers=headers)
            assert answer.status_code == 401, (method, path, headers)
            assert ("invalid_token" in answer.headers["www-authenticate"]) == bool(headers)
        # A session that another site's page uses changes nothing.
        if method in CHANGES:
            for where in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
                headers = {"Cookie": f"gantry_session={good}"} | where
                answer = await client.request(method, address_of(path), headers=headers)
                assert answer.status_code == 403, (method, path, where)
        # A token in the address is none, and not one to go on with beside another.
        for headers in ({}, bearer(good)):
            answer = await client.request(
                method, address_of(path), headers=headers, params={"access_token": good}
            )
            assert answer.status_code == 400, (method, path)
            assert good not in answer.text
    assert not asked


async def test_another_partition_is_as_if_it_were_not_there(client, world):
    headers = bearer(world.issuer.token(["admin@main", "clinician@second"]))
    for method, path in guarded(client):
        if "{partition}" not in path:
            continue
        answers = [
            await client.request(method, address_of(path, partition=name), headers=headers)
            for name in ("other", "never", "No_Such")
        ]
        assert {answer.status_code for answer in answers} == {404}
        assert len({(answer.content, str(sorted(answer.headers.items()))) for answer in answers}) == 1
    # Whatever a parameter says, the path decides.
    for name in ("PartitionID", "partition", "StudyInstanceUID"):
        answer = await client.get(
            "/partitions/other/dicom-web/studies", params={name: "main"}, headers=headers
        )
        assert answer.status_code == 404


async def test_the_openapi_document_describes_whatever_has_to_be_allowed(client):
    described = (await client.get("/openapi.json")).json()["paths"]
    for method, path in guarded(client):
        if method != "HEAD":
            name = path.replace(":path}", "}")
            assert method.lower() in described.get(name, {}), (method, path)


async def test_what_is_public_names_nothing_that_is_stored(client, asked):
    for method, path in guarded(client):
        answer = await client.options(address_of(path))
        if path.startswith(ADMINISTRATION):
            assert answer.status_code == 405, path
            continue
        assert (answer.status_code, answer.content) == (204, b""), path
        assert method in answer.headers["allow"]
    for path in ("/livez", "/readyz", "/openapi.json", "/metrics"):
        assert (await client.get(path)).status_code == 200
    assert not asked
