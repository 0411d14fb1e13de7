"""Statements for every service that are seen only where the archive's parts are at hand."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import redis
from gantry_access.snapshots import POLICY_CHANNEL
from gantry_testing.access import TestIssuer
from gantry_testing.stack import Stack
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from gantry_testing.web import encode_multipart


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """An archive with rules."""
    folder = tmp_path_factory.mktemp("guarded")
    rules = {"GANTRY_POLICY": "rules", "GANTRY_ACCESS_LOG_FOLDER": str(folder / "access")}
    with Stack(folder, environment=rules) as stack:
        yield stack


@pytest.fixture(scope="module")
def issuer(guarded):
    """The one whose tokens the archive trusts."""
    trusted = TestIssuer()

    async def publish():
        store = guarded.open_store()
        version = await trusted.publish(store, guarded.sealer)
        await store.close()
        return version

    version = asyncio.run(publish())
    with redis.Redis.from_url(guarded.valkey.url) as client:
        client.publish(POLICY_CHANNEL, version)
    return trusted


@pytest.fixture
def caller(guarded, issuer):
    """Return a client with a token for some grants."""
    clients = []

    def make(*grants):
        headers = {"Authorization": f"Bearer {issuer.token(grants)}"} if grants else {}
        clients.append(httpx.Client(base_url=guarded.base_url(), headers=headers, timeout=60))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def test_c14_no_token_is_401_no_right_403_and_another_scope_404_and_never_counted(guarded, caller):
    admin, modality, stranger = caller("admin@main"), caller("modality@main"), caller("admin@elsewhere")
    wait_for(lambda: admin.get("/studies").status_code == 200, "the rules to arrive", 10)
    instances = generate_study(14, "SC", instances=2)
    content_type, body = encode_multipart([instance.data for instance in instances])
    assert admin.post("/studies", content=body, headers={"Content-Type": content_type}).status_code == 200
    study = f"/studies/{instances[0].study_uid}"

    refused = caller().get(study)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert modality.get(study).status_code == 403
    assert stranger.get(study).status_code == 404
    own = guarded.base_url("elsewhere")
    found = stranger.get(f"{own}/studies", params={"limit": "1"})
    assert (found.status_code, found.json()) == (200, [])
    assert "warning" not in found.headers
    assert stranger.get(f"{own}{study}/metadata").status_code == 404


def test_c15_without_the_index_searches_are_503_and_say_when_to_come_back(guarded, caller):
    admin = caller("admin@main")
    wait_for(lambda: admin.get("/studies").status_code == 200, "the rules to arrive", 10)
    guarded.postgres.kill()
    try:
        answer = admin.get("/studies")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["content-type"] == "application/problem+json"
    finally:
        guarded.restart_postgres()
