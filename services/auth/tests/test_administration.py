"""Who may administer, by every route and every role; clients, tokens, and what comes of odd requests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from gantry.access.v1.access_pb2 import ACCESS_KIND_CHANGE, ACCESS_KIND_REFUSAL
from gantry_access.audit_chain import read_records
from gantry_access.claims import take_apart
from gantry_access.policy import Grant
from gantry_access.roles import ROLES
from gantry_access.tokens import TokenVerifier
from gantry_auth import commands
from gantry_auth.app import routes
from gantry_dicom.errors import NotAuthenticated
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey

SECRET = "a-secret-of-a-program-in-the-tests-0123456789"
# What may be asked for without a token; everything else is an administrator's.
OPEN = {
    "/auth/.well-known/openid-configuration",
    "/auth/.well-known/oauth-authorization-server",
    "/auth/jwks",
    "/auth/authorize",
    "/auth/token",
    "/auth/revoke",
    "/auth/login",
    "/auth/logout",
    "/auth/session",
    "/auth/session/refresh",
    "/auth/session.js",
}
WITH_ANY_TOKEN = {"/auth/userinfo"}
BODIES = {
    "/auth/admin/users": {"name": "eve"},
    "/auth/admin/users/{name}/grants": {"grants": []},
    "/auth/admin/clients": {"client_id": "eve", "grants": []},
    "/auth/admin/clients/{client_id}/grants": {"grants": []},
    "/auth/admin/application-entities": {"ae_title": "EVE"},
}


def guarded():
    """Return method and path of every route that needs a token."""
    return [
        (method, route.path)
        for route in routes("/auth")
        for method in sorted(route.methods - {"HEAD"})
        if route.path not in OPEN
    ]


async def call(http, method, path, **options):
    place = path.replace("{name:path}", "x").replace("{name}", "x").replace("{client_id}", "x")
    body = BODIES.get(path, {}) if method in ("POST", "PUT") else None
    return await http.request(method, place.replace("{title}", "X"), json=body, **options)


async def test_every_route_that_is_not_open_needs_a_token_and_never_one_in_the_address(auth):
    assert len(guarded()) > 15
    token = (await auth.token()).json()["access_token"]
    async with auth.client() as http:
        http.cookies.set("gantry_session", token)
        for method, path in guarded():
            for options in (
                {},
                {"params": {"access_token": token}},
                {"headers": {"Authorization": "Basic eDp5"}},
            ):
                answer = await call(http, method, path, **options)
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("grant", [*(f"{role}@*" for role in ROLES if role != "admin"), "admin@main", ""])
async def test_no_role_but_the_administrators_of_everything_administers(auth, grant):
    commands.ensure_client(auth.service, "program", SECRET, [grant] if grant else [])
    token = (await auth.token("program", SECRET)).json()["access_token"]
    async with auth.client(headers={"Authorization": f"Bearer {token}"}) as http:
        for method, path in guarded():
            expected = 200 if path in WITH_ANY_TOKEN else 403
            assert (await call(http, method, path)).status_code == expected, (method, path)
    await auth.service.log.flush()
    kept = [r async for _, r in read_records(auth.parts.store, auth.parts.publisher.sealer)]
    refused = {r.operation for r in kept if r.kind == ACCESS_KIND_REFUSAL and r.principal == "client:program"}
    assert refused == {f"{method} {path}" for method, path in guarded() if path not in WITH_ANY_TOKEN}


async def test_every_change_is_recorded_with_who_made_it_to_whom(auth):
    await auth.add_user()
    await auth.add_user("bob")
    await auth.admin("POST", "users/bob/revoke")
    await auth.admin("POST", "users/nobody/revoke")
    await auth.service.log.flush()
    kept = [r async for _, r in read_records(auth.parts.store, auth.parts.publisher.sealer)]
    made = [(r.principal, r.operation) for r in kept if r.kind == ACCESS_KIND_CHANGE and r.principal]
    operations = ["user add alice", "user add bob", "revoke bob"]
    assert made == [("client:administration", operation) for operation in operations]


async def test_refused_tokens_and_secrets_are_recorded_and_not_whose_they_might_be(auth):
    assert (await auth.token("administration", "x" * 43)).status_code == 401
    assert (await auth.token("my-password-is-hunter2", SECRET)).status_code == 401
    async with auth.client(headers={"Authorization": "Bearer a.b.c"}) as http:
        await http.get("/auth/admin/users")
    await auth.service.log.flush()
    kept = [r async for _, r in read_records(auth.parts.store, auth.parts.publisher.sealer)]
    refused = {(r.operation, r.outcome) for r in kept if r.kind == ACCESS_KIND_REFUSAL}
    assert refused == {("token", "invalid_client"), ("GET /auth/admin/users", "not authenticated")}
    assert "hunter2" not in str(kept)


# -- forged tokens, at the service's own doors


def encode(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(header, claims, key):
    head = {"typ": "at+jwt", "alg": "ES256"} | header
    return jws.serialize_compact(head, json.dumps(claims).encode(), key, algorithms=[head["alg"]])


class Forger:
    """Has a good token, the public key, and keys of its own."""

    def __init__(self, auth, token, public):
        self.auth, self.token, self.public = auth, token, public
        parts = take_apart(token)
        self.kid, self.claims = parts.header["kid"], parts.claims
        self.mine = ECKey.generate_key("P-256")
        self.mine_too = OKPKey.generate_key("Ed25519")

    async def status(self, token):
        async with self.auth.client(headers={"Authorization": f"Bearer {token}"}) as http:
            return (await http.get("/auth/admin/users")).status_code


@pytest.fixture
async def forging(auth):
    token = (await auth.token()).json()["access_token"]
    async with auth.client() as http:
        return Forger(auth, token, (await http.get("/auth/jwks")).json()["keys"][0])


async def test_a_good_token_is_let_in_and_its_forgeries_are_not(forging):
    claims, kid, mine = forging.claims, forging.kid, forging.mine
    public, own = forging.public, forging.mine.as_dict(private=False)
    assert await forging.status(forging.token) == 200
    none = f"{encode({'typ': 'at+jwt', 'alg': 'none', 'kid': kid})}.{encode(claims)}."
    head = f"{encode({'typ': 'at+jwt', 'alg': 'HS256', 'kid': kid})}.{encode(claims)}"
    forged = {
        "none": none,
        "none with a signature": none + forging.token.rpartition(".")[2],
        "another key": sign({"kid": kid}, claims, mine),
        "no kid": sign({}, claims, mine),
        "a key in the header": sign({"kid": kid, "jwk": own}, claims, mine),
        "a key in the header alone": sign({"jwk": own}, claims, mine),
        "a key elsewhere": sign({"kid": kid, "jku": "https://evil.example/keys"}, claims, mine),
        "a certificate elsewhere": sign({"kid": kid, "x5u": "https://evil.example/c"}, claims, mine),
        "another algorithm": sign({"kid": kid, "alg": "EdDSA"}, claims, forging.mine_too),
        "more rights": ".".join(
            [forging.token.split(".")[0], encode(claims | {"sub": "x"}), forging.token.split(".")[2]]
        ),
        "too long": forging.token + "A" * 10_000,
    }
    for secret in (
        json.dumps(public),
        json.dumps(public, sort_keys=True),
        ECKey.import_key(public).as_pem(False),
    ):
        data = secret.encode() if isinstance(secret, str) else secret
        forged[f"HS256 {len(data)}"] = (
            f"{head}.{encode(hmac.new(data, head.encode(), hashlib.sha256).digest())}"
        )
    statuses = {name: await forging.status(token) for name, token in forged.items()}
    assert statuses == dict.fromkeys(forged, 401)


async def test_a_token_signed_with_the_key_itself_must_be_of_now_ours_and_for_us(auth, forging):
    with auth.service.database.transaction() as connection:
        signer = auth.service.signer(connection)
    now = int(auth.clock().timestamp())

    def token(**changes):
        claims = {name: value for name, value in (forging.claims | changes).items() if value is not None}
        return signer.sign(claims, "at+jwt")

    # What the header says of keys elsewhere is not looked at, in a good token neither.
    pointed = sign(
        {"kid": signer.key_id, "jku": "https://evil.example/", "jwk": forging.mine.as_dict(private=False)},
        forging.claims,
        signer.key,
    )
    assert [await forging.status(good) for good in (token(), pointed)] == [200, 200]
    bad = {
        "expired": token(exp=now - 16),
        "not yet": token(nbf=now + 60),
        "of tomorrow": token(iat=now + 60),
        "another issuer": token(iss="https://evil.example"),
        "the issuer with a slash": token(iss=forging.claims["iss"] + "/"),
        "another audience": token(aud="viewer"),
        "nobody": token(sub=None),
        "no end": token(exp=None),
        "no number": token(jti=None),
        "an ID token": signer.sign(forging.claims, "id+jwt"),
    }
    assert {name: await forging.status(text) for name, text in bad.items()} == dict.fromkeys(bad, 401)


# -- clients that act for themselves


async def verify(auth, token):
    return TokenVerifier(await auth.snapshot(), clock=lambda: auth.clock().timestamp()).verify(token)


async def test_a_program_gets_tokens_of_its_grants_or_of_fewer(auth):
    commands.ensure_client(auth.service, "program", SECRET, ["service@main", "clinician@south"])
    answer = (await auth.token("program", SECRET)).json()
    assert "refresh_token" not in answer
    bearer = await verify(auth, answer["access_token"])
    assert bearer.name == "client:program"
    assert bearer.grants == {Grant("service", "main"), Grant("clinician", "south")}
    less = (await auth.token("program", SECRET, scope="service@main")).json()
    assert (await verify(auth, less["access_token"])).grants == {Grant("service", "main")}
    for scope in ("admin@main", "service@south", "service@*", "nonsense", "\0"):
        answer = await auth.token("program", SECRET, scope=scope)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize("client", ["program", "nobody", "pro\0gram", "x" * 9000, ""])
async def test_a_program_without_its_secret_gets_nothing(auth, client):
    commands.ensure_client(auth.service, "program", SECRET, ["service@main"])
    answer = await auth.token(client, "wrong")
    assert answer.status_code in (400, 401)
    assert "access_token" not in answer.text


async def test_a_program_logs_nobody_in_and_an_application_is_no_program(auth):
    secret = await auth.add_app("portal", public=False)
    assert (await auth.token("portal", secret)).json()["error"] == "unauthorized_client"
    for grant_type in ("password", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code", ""):
        answer = await auth.token(grant_type=grant_type, username="alice", password="x")
        assert answer.status_code == 400


async def test_a_revoked_program_gets_no_token_and_those_it_has_are_no_good(auth):
    commands.ensure_client(auth.service, "program", SECRET, ["service@main"])
    token = (await auth.token("program", SECRET)).json()["access_token"]
    assert (await auth.admin("POST", "clients/program/revoke")).status_code == 204
    assert (await auth.token("program", SECRET)).status_code == 401
    with pytest.raises(NotAuthenticated, match="revoked"):
        await verify(auth, token)


async def test_other_grants_make_tokens_of_before_no_good_at_once(auth):
    commands.ensure_client(auth.service, "program", SECRET, ["admin@*"])
    token = (await auth.token("program", SECRET)).json()["access_token"]
    answer = await auth.admin("PUT", "clients/program/grants", {"grants": ["clinician@main"]})
    assert answer.status_code == 204
    with pytest.raises(NotAuthenticated, match="revoked"):
        await verify(auth, token)
    fresh = (await auth.token("program", SECRET)).json()["access_token"]
    assert (await verify(auth, fresh)).grants == {Grant("clinician", "main")}


async def test_a_revoked_user_can_be_let_in_again_and_what_was_closed_stays_so(auth, browser):
    await auth.add_user()
    await browser.log_in()
    token = browser.http.cookies["gantry_session"]
    assert (await auth.admin("POST", "users/alice/revoke")).status_code == 204
    assert (await browser.log_in()).status_code == 403
    assert (await auth.admin("POST", "users/alice/reinstate")).status_code == 204
    assert (await browser.log_in()).status_code == 303
    with pytest.raises(NotAuthenticated, match="revoked"):
        await verify(auth, token)
    assert (await auth.admin("POST", "users/nobody/reinstate")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "users", {"name": "A"}),
        ("POST", "users", {"name": "a\0"}),
        ("POST", "users", {"name": "client:x"}),
        ("POST", "users", {"name": "eve", "grants": ["root@*"]}),
        ("POST", "users", {"name": "eve", "password": "short"}),
        ("POST", "users", {"name": "eve", "unknown": 1}),
        ("POST", "clients", {"client_id": "gantry"}),
        ("POST", "clients", {"client_id": "eve", "grant_types": ["password"]}),
        (
            "POST",
            "clients",
            {
                "client_id": "eve",
                "grant_types": ["authorization_code"],
                "redirect_uris": ["http://evil.example/"],
            },
        ),
        ("POST", "application-entities", {"ae_title": "EVE\\X"}),
        ("POST", "application-entities", {"ae_title": "EVE", "source_addresses": ["everywhere"]}),
        ("DELETE", "application-entities/%00", None),
        ("POST", "users/a%00b/revoke", None),
        ("POST", "users/https:%2F%2Fx%23/revoke", None),
        ("POST", "users/https:%2F%2Fx%23a%00b/revoke", None),
    ],
)
async def test_what_cannot_be_is_refused(auth, method, path, body):
    answer = await auth.admin(method, path, body)
    assert answer.status_code in (400, 404), answer.text


# -- odd requests of anybody


@pytest.mark.parametrize(
    "fields",
    [
        {"client_id": "viewer", "grant_type": "authorization_code", "code": "\0", "redirect_uri": "\0"},
        {"client_id": "\0", "grant_type": "refresh_token", "refresh_token": "x"},
        {"grant_type": "refresh_token"},
        {"grant_type": ""},
    ],
)
async def test_odd_forms_at_the_token_endpoint_are_the_callers_fault(auth, fields):
    await auth.add_app()
    async with auth.client() as http:
        assert (await http.post("/auth/token", data=fields)).status_code in (400, 401)
        twice = b"grant_type=client_credentials&grant_type=refresh_token"
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await http.post("/auth/token", content=twice, headers=form)).status_code == 400
        assert (await http.post("/auth/token", content=b"a=%ff", headers=form)).status_code == 400
        assert (await http.post("/auth/token", content=b"a" * 70_000, headers=form)).status_code == 413
        assert (await http.post("/auth/token", json={})).status_code == 415
        assert (await http.get("/auth/token")).status_code == 405


async def test_odd_authorization_requests_are_the_callers_fault(auth, browser):
    await auth.add_user()
    await auth.add_app()
    await browser.log_in()
    for changes in ({"nonce": "\0"}, {"client_id": "\0"}, {"state": "\0"}, {"nonce": "n" * 600}):
        answer = await browser.authorize(**changes)
        assert answer.status_code in (302, 400)
        assert "code=" not in answer.headers.get("location", "") or changes.keys() == {"state"}
