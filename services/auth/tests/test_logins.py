"""Logging in with a browser: what is let in, throttled, refused to other sites, kept and said."""

from __future__ import annotations

import asyncio
import time
import unicodedata

import pytest
from argon2 import PasswordHasher
from gantry.access.v1.access_pb2 import ACCESS_KIND_LOGIN, ACCESS_KIND_REFUSAL
from gantry_access.audit_chain import read_records
from gantry_access.tokens import TokenVerifier
from gantry_auth import commands, passwords
from gantry_dicom.errors import NotAuthenticated

WRONG = "wrong horse battery staple"


@pytest.fixture
async def alice(auth):
    await auth.add_user()


def database(auth, sql, *values):
    with auth.service.database.transaction() as connection:
        return connection.execute(sql, list(values)).fetchall()


async def records(auth):
    await auth.service.log.flush()
    return [record async for _, record in read_records(auth.parts.store, auth.parts.publisher.sealer)]


@pytest.mark.usefixtures("alice")
async def test_a_login_gives_cookies_that_scripts_and_other_sites_do_not_get(auth, browser):
    answer = await browser.log_in(back="/viewer/?study=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/viewer/?study=1")
    cookies = {c.partition("=")[0]: c.lower() for c in answer.headers.get_list("set-cookie")}
    assert set(cookies) == {"gantry_session", "gantry_refresh"}
    assert all("httponly" in c and "samesite=lax" in c for c in cookies.values())
    assert "path=/auth" in cookies["gantry_refresh"]
    session = await browser.http.get("/auth/session")
    assert session.json() == {"authenticated": True, "name": "alice"}
    bearer = TokenVerifier(await auth.snapshot()).verify(browser.http.cookies["gantry_session"])
    assert bearer.name == "alice"


async def test_over_https_cookies_are_for_https_alone(start, helpers):
    auth = await start(issuer="https://pacs.example/auth")
    await auth.add_user()
    async with auth.client() as http:
        http.base_url = "https://pacs.example"
        answer = await helpers.Browser(http).log_in(headers={"Origin": "https://pacs.example"})
        assert all("; Secure" in cookie for cookie in answer.headers.get_list("set-cookie"))
        assert "strict-transport-security" in answer.headers


@pytest.mark.usefixtures("alice")
async def test_a_wrong_name_and_a_wrong_password_are_told_apart_by_nothing(auth, browser):
    answers = [await browser.log_in("alice", WRONG), await browser.log_in("nobody", WRONG)]
    assert [answer.status_code for answer in answers] == [403, 403]
    bodies = [answer.text.replace("nobody", "alice") for answer in answers]
    keys = [body.partition('name="key"')[2][:90] for body in bodies]
    assert bodies[0].replace(keys[0], "") == bodies[1].replace(keys[1], "")
    refused = [r for r in await records(auth) if r.kind == ACCESS_KIND_REFUSAL]
    # What was typed as a name and is nobody's may be a password: it is not kept.
    assert sorted(r.principal for r in refused) == ["alice", "unknown"]


@pytest.mark.usefixtures("real_passwords")
def test_a_name_that_is_nobodys_costs_as_much_as_a_wrong_password():
    kept = passwords.hash_password("correct horse battery")

    def cost(of):
        begun = time.process_time()
        assert not passwords.verify(WRONG, of)
        return time.process_time() - begun

    some, none = min(cost(kept) for _ in range(3)), min(cost(None) for _ in range(3))
    assert 0.5 < none / some < 2


@pytest.mark.parametrize("name", ["\0", "al\0ice", "x" * 5000, "é", "client:administration", ""])
async def test_odd_names_are_wrong_names(browser, name):
    assert (await browser.log_in(name, WRONG)).status_code in (400, 403)


@pytest.mark.usefixtures("alice")
async def test_a_name_may_be_typed_in_capitals_which_opens_no_second_count(browser):
    for name in ("Alice", "ALICE", " alice ", "aLICE", "alicE"):
        assert (await browser.log_in(name, WRONG)).status_code == 403
    assert (await browser.log_in()).status_code == 429


@pytest.mark.usefixtures("alice")
async def test_failures_lock_a_name_from_an_address_out_for_a_while_and_not_from_elsewhere(
    auth, browser, helpers
):
    for _ in range(5):
        assert (await browser.log_in(password=WRONG)).status_code == 403
    locked = await browser.log_in()
    assert (locked.status_code, int(locked.headers["retry-after"])) == (429, pytest.approx(30, abs=2))
    async with auth.client() as http:
        http._transport.client = ("10.9.9.9", 1)
        assert (await helpers.Browser(http).log_in()).status_code == 303
    auth.clock.wait(seconds=31)
    assert (await browser.log_in()).status_code == 303
    # The success has forgotten the failures.
    assert (await browser.log_in(password=WRONG)).status_code == 403
    assert (await browser.log_in()).status_code == 303


@pytest.fixture
async def strict(start):
    auth = await start(login_failures_of_name=3, login_failures_of_address=4)
    await auth.add_user()
    return auth


