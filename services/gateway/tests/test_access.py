"""Tokens, cookies, origins and records, while auth, PostgreSQL and Redis are down."""

import json
import time
from types import SimpleNamespace

import pytest
from gantry.access.v1.access_pb2 import (
    ACCESS_KIND_REFUSAL,
    ACCESS_KIND_SEARCH,
    ClaimGrant,
    Grant,
    Issuer,
    Revocation,
    VerificationKey,
)
from gantry_access.audit_chain import read_records, verify
from gantry_access.snapshots import publish_snapshot
from gantry_gateway.entrypoints.routes import PREFIXES, RESOURCES
from gantry_objectstore.sealing import Sealer
from gantry_testing.access import TestIssuer

SEALER = Sealer.from_text("test:" + "5e" * 32)
ORIGIN = "https://viewer.example"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def test_a_revoked_token_is_refused_as_soon_as_the_snapshot_is_there(world):
    await world.issuer.publish(world.store, SEALER)
    token = world.issuer.token(["clinician@main"], jti="to-revoke")
    async with world.gateway() as client:
        assert (await client.get("/dicom-web/studies", headers=bearer(token))).status_code == 503
        await world.issuer.publish(world.store, SEALER, revocations=[Revocation(token_id="to-revoke")])
        await client._transport.app.state.components.access.point.feed.refresh()
        answer = await client.get("/dicom-web/studies", headers=bearer(token))
        assert (answer.status_code, answer.json()["detail"]) == (401, "the token has been revoked")


async def test_somebody_of_another_issuer_may_what_its_claims_map_to_and_is_revoked_by_the_whole_name(world):
    theirs, name = TestIssuer(), "https://idp.test#7f3a"
    key = VerificationKey(key_id=theirs.key.kid, jwk_json=json.dumps(theirs.key.as_dict(private=False)))
    mapping = [ClaimGrant(value="radiology", grant=Grant(role="clinician", partition="main"))]
    other = Issuer(
        issuer="https://idp.test", audience="pacs", keys=[key], role_claim="realm.roles", claim_grants=mapping
    )

    def token(*roles, **claims):
        of_theirs = {"iss": "https://idp.test", "aud": "pacs", "realm": {"roles": roles}}
        return bearer(theirs.token(["admin@*"], subject="7f3a", **(of_theirs | claims)))

    async def publish(version, **fields):
        snapshot = world.issuer.snapshot(version, **fields)
        snapshot.issuers.append(other)
        await publish_snapshot(world.store, SEALER, snapshot)

    await publish(1)
    async with world.gateway() as client:
        statuses = [
            (await client.get("/dicom-web/studies", headers=headers)).status_code
            for headers in (token("radiology"), token("else"), token(), token("radiology", aud="gantry"))
        ]
        # 503: let in, and there is no database.
        assert statuses == [503, 404, 404, 401]
        assert (await client.delete("/dicom-web/studies/1.2", headers=token("radiology"))).status_code == 403
        soon = int((time.time() + 60) * 1e6)
        await publish(2, revocations=[Revocation(subject="7f3a", revoked_at_us=soon)])
        feed = client._transport.app.state.components.access.point.feed
        await feed.refresh()
        assert (await client.get("/dicom-web/studies", headers=token("radiology"))).status_code == 503
        await publish(3, revocations=[Revocation(subject=name, revoked_at_us=soon)])
        await feed.refresh()
        assert (await client.get("/dicom-web/studies", headers=token("radiology"))).status_code == 401


@pytest.mark.parametrize(("good_for", "age", "maximum"), [(60, 61, 0), (3600, 61, 60)])
async def test_a_start_with_rules_that_are_too_old_lets_nobody_in(world, good_for, age, maximum):
    await world.issuer.publish(world.store, SEALER, good_for=good_for, age=age)
    async with world.gateway(policy_max_age_seconds=maximum) as client:
        for headers in (bearer(world.issuer.token(["admin@*"])), {}):
            answer = await client.get("/dicom-web/studies", headers=headers)
            assert answer.json()["detail"] == "the rules of access are not known at present"
            assert answer.status_code == 503


async def test_a_restart_decides_by_the_snapshot_alone_until_it_is_too_old(world):
    await world.issuer.publish(world.store, SEALER, good_for=3600)
    token = world.issuer.token(["modality@main"])
    for _ in range(2):
        async with world.gateway() as client:
            assert (await client.get("/dicom-web/studies", headers=bearer(token))).status_code == 503
            assert (await client.get("/dicom-web/studies/1.2", headers=bearer(token))).status_code == 403
            feed = client._transport.app.state.components.access.point.feed
            good_until = feed.current().good_until
            feed._clock = lambda at=good_until: at
            answer = await client.get("/dicom-web/studies/1.2", headers=bearer(token))
            assert answer.json()["detail"] == "the rules of access are not known at present"


async def test_without_any_snapshot_nobody_is_let_in(world):
    async with world.gateway() as client:
        assert (await client.get("/dicom-web/studies")).status_code == 503


