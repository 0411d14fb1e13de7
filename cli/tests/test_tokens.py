"""Tokens of service accounts: asked for once, renewed in time, refused in one line."""

from __future__ import annotations

import httpx
import pytest
from gantry_cli import tokens
from gantry_cli.terminal import table
from gantry_cli.tokens import BearerAuth, ClientCredentials, fetch_token
from gantry_dicom.errors import NotAuthenticated, Unavailable

ACCOUNT = ClientCredentials("http://issuer/auth", "reader", "a secret")


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch):
    """Answer token requests in this process; the list of forms that came."""
    forms = []

    def post(url, *, data, auth, timeout):
        assert (url, auth) == ("http://issuer/auth/token", ("reader", "a secret"))
        forms.append(data)
        return httpx.Response(200, json={"access_token": f"token-{len(forms)}", "expires_in": 100})

    monkeypatch.setattr(tokens.httpx, "post", post)
    return forms


def test_a_token_serves_many_requests_and_is_renewed_before_it_expires(issuer, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now[0])
    shown = []

    def answer(request: httpx.Request) -> httpx.Response:
        shown.append(request.headers["authorization"])
        return httpx.Response(200)

    with httpx.Client(transport=httpx.MockTransport(answer), auth=BearerAuth(ACCOUNT)) as client:
        for at in (1000.0, 1060.0, 1099.0):
            now[0] = at
            client.get("http://archive/")
    assert shown == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


def test_a_scope_is_asked_for_only_when_one_is_wanted(issuer):
    fetch_token(ACCOUNT)
    fetch_token(ACCOUNT, "clinician@main")
    assert issuer == [
        {"grant_type": "client_credentials"},
        {"grant_type": "client_credentials", "scope": "clinician@main"},
    ]


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (httpx.Response(401, json={"error": "invalid_client"}), NotAuthenticated, "invalid_client"),
        (httpx.Response(503, json={"detail": "the database is away"}), Unavailable, "the database is away"),
        (httpx.Response(502, text="<html>"), Unavailable, "<html>"),
        (httpx.Response(400), NotAuthenticated, "HTTP 400"),
    ],
)
def test_a_refusal_says_why(monkeypatch, answer, error, said):
    monkeypatch.setattr(tokens.httpx, "post", lambda *_, **__: answer)
    with pytest.raises(error, match=said):
        fetch_token(ACCOUNT)


def test_columns_are_as_wide_as_they_must_be():
    assert table(("A", "LONG HEAD"), [("wider", "x"), ("y", "z")]) == [
        "A      LONG HEAD",
        "wider  x",
        "y      z",
    ]
    assert table(("A", "B"), []) == ["A  B"]
