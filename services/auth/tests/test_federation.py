"""Tokens of other issuers: a second service of ours as a process, and one that answers as a test wants."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import httpx
import pytest
from gantry_access.policy import Grant
from gantry_access.tokens import TokenVerifier
from gantry_auth.adapters.other_issuers import fetch_keys
from gantry_auth.settings import FederatedIssuer
from gantry_auth.upkeep import refresh_issuer, tend
from gantry_dicom.errors import NotAuthenticated, Unavailable
from gantry_embedded.ports import free_port
from gantry_testing.waiting import wait_for
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from pydantic import ValidationError

SECRET = "a-secret-of-the-other-issuer-0123456789abcdef"
MAPPING = {"clinician@main": ["technologist@south", "clinician@north"], "unused": ["admin@*"]}
RSA = RSAKey.generate_key(2048, {"kid": "r1", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "e1"})


class OtherIssuer:
    """A second instance of the service, with its own database, bucket and keys."""

    def __init__(self, postgres_server, template, folder):
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}/idp"
        (folder / "store").mkdir()
        self.environment = os.environ | {
            "GANTRY_ISSUER": self.issuer,
            "GANTRY_HTTP_PORT": str(self.port),
            "GANTRY_CORE_DSN": postgres_server.create_database("core_of_the_other_issuer", template),
            "GANTRY_STORE_URL": (folder / "store").as_uri(),
            "GANTRY_SEAL_KEYS": "other:" + "5a" * 32,
            "GANTRY_ACCESS_LOG_FOLDER": str(folder / "records"),
            "GANTRY_KEY_PREPUBLISH_SECONDS": "0",
            "GANTRY_POLICY_WATCH_SECONDS": "0.05",
        }
        secret = folder / "secret"
        secret.write_text(SECRET)
        self.process = subprocess.Popen([sys.executable, "-m", "gantry_auth"], env=self.environment)
        wait_for(self._serves, "the other issuer")
        self.run("ensure-client", "reader", "--secret-file", str(secret), "--grant", "clinician@main")
        self.run("ensure-client", "other", "--secret-file", str(secret), "--grant", "technologist@main")

    def run(self, *arguments):
        subprocess.run(
            [sys.executable, "-m", "gantry_auth", *arguments], env=self.environment, check=True, timeout=60
        )

    def token(self, client="reader"):
        answer = httpx.post(
            f"{self.issuer}/token", data={"grant_type": "client_credentials"}, auth=(client, SECRET)
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def configured(self, **changes):
        values = {"issuer": self.issuer, "audience": "gantry", "role_claim": "grants", "grants": MAPPING}
        return FederatedIssuer(**(values | changes))

    def _serves(self):
        try:
            return bool(httpx.get(f"{self.issuer}/jwks").json()["keys"])
        except (httpx.HTTPError, KeyError, ValueError):
            return False

    def close(self):
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def other(postgres_server, core_template, tmp_path_factory):
    issuer = OtherIssuer(postgres_server, core_template, tmp_path_factory.mktemp("other"))
    yield issuer
    issuer.close()


@pytest.fixture
async def federated(start, other):
    """Our service, which trusts the other."""
    running = await start(federated_issuers=(other.configured(),))
    refresh_issuer(running.service, other.configured())
    return running


async def verifier(running):
    return TokenVerifier(await running.snapshot(), clock=lambda: running.clock().timestamp())


async def test_a_token_of_the_other_issuer_has_the_mapped_rights_and_no_others(federated, other):
    bearer = (await verifier(federated)).verify(other.token())
    assert bearer.name == f"{other.issuer}#client:reader"
    assert bearer.grants == {Grant("technologist", "south"), Grant("clinician", "north")}


async def test_a_claim_that_is_not_mapped_gives_nothing(federated, other):
    assert (await verifier(federated)).verify(other.token("other")).grants == frozenset()


async def test_discovery_without_help_and_by_the_loop_itself(start, other):
    running = await start(federated_issuers=(other.configured(),))

    async with asyncio.timeout(10):
        while len((await running.snapshot()).issuers) != 2:  # noqa: ASYNC110 - of a loop that tells nobody
            await asyncio.sleep(0.02)


async def test_a_token_for_another_audience_is_refused(start, other):
    configured = other.configured(audience="somebody-else")
    running = await start(federated_issuers=(configured,))
    refresh_issuer(running.service, configured)
    with pytest.raises(NotAuthenticated, match="not for this service"):
        (await verifier(running)).verify(other.token())


async def test_an_issuer_that_is_not_configured_is_not_trusted_nor_one_that_was_removed(
    start, federated, other
):
    token = other.token()
    (await verifier(federated)).verify(token)
    removed = await start()
    with pytest.raises(NotAuthenticated, match="not trusted"):
        (await verifier(removed)).verify(token)


async def test_new_keys_of_the_issuer_are_fetched_and_the_old_are_not_kept(federated, other):
    before = other.token()
    other.run("rotate-keys", "--distrust")
    wait_for(lambda: _key_of(other.token()) != _key_of(before), "the new key")
    after = other.token()
    with pytest.raises(NotAuthenticated, match="key is not known"):
        (await verifier(federated)).verify(after)
    refresh_issuer(federated.service, other.configured())
    checks = await verifier(federated)
    checks.verify(after)
    with pytest.raises(NotAuthenticated, match="key is not known"):
        checks.verify(before)


async def test_keys_outlive_the_issuer_but_not_their_age(start, clock, helpers):
    with answering({}) as (issuer, answers):
        serve_keys(answers, issuer, RSA)
        configured = trusted(issuer)
        running = await start(federated_issuers=(configured,), federation_keys_good_for_seconds=3600)
        refresh_issuer(running.service, configured)
    with pytest.raises(Unavailable):
        refresh_issuer(running.service, configured)
    clock.wait(minutes=59)
    (await verifier(running)).verify(sign(issuer, RSA, running))
    clock.wait(minutes=2)
    with pytest.raises(NotAuthenticated, match="not trusted"):
        (await verifier(running)).verify(sign(issuer, RSA, running))
    tend(running.service)
    with running.service.database.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM auth.federated_keys").fetchone() == (0,)


async def test_a_federated_subject_is_barred_and_let_in_again(federated, other):
    name = f"{other.issuer}#client:reader"
    token = other.token()
    assert (await federated.admin("POST", f"users/{quoted(name)}/revoke")).status_code == 204
    assert (await federated.admin("GET", "barred")).json() == [name]
    with pytest.raises(NotAuthenticated, match="revoked"):
        (await verifier(federated)).verify(token)
    # Also what the issuer makes later, and nobody else.
    federated.clock.wait(days=300)
    with pytest.raises(NotAuthenticated):
        (await verifier(federated)).verify(token)
    federated.clock.wait(days=-300)
    (await verifier(federated)).verify(other.token("other"))
    assert (await federated.admin("POST", f"users/{quoted(name)}/reinstate")).status_code == 204
    (await verifier(federated)).verify(token)
    assert (await federated.admin("POST", f"users/{quoted(name)}/reinstate")).status_code == 404


async def test_a_federated_administrator_administers(start, other):
    configured = other.configured(grants={"clinician@main": ["admin@*"], "technologist@main": ["admin@main"]})
    running = await start(federated_issuers=(configured,))
    refresh_issuer(running.service, configured)
    async with running.client() as http:
        for client, status in (("reader", 200), ("other", 403)):
            headers = {"Authorization": f"Bearer {other.token(client)}"}
            assert (await http.get("/auth/admin/users", headers=headers)).status_code == status


# -- an issuer that answers as a test wants


@contextmanager
def answering(answers):
    """Serve ``answers``: what is answered (a status, a document, bytes or a place to go) by path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer = answers.get(self.path, 404)
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(answer if isinstance(answer, int) else 302 if isinstance(answer, str) else 200)
            if isinstance(answer, str):
                self.send_header("Location", answer)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", answers
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