async def test_a_session_cookie_reads_and_changes_only_from_our_own_pages(world):
    await world.issuer.publish(world.store, SEALER)
    cookie = {"Cookie": f"gantry_session={world.issuer.token(['technologist@main'])}"}
    async with world.gateway() as client:
        assert (await client.get("/dicom-web/studies", headers=cookie)).status_code == 503
        for headers, status in [
            ({}, 403),
            ({"Sec-Fetch-Site": "same-origin"}, 415),
            ({"Sec-Fetch-Site": "same-site"}, 403),
            ({"Sec-Fetch-Site": "none"}, 403),
            ({"Sec-Fetch-Site": "Same-Origin", "Origin": "http://pacs.test"}, 403),
            ({"Sec-Fetch-Site": "cross-site", "Origin": "http://pacs.test"}, 403),
            ({"Origin": "http://pacs.test"}, 415),
            ({"Origin": "http://pacs.test:80"}, 415),
            ({"Origin": "https://pacs.test"}, 403),
            ({"Origin": "http://pacs.test.evil.example"}, 403),
            ({"Origin": "null"}, 403),
        ]:
            answer = await client.post("/dicom-web/studies", headers=cookie | headers)
            assert answer.status_code == status, headers


async def test_listed_origins_may_ask_with_a_token_and_others_are_told_nothing(world):
    await world.issuer.publish(world.store, SEALER)
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    paths = ["/studies", "/studies/1.2/metadata", "/studies/1.2/series/1.3/instances/1.4/frames/1"]
    async with world.gateway() as client:
        for path in paths:
            answer = await client.options(f"/dicom-web{path}", headers=ask | {"Origin": ORIGIN})
            assert answer.status_code == 204
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            allowed = answer.headers["access-control-allow-headers"].lower()
            assert {"authorization", "accept", "content-type"} <= set(allowed.split(", "))
            methods = set(answer.headers["access-control-allow-methods"].split(", "))
            assert {resource.method for resource in RESOURCES} <= methods
            refused = await client.options(
                f"/dicom-web{path}", headers=ask | {"Origin": "https://evil.example"}
            )
            assert not [name for name in refused.headers if name.startswith("access-control")]
        second = await client.get("/dicom-web/studies", headers={"Origin": "https://second.example"})
        assert second.headers["access-control-allow-origin"] == "https://second.example"
        expired = bearer(world.issuer.token(["admin@*"], seconds=-60))
        answer = await client.get("/dicom-web/studies", headers=expired | {"Origin": ORIGIN})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, ORIGIN)
        assert "www-authenticate" in answer.headers
        assert "access-control-allow-credentials" not in answer.headers
        assert "Origin" in answer.headers["vary"]
        for origin in ("https://evil.example", "null", f"{ORIGIN}.evil.example", "http://viewer.example", ""):
            other = await client.get("/dicom-web/studies", headers=expired | {"Origin": origin})
            assert "access-control-allow-origin" not in other.headers


async def test_a_bug_has_the_browsers_headers_too(world, monkeypatch):
    await world.issuer.publish(world.store, SEALER)
    async with world.gateway() as client:
        components = client._transport.app.state.components
        monkeypatch.setattr(type(components.index), "search", None)
        headers = bearer(world.issuer.token(["clinician@main"])) | {"Origin": ORIGIN}
        answer = await client.get("/dicom-web/studies", headers=headers)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (500, ORIGIN)
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_answers_of_the_archive_are_kept_by_no_shared_cache_and_run_nothing(world):
    await world.issuer.publish(world.store, SEALER)
    async with world.gateway(public_base_url="https://pacs.test") as client:
        answer = await client.get("/dicom-web/studies")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["strict-transport-security"]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


async def test_searches_and_refusals_are_recorded_and_the_chain_holds(world):
    await world.issuer.publish(world.store, SEALER)
    async with world.gateway() as client:
        headers = bearer(world.issuer.token(["clinician@main"], subject="ann"))
        for _ in range(3):
            await client.get("/dicom-web/studies?PatientName=Doe", headers=headers)
        await client.post("/dicom-web/studies", headers=headers)
        await client.get("/partitions/other/dicom-web/studies/1.2", headers=headers)
        await client.get("/dicom-web/studies")
    records = [record async for _, record in read_records(world.store, SEALER)][1:-1]
    assert [(r.kind, r.principal, r.operation, r.partition, r.outcome) for r in records] == [
        (ACCESS_KIND_SEARCH, "ann", "GET /dicom-web/studies", "main", "clinician@main"),
        (ACCESS_KIND_REFUSAL, "ann", "POST /dicom-web/studies", "", "not-allowed"),
        (ACCESS_KIND_REFUSAL, "ann", f"GET {PREFIXES[1]}/studies/{{study}}", "", "not-found"),
        (ACCESS_KIND_REFUSAL, "anonymous", "GET /dicom-web/studies", "", "not-authenticated"),
    ]
    assert "Doe" not in str(records)
    result = await verify(world.store, SEALER)
    assert (result.problems, result.unclosed) == ([], [])


async def test_what_cannot_be_recorded_is_not_answered(world, monkeypatch):
    await world.issuer.publish(world.store, SEALER)
    headers = bearer(world.issuer.token(["clinician@main"]))
    async with world.gateway() as client:
        components = client._transport.app.state.components
        page = SimpleNamespace(documents=[b"{}"], remaining=0, remaining_is_exact=True)

        async def search(_self, _query):
            return page

        monkeypatch.setattr(type(components.index), "search", search)
        assert (await client.get("/dicom-web/studies", headers=headers)).status_code == 200

        def full(_descriptor, _data):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("gantry_access.audit._write_all", full)
            answer = await client.get("/dicom-web/series", headers=headers | {"Origin": ORIGIN})
            assert answer.status_code == 503
            assert answer.json()["detail"] == "accesses cannot be recorded at present"
            assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert (await client.get("/dicom-web/series", headers=headers)).status_code == 200


async def test_health_needs_no_login(world):
    async with world.gateway() as client:
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/openapi.json")).status_code == 200
