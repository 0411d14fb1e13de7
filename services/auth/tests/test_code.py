"""Authorization code with PKCE, its ID token and its refresh tokens."""

from __future__ import annotations

import asyncio
import json

import pytest
from gantry_access.policy import Grant
from gantry_access.tokens import TokenVerifier
from gantry_dicom.errors import NotAuthenticated
from joserfc import jwt
from joserfc.jwk import ECKey


@pytest.fixture
async def logged_in(auth, browser):
    await auth.add_user()
    await auth.add_app()
    assert (await browser.log_in()).status_code == 303
    return browser


async def verify(auth, token):
    return TokenVerifier(await auth.snapshot(), clock=lambda: auth.clock().timestamp()).verify(token)


async def test_a_code_gives_tokens_that_services_accept(auth, logged_in, helpers):
    answer = await logged_in.authorize()
    assert answer.status_code == 302
    assert answer.headers["location"].startswith(helpers.CALLBACK + "?")
    sent_back = helpers.parameters(answer.headers["location"])
    assert (sent_back["state"], sent_back["iss"]) == ("st4te", helpers.ISSUER)

    tokens = (await logged_in.redeem(sent_back["code"])).json()
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 600)
    assert set(tokens["scope"].split()) == {"openid", "profile", "clinician@main"}
    bearer = await verify(auth, tokens["access_token"])
    assert (bearer.name, bearer.grants) == ("alice", {Grant("clinician", "main")})


async def test_the_id_token_is_for_the_client_and_is_no_access_token(auth, logged_in, helpers):
    tokens = (await logged_in.redeem(await logged_in.code())).json()
    keys = (await logged_in.http.get("/auth/jwks")).json()["keys"]
    assert all("d" not in key for key in keys)
    claims = jwt.decode(tokens["id_token"], ECKey.import_key(keys[0]), algorithms=["ES256"]).claims
    assert claims["iss"] == helpers.ISSUER
    assert claims["aud"] == ["viewer"]
    assert (claims["sub"], claims["preferred_username"]) == ("alice", "alice")
    assert claims["nonce"] == "n0nce"
    with pytest.raises(NotAuthenticated):
        await verify(auth, tokens["id_token"])


async def test_without_the_scope_openid_there_is_no_id_token(logged_in):
    tokens = (await logged_in.redeem(await logged_in.code(scope=None))).json()
    assert "id_token" not in tokens
    assert "access_token" in tokens


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
        {"code_challenge": None},
        {"code_challenge": "short"},
    ],
)
async def test_a_request_without_a_challenge_by_s256_is_refused(logged_in, helpers, changes):
    answer = await logged_in.authorize(**changes)
    sent_back = helpers.parameters(answer.headers["location"])
    assert sent_back["error"] == "invalid_request"
    assert sent_back["state"] == "st4te"
    assert "code" not in sent_back


@pytest.mark.parametrize("verifier", [None, "w" * 50, ""])
async def test_a_code_without_its_verifier_is_worth_nothing(logged_in, verifier):
    answer = await logged_in.redeem(await logged_in.code(), code_verifier=verifier)
    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_request", "invalid_grant")


async def test_a_challenge_sent_as_the_verifier_is_not_accepted(logged_in, helpers):
    answer = await logged_in.redeem(await logged_in.code(), code_verifier=helpers.CHALLENGE)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


async def test_a_confidential_client_needs_both_its_secret_and_the_verifier(auth, logged_in):
    secret = await auth.add_app("portal", public=False)
    code = await logged_in.code("portal")
    assert (await logged_in.redeem(code, "portal")).status_code in (400, 401)
    assert (await logged_in.redeem(code, auth=("portal", "x" * 43))).json()["error"] == "invalid_client"
    answer = await logged_in.redeem(code, auth=("portal", secret), code_verifier=None)
    assert answer.json()["error"] == "invalid_request"
    assert (await logged_in.redeem(code, auth=("portal", secret))).status_code == 200