CONFIGURATION = "/.well-known/openid-configuration"


def serve_keys(answers, issuer, *keys):
    answers[CONFIGURATION] = {"issuer": issuer, "jwks_uri": f"{issuer}/keys"}
    answers["/keys"] = {"keys": [key.as_dict() if not isinstance(key, dict) else key for key in keys]}


def trusted(issuer, **changes):
    grants = {"r": ["clinician@main"]}
    values = {"issuer": issuer, "audience": "pacs", "role_claim": "realm.roles", "grants": grants}
    return FederatedIssuer(**(values | changes))


def sign(issuer, key, running, **changes):
    now = int(running.clock().timestamp())
    times = {"iat": now, "exp": now + 60}
    claims = {"iss": issuer, "sub": "7f3a", "aud": "pacs", "realm": {"roles": ["r"]}} | times
    algorithm = "RS256" if key.key_type == "RSA" else "ES256"
    return jwt.encode({"alg": algorithm, "kid": key.kid}, claims | changes, key, algorithms=[algorithm])


async def test_keys_of_both_families_come_without_their_private_parts(start):
    with answering({}) as (issuer, answers):
        private = [RSA.as_dict(private=True), EC.as_dict(private=True)]
        serve_keys(answers, issuer, *private, OctKey.generate_key(256, {"kid": "o"}).as_dict(), {"kty": "EC"})
        configured = trusted(issuer)
        running = await start(federated_issuers=(configured,))
        refresh_issuer(running.service, configured)
    snapshot = await running.snapshot()
    assert [key.key_id for key in snapshot.issuers[1].keys] == ["r1", "e1"]
    assert not any('"d"' in key.jwk_json or '"p"' in key.jwk_json for key in snapshot.issuers[1].keys)
    checks = await verifier(running)
    for key in (RSA, EC):
        bearer = checks.verify(sign(issuer, key, running))
        assert (bearer.name, bearer.grants) == (f"{issuer}#7f3a", {Grant("clinician", "main")})