async def fail(auth, helpers, name, address):
    async with auth.client() as http:
        http._transport.client = (address, 1)
        return (await helpers.Browser(http).log_in(name, WRONG)).status_code


async def test_a_name_is_locked_out_from_everywhere_late_and_for_a_window_at_most(strict, helpers):
    for n in range(3):
        assert await fail(strict, helpers, "alice", f"10.0.0.{n}") == 403
    assert await fail(strict, helpers, "alice", "10.0.0.9") == 429
    # Whoever goes on while it is locked gains nothing and makes it no longer.
    longest = 0.0
    for n in range(8):
        (until,) = database(strict, "SELECT max(blocked_until) FROM auth.throttle")[0]
        longest = max(longest, (until - strict.clock()).total_seconds())
        strict.clock.wait(seconds=max(0, (until - strict.clock()).total_seconds()) + 0.1)
        assert await fail(strict, helpers, "alice", f"10.0.1.{n}") == 403
    assert 400 < longest <= 900


async def test_an_address_is_locked_out_for_whatever_name(strict, helpers):
    for n in range(4):
        assert await fail(strict, helpers, f"name{n}", "10.0.0.1") == 403
    assert await fail(strict, helpers, "name9", "10.0.0.1") == 429
    assert await fail(strict, helpers, "name9", "10.0.0.2") == 403


async def test_an_operator_lets_the_administrator_in_whoever_goes_on_failing_as_it(strict, helpers):
    commands.bootstrap_admin(strict.service)
    for n in range(3):
        await fail(strict, helpers, "admin", f"10.0.0.{n}")
    assert await fail(strict, helpers, "admin", "10.0.0.9") == 429
    password = commands.reset_admin(strict.service)
    async with strict.client() as http:
        assert (await helpers.Browser(http).log_in("admin", password)).status_code == 303


@pytest.mark.usefixtures("alice")
async def test_many_guesses_at_once_are_all_counted(auth, browser):
    answers = await asyncio.gather(*(browser.log_in(password=WRONG) for _ in range(12)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(403), statuses.count(429)) == (5, 7)


# -- other sites


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8084"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    ],
)
@pytest.mark.parametrize("place", ["login", "logout", "session/refresh"])
@pytest.mark.usefixtures("alice")
async def test_what_another_site_makes_a_browser_post_is_refused(browser, headers, place):
    if place == "login":
        answer = await browser.log_in(headers=headers)
    else:
        answer = await browser.http.post(f"/auth/{place}", headers=headers)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


@pytest.mark.usefixtures("alice")
async def test_a_form_that_was_given_to_another_browser_is_refused(auth, browser, helpers):
    async with auth.client() as other:
        theirs = (await other.get("/auth/login")).text.partition('name="key" value="')[2][:64]
    for key in (theirs, "", "0" * 64):
        fields = {"name": "alice", "password": helpers.PASSWORD, "key": key}
        await browser.http.get("/auth/login")
        answer = await browser.http.post("/auth/login", data=fields, headers={"Origin": helpers.ORIGIN})
        assert (answer.status_code, "gantry_session" in browser.http.cookies) == (403, False)


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/ö",
        "/\r\nSet-Cookie: a=b",
        "",
    ],
)
@pytest.mark.usefixtures("alice")
async def test_a_login_leads_nowhere_else(browser, back):
    answer = await browser.log_in(back=back)
    assert (answer.status_code, answer.headers["location"]) == (303, "/viewer/")
    again = await browser.http.get("/auth/login", params={"next": back})
    assert again.status_code == 200 or again.headers["location"] == "/viewer/"


async def test_a_page_repeats_what_was_typed_as_text_alone(browser):
    answer = await browser.log_in('"><script>alert(1)</script>', WRONG)
    assert "<script>" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert answer.headers["cache-control"] == "no-store"


# -- sessions


@pytest.mark.usefixtures("alice")
async def test_a_refresh_gives_new_cookies_and_two_tabs_may_do_so_at_once(auth, browser, helpers):
    await browser.log_in()
    old = browser.http.cookies["gantry_refresh"]
    mine = {"Origin": helpers.ORIGIN}
    first = await browser.http.post("/auth/session/refresh", headers=mine)
    assert first.status_code == 200
    newer = browser.http.cookies["gantry_refresh"]
    assert newer != old
    async with auth.client(cookies={"gantry_refresh": old}) as tab:
        answer = await tab.post("/auth/session/refresh", headers=mine)
        # An access token, but no second line of refresh tokens.
        assert answer.status_code == 200
        assert [c.partition("=")[0] for c in answer.headers.get_list("set-cookie")] == ["gantry_session"]
    auth.clock.wait(seconds=11)
    async with auth.client(cookies={"gantry_refresh": old}) as thief:
        assert (await thief.post("/auth/session/refresh", headers=mine)).status_code == 401
    # The use of an old one later ended the session for the newest too.
    assert (await browser.http.post("/auth/session/refresh", headers=mine)).status_code == 401
    with pytest.raises(NotAuthenticated, match="revoked"):
        TokenVerifier(await auth.snapshot()).verify(first.cookies["gantry_session"])