async def test_a_code_is_not_for_another_client_and_not_for_another_address(auth, logged_in):
    await auth.add_app("other")
    code = await logged_in.code()
    assert (await logged_in.redeem(code, "other")).json()["error"] == "invalid_grant"
    answer = await logged_in.redeem(code, redirect_uri="https://app.example/other")
    assert answer.json()["error"] == "invalid_grant"
    assert (await logged_in.redeem(code)).status_code == 200


async def test_a_code_expires(auth, logged_in):
    code = await logged_in.code()
    auth.clock.wait(seconds=61)
    assert (await logged_in.redeem(code)).json()["error"] == "invalid_grant"


async def test_a_code_that_comes_twice_ends_what_came_of_it(auth, logged_in):
    code = await logged_in.code()
    tokens = (await logged_in.redeem(code)).json()
    assert (await logged_in.redeem(code)).json()["error"] == "invalid_grant"
    assert (await logged_in.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    with pytest.raises(NotAuthenticated, match="revoked"):
        await verify(auth, tokens["access_token"])


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/callback/",
        "https://app.example/callback?x=1",
        "https://evil.example/callback",
        "https://app.example.evil.example/callback",
        'https://app.example/"><script>',
        "javascript:alert(1)",
        "",
        None,
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_registered(logged_in, uri):
    answer = await logged_in.authorize(redirect_uri=uri)
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert "<script>" not in answer.text


async def test_an_unknown_client_gets_nobody_sent_anywhere(logged_in):
    answer = await logged_in.authorize("nobody")
    assert (answer.status_code, "location" in answer.headers) == (400, False)


@pytest.mark.parametrize("response_type", ["token", "id_token", "code token", "none", None])
async def test_only_codes_are_given_to_browsers(logged_in, response_type):
    answer = await logged_in.authorize(response_type=response_type)
    location = answer.headers.get("location", "")
    assert "access_token" not in location
    assert "code=" not in location
    assert answer.status_code == 400 or "error=" in location


async def test_a_scope_may_ask_for_less_but_not_for_more(auth, logged_in):
    await auth.add_user("both", ["clinician@main", "technologist@south"])
    await logged_in.log_in("both")
    tokens = (await logged_in.redeem(await logged_in.code(scope="technologist@south"))).json()
    assert (await verify(auth, tokens["access_token"])).grants == {Grant("technologist", "south")}
    answer = await logged_in.redeem(await logged_in.code(scope="admin@main"))
    assert answer.json()["error"] == "invalid_scope"


async def test_who_is_not_logged_in_is_asked_first(auth, browser, helpers):
    await auth.add_user()
    await auth.add_app()
    answer = await browser.authorize()
    assert answer.status_code == 302
    back = helpers.parameters(answer.headers["location"])["next"]
    assert answer.headers["location"].startswith("/auth/login?")

    page = await browser.log_in(back=back)
    assert page.status_code == 200
    assert 'http-equiv="refresh"' in page.text
    onward = await browser.http.get(back)
    assert "code" in helpers.parameters(onward.headers["location"])


async def test_prompt_none_never_asks(auth, browser, helpers):
    await auth.add_user()
    await auth.add_app()
    for scope in ("openid", None):
        answer = await browser.authorize(prompt="none", scope=scope)
        assert helpers.parameters(answer.headers["location"])["error"] == "login_required"


@pytest.mark.parametrize("parameter", [{"prompt": "login"}, {"max_age": "60"}])
async def test_a_new_login_can_be_asked_for(auth, logged_in, helpers, parameter):
    auth.clock.wait(minutes=5)
    answer = await logged_in.authorize(**parameter)
    where = helpers.parameters(answer.headers["location"])
    assert (answer.headers["location"].partition("?")[0], where["again"]) == ("/auth/login", "1")
    await logged_in.log_in(back=where["next"])
    assert "code" in helpers.parameters((await logged_in.http.get(where["next"])).headers["location"])


async def test_refreshing_rotates_the_token(auth, logged_in):
    first = (await logged_in.redeem(await logged_in.code())).json()
    second = (await logged_in.refresh(first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert (await verify(auth, second["access_token"])).name == "alice"


async def test_a_refresh_token_that_comes_twice_ends_the_whole_session(auth, logged_in):
    first = (await logged_in.redeem(await logged_in.code())).json()
    second = (await logged_in.refresh(first["refresh_token"])).json()
    third = (await logged_in.refresh(second["refresh_token"])).json()
    assert (await logged_in.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await logged_in.refresh(third["refresh_token"])).json()["error"] == "invalid_grant"
    for tokens in (first, second, third):
        with pytest.raises(NotAuthenticated, match="revoked"):
            await verify(auth, tokens["access_token"])


async def test_of_many_refreshes_at_once_only_one_gets_a_token(logged_in):
    first = (await logged_in.redeem(await logged_in.code())).json()
    answers = await asyncio.gather(*(logged_in.refresh(first["refresh_token"]) for _ in range(8)))
    good = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(good) == 1
    # The others were uses of a used token: what the one got is worth nothing.
    assert (await logged_in.refresh(good[0]["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_refresh_token_is_for_its_client_alone(auth, logged_in):
    await auth.add_app("other")
    tokens = (await logged_in.redeem(await logged_in.code())).json()
    answer = await logged_in.refresh(tokens["refresh_token"], "other")
    assert answer.json()["error"] == "invalid_grant"
    assert (await logged_in.refresh(tokens["refresh_token"])).status_code == 200


async def test_a_session_ends_when_it_is_not_used_and_at_last_in_any_case(auth, logged_in):
    idle = (await logged_in.redeem(await logged_in.code())).json()
    busy = (await logged_in.redeem(await logged_in.code())).json()
    auth.clock.wait(hours=7)
    busy = (await logged_in.refresh(busy["refresh_token"])).json()
    auth.clock.wait(hours=2)
    assert (await logged_in.refresh(idle["refresh_token"])).json()["error"] == "invalid_grant"
    busy = (await logged_in.refresh(busy["refresh_token"])).json()
    auth.clock.wait(hours=7, minutes=1)
    assert (await logged_in.refresh(busy["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_revoked_user_refreshes_nothing(auth, logged_in):
    tokens = (await logged_in.redeem(await logged_in.code())).json()
    code = await logged_in.code()
    assert (await auth.admin("POST", "users/alice/revoke")).status_code == 204
    assert (await logged_in.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await logged_in.redeem(code)).json()["error"] == "invalid_grant"
    with pytest.raises(NotAuthenticated, match="revoked"):
        await verify(auth, tokens["access_token"])


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
async def test_a_client_can_revoke_its_tokens(auth, logged_in, which):
    tokens = (await logged_in.redeem(await logged_in.code())).json()
    fields = {"token": tokens[which], "client_id": "viewer"}
    assert (await logged_in.http.post("/auth/revoke", data=fields)).status_code == 200
    with pytest.raises(NotAuthenticated, match="revoked"):
        await verify(auth, tokens["access_token"])
    expected = 200 if which == "access_token" else 400
    assert (await logged_in.refresh(tokens["refresh_token"])).status_code == expected


async def test_a_client_cannot_revoke_those_of_another(auth, logged_in):
    await auth.add_app("other")
    tokens = (await logged_in.redeem(await logged_in.code())).json()
    for which in ("access_token", "refresh_token"):
        fields = {"token": tokens[which], "client_id": "other"}
        assert (await logged_in.http.post("/auth/revoke", data=fields)).status_code == 400
    assert (await verify(auth, tokens["access_token"])).name == "alice"


async def test_revoking_nonsense_is_no_error(logged_in):
    answer = await logged_in.http.post("/auth/revoke", data={"token": "x.y.z", "client_id": "viewer"})
    assert answer.status_code == 200


async def test_userinfo_says_whom_the_token_speaks_for(logged_in):
    tokens = (await logged_in.redeem(await logged_in.code())).json()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    answer = await logged_in.http.get("/auth/userinfo", headers=headers)
    assert json.loads(answer.content) == {"sub": "alice", "preferred_username": "alice"}
