"""Signing keys: found by clients of others, followed by the next without anybody noticing."""

from __future__ import annotations

import json

import httpx
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from gantry_access.claims import take_apart
from gantry_access.tokens import TokenVerifier
from gantry_auth import commands
from gantry_auth.upkeep import tend
from gantry_dicom.errors import NotAuthenticated
from joserfc import jwt
from joserfc.jwk import KeySet


async def verifier(auth):
    return TokenVerifier(await auth.snapshot(), clock=lambda: auth.clock().timestamp())


async def token(auth):
    return (await auth.token()).json()["access_token"]


async def published(auth):
    async with auth.client() as http:
        return [key["kid"] for key in (await http.get("/auth/jwks")).json()["keys"]]


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
async def test_a_client_of_others_finds_its_way_by_discovery_alone(start, helpers, algorithm):
    auth = await start(signing_algorithm=algorithm)
    await auth.add_user()
    await auth.add_app()
    async with auth.client() as http:
        document = (await http.get("/auth/.well-known/openid-configuration")).json()
        assert (await http.get("/auth/.well-known/oauth-authorization-server")).json() == document
        browser = helpers.Browser(http)
        await browser.log_in()
        # Authlib takes plain http for no endpoint; on one machine it is.
        over_tls = json.loads(json.dumps(document).replace("http://", "https://"))
        AuthorizationServerMetadata(over_tls).validate()
        client = AsyncOAuth2Client(
            "viewer",
            redirect_uri=helpers.CALLBACK,
            scope="openid",
            code_challenge_method="S256",
            token_endpoint_auth_method="none",
            transport=httpx.ASGITransport(app=auth.app),
        )
        url, state = client.create_authorization_url(
            document["authorization_endpoint"], code_verifier=helpers.VERIFIER, nonce="n"
        )
        callback = (await http.get(url)).headers["location"]
        tokens = await client.fetch_token(
            document["token_endpoint"],
            authorization_response=callback,
            code_verifier=helpers.VERIFIER,
            state=state,
        )
        keys = KeySet.import_key_set((await http.get(document["jwks_uri"])).json())
        for name in ("access_token", "id_token"):
            decoded = jwt.decode(tokens[name], keys, algorithms=[algorithm])
            assert decoded.claims["iss"] == document["issuer"]
        refreshed = await client.refresh_token(document["token_endpoint"])
        assert refreshed["refresh_token"] != tokens["refresh_token"]
        await client.aclose()


async def test_a_rotation_is_noticed_by_nobody(auth):
    first = await token(auth)
    (old,) = await published(auth)
    commands.rotate_keys(auth.service, distrust=False)
    checks = await verifier(auth)
    assert len(await published(auth)) == 2
    # Published, but not signing yet: whoever looks now and then knows it before it is used.
    assert header(await token(auth))["kid"] == old
    auth.clock.wait(minutes=15, seconds=1)
    tend(auth.service)
    second = await token(auth)
    assert header(second)["kid"] != old
    checks.verify(second)
    checks.verify(await token(auth))
    checks = await verifier(auth)
    with pytest.raises(NotAuthenticated, match="expired"):
        checks.verify(first)
    # Once nothing that it signed can be good it is forgotten, everywhere.
    auth.clock.wait(minutes=11, seconds=1)
    tend(auth.service)
    assert old not in await published(auth)
    with pytest.raises(NotAuthenticated, match="key is not known"):
        (await verifier(auth)).verify(first)
    (await verifier(auth)).verify(await token(auth))


async def test_a_token_of_the_last_moment_of_a_key_is_good_to_its_end(auth):
    commands.rotate_keys(auth.service, distrust=False)
    await auth.snapshot()
    auth.clock.wait(minutes=14, seconds=58)
    last = await token(auth)
    auth.clock.wait(minutes=9, seconds=55)
    tend(auth.service)
    assert header(await token(auth))["kid"] != header(last)["kid"]
    (await verifier(auth)).verify(last)


async def test_keys_follow_each_other_by_the_clock(auth):
    seen = {header(await token(auth))["kid"]}
    for _ in range(3):
        auth.clock.wait(days=30)
        tend(auth.service)
        await auth.snapshot()
        auth.clock.wait(minutes=20)
        tend(auth.service)
        text = await token(auth)
        (await verifier(auth)).verify(text)
        seen.add(header(text)["kid"])
    assert len(seen) == 4
    assert len(await published(auth)) <= 2


async def test_a_key_that_no_snapshot_holds_does_not_sign(auth, monkeypatch):
    old = header(await token(auth))["kid"]

    async def away(*_args, **_options):
        raise OSError

    monkeypatch.setattr(auth.parts.publisher.store, "put", away)
    commands.rotate_keys(auth.service, distrust=False)
    auth.clock.wait(minutes=20)
    tend(auth.service)
    assert header(await token(auth))["kid"] == old


async def test_distrust_makes_every_token_of_before_worthless_at_once(auth):
    before = await token(auth)
    commands.rotate_keys(auth.service, distrust=True)
    checks = await verifier(auth)
    with pytest.raises(NotAuthenticated, match="key is not known"):
        checks.verify(before)
    checks.verify(await token(auth))


async def test_private_keys_open_with_a_key_of_the_deployment_that_was_rotated_too(start, make_settings):
    auth = await start()
    before = await token(auth)
    renewed = await start(seal_keys="new:" + "77" * 32 + ",test:" + "a5" * 32)
    assert header(await token(renewed))["kid"] == header(before)["kid"]


def header(text):
    return take_apart(text).header