@pytest.mark.usefixtures("alice")
async def test_logging_out_ends_the_session_and_its_tokens(auth, browser, helpers):
    await browser.log_in()
    session, old = browser.http.cookies["gantry_session"], browser.http.cookies["gantry_refresh"]
    answer = await browser.http.post("/auth/logout", headers={"Origin": helpers.ORIGIN})
    assert answer.status_code == 303
    assert "gantry_session" not in browser.http.cookies
    with pytest.raises(NotAuthenticated, match="revoked"):
        TokenVerifier(await auth.snapshot()).verify(session)
    async with auth.client(cookies={"gantry_refresh": old}) as http:
        assert (await http.get("/auth/session")).json() == {"authenticated": False}
    kept = [(r.operation, r.outcome, r.principal) for r in await records(auth) if r.kind == ACCESS_KIND_LOGIN]
    assert {("login", "allowed", "alice"), ("logout", "allowed", "alice")} <= set(kept)


@pytest.mark.usefixtures("alice")
async def test_a_login_ends_the_session_that_the_browser_had(auth, browser, helpers):
    await browser.log_in()
    before = browser.http.cookies["gantry_refresh"]
    await browser.log_in()
    async with auth.client(cookies={"gantry_refresh": before}) as http:
        assert (await http.get("/auth/session")).json() == {"authenticated": False}


# -- what is kept of secrets


@pytest.mark.usefixtures("alice")
async def test_secrets_lie_nowhere_in_clear_and_no_log_has_them(auth, browser, helpers, capfd):
    await auth.add_app()
    secret = await auth.add_app("portal", public=False)
    answer = await browser.log_in()
    await browser.log_in(password=WRONG)
    await browser.log_in()
    code = await browser.code()
    tokens = (await browser.redeem(code)).json()
    again = (await browser.refresh(tokens["refresh_token"])).json()
    unused = await browser.code()
    hidden = {
        helpers.PASSWORD,
        WRONG,
        secret,
        code,
        unused,
        *(tokens[name] for name in ("access_token", "refresh_token", "id_token")),
        again["refresh_token"],
        answer.cookies["gantry_refresh"],
        browser.http.cookies["gantry_session"],
    }
    tables = [name for (name,) in database(auth, "SELECT tablename FROM pg_tables WHERE schemaname = 'auth'")]
    assert len(tables) > 10
    kept = "".join(
        row for table in tables for (row,) in database(auth, f"SELECT t::text FROM auth.{table} t")
    )
    kept += "".join(str(record) for record in await records(auth))
    said = "".join(capfd.readouterr())
    assert "session_begun" in said
    for text in hidden:
        assert text not in kept
        assert text not in said
    # Private keys of signatures are sealed.
    assert '"d"' not in kept


@pytest.mark.usefixtures("real_passwords", "alice")
async def test_passwords_lie_as_argon2id_and_older_costs_are_renewed_at_a_login(auth, browser, helpers):
    def kept():
        return database(auth, "SELECT password_hash FROM auth.users WHERE subject = 'alice'")[0][0]

    assert kept().startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    cheap = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(helpers.PASSWORD)
    with auth.service.database.transaction() as connection:
        connection.execute("UPDATE auth.users SET password_hash = %s", [cheap])
    assert (await browser.log_in(password=WRONG)).status_code == 403
    assert kept() == cheap
    assert (await browser.log_in()).status_code == 303
    assert kept().startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert (await browser.log_in()).status_code == 303


def test_a_password_may_be_typed_in_every_form_of_unicode():
    composed = "caf\u00e9 cr\u00e8me br\u00fbl\u00e9e"
    decomposed = unicodedata.normalize("NFD", composed)
    wide = composed.replace("c", "\uff43")
    assert len({composed, decomposed, wide}) == 3
    kept = passwords.hash_password(composed)
    assert passwords.verify(decomposed, kept)
    assert passwords.verify(wide, kept)
    assert not passwords.verify("cafe creme brulee", kept)


@pytest.mark.parametrize(
    "password",
    ["short", "x" * 11, "x" * 257, "aaaaaaaaaaaaaaaa", "my name is Alice", "\ufdfa" * 100, "e\u0301" * 7],
    ids=["short", "eleven", "too long", "one letter", "the name", "long once normal", "short once normal"],
)
def test_passwords_that_nobody_should_have_are_refused(password):
    with pytest.raises(passwords.BadPassword):
        passwords.check_new(password, "alice")


def test_a_password_of_the_greatest_length_works_and_a_longer_one_costs_nothing():
    longest = "0123456789abcdef" * 16
    assert passwords.verify(passwords.check_new(longest, "alice"), passwords.hash_password(longest))
    begun = time.process_time()
    assert not passwords.verify("x" * 10_000_000, None)
    assert time.process_time() - begun < 0.02