async def test_an_issuer_says_nothing_about_ours_and_its_names_have_bounds(start, helpers):
    with answering({}) as (issuer, answers):
        serve_keys(answers, issuer, RSA)
        configured = trusted(issuer)
        running = await start(federated_issuers=(configured,))
        refresh_issuer(running.service, configured)
    checks = await verifier(running)
    # Ours by name, signed by them; and ours by the claim that only our own issuer is believed.
    with pytest.raises(NotAuthenticated):
        checks.verify(sign(helpers.ISSUER, RSA, running, aud="gantry", grants=["admin@*"]))
    assert checks.verify(sign(issuer, RSA, running, grants=["admin@*"], realm={})).grants == frozenset()
    for subject in ("x" * 256, "a\0b", "a\nb", "", 7):
        with pytest.raises(NotAuthenticated):
            checks.verify(sign(issuer, RSA, running, sub=subject))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda issuer: {CONFIGURATION: 500},
        lambda issuer: {CONFIGURATION: b"<html>"},
        lambda issuer: {CONFIGURATION: []},
        lambda issuer: {CONFIGURATION: {"issuer": "https://else.example", "jwks_uri": f"{issuer}/keys"}},
        lambda issuer: {CONFIGURATION: {"issuer": issuer}},
        lambda issuer: {CONFIGURATION: {"issuer": issuer, "jwks_uri": "file:///etc/passwd"}},
        lambda issuer: {CONFIGURATION: {"issuer": issuer, "jwks_uri": "http://192.0.2.1/keys"}},
        lambda issuer: {CONFIGURATION: f"{issuer}/elsewhere"},
        lambda issuer: {"/keys": {"keys": []}},
        lambda issuer: {"/keys": {"keys": "none"}},
        lambda issuer: {"/keys": b" " * (1 << 20)},
        lambda issuer: {"/keys": b"[" * 100_000},
    ],
)
def test_an_issuer_that_answers_otherwise_than_one_gives_no_keys(spoil):
    with answering({}) as (issuer, answers):
        serve_keys(answers, issuer, RSA)
        assert fetch_keys(trusted(issuer))
        answers["/elsewhere"] = answers[CONFIGURATION]
        answers.update(spoil(issuer))
        with pytest.raises(Unavailable):
            fetch_keys(trusted(issuer))


@pytest.mark.parametrize(
    "issuer",
    [
        "http://idp.example",
        "ftp://idp.example",
        "https://",
        "https://user@idp.example",
        "https://idp.example#x",
        "https://idp.example?x=1",
        "http://127.0.0.1.evil.example",
    ],
)
def test_an_issuer_whose_keys_could_be_changed_on_the_way_or_whose_name_is_in_doubt_is_refused(issuer):
    with pytest.raises(ValidationError):
        trusted(issuer)


def _key_of(token):
    # The header is the same for every token of a key.
    return token.partition(".")[0]


def quoted(name):
    return quote(name, safe="")
