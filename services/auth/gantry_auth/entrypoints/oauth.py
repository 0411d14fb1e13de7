"""The endpoints of OAuth 2.0 and OpenID Connect."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import orjson
from authlib.oauth2 import OAuth2Error
from authlib.oidc.core.errors import LoginRequiredError
from gantry.access.v1.access_pb2 import ACCESS_KIND_REFUSAL
from gantry_telemetry.logs import get_logger
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gantry_auth import keys, logins
from gantry_auth.adapters.database import Connection
from gantry_auth.entrypoints import pages, web
from gantry_auth.entrypoints.browser import login_url
from gantry_auth.entrypoints.callers import caller_of
from gantry_auth.grants import PLAIN_SCOPES
from gantry_auth.oauth.provider import Provider
from gantry_auth.oauth.requests import Answer
from gantry_auth.oauth.requests import Request as OAuthRequest
from gantry_auth.service import Service
from gantry_auth.sessions import Session

log = get_logger(__name__)

_PUBLIC = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
_FOUND = 302
_FIRST_ERROR = 400
_NOBODY = "unknown"


async def show_metadata(request: Request) -> Response:
    """Say what there is (OpenID Connect Discovery 4, RFC 8414)."""
    settings = web.service_of(request).settings
    issuer = settings.issuer
    methods = ["client_secret_basic", "client_secret_post", "none"]
    document = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "revocation_endpoint": f"{issuer}/revoke",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/jwks",
        "end_session_endpoint": f"{issuer}/logout",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [settings.signing_algorithm],
        "scopes_supported": sorted(PLAIN_SCOPES),
        "claims_supported": ["sub", "iss", "aud", "iat", "exp", "auth_time", "nonce", "preferred_username"],
        "prompt_values_supported": ["none", "login"],
        "authorization_response_iss_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }
    return _public(document)


async def show_keys(request: Request) -> Response:
    """Return every key that signs, has signed or will sign (RFC 7517)."""
    service = web.service_of(request)

    def load() -> list[dict[str, object]]:
        with service.database.transaction() as connection:
            return [json.loads(key.public_jwk) for key in keys.load(connection)]

    return _public({"keys": await web.in_thread(load)})


async def token(request: Request) -> Response:
    """Answer at the token endpoint (RFC 6749 3.2)."""
    service = web.service_of(request)
    asked = OAuthRequest("POST", await web.form_of(request), request.headers)
    address = web.address_of(request)

    def work() -> Answer:
        with service.database.transaction() as connection:
            provider = Provider(service, connection)
            answer: Answer = provider.create_token_response(asked)
            if provider.issued_to is not None:
                service.record(provider.issued_to, address, operation="token", outcome="allowed")
        if answer.status >= _FIRST_ERROR:
            _record_refusal(service, asked, answer, address)
        return answer

    return _answered(await web.in_thread(work))


async def revoke(request: Request) -> Response:
    """Revoke a token for its client (RFC 7009)."""
    service = web.service_of(request)
    asked = OAuthRequest("POST", await web.form_of(request), request.headers)

    def work() -> Answer:
        with service.database.transaction() as connection:
            answer: Answer = Provider(service, connection).create_endpoint_response("revocation", asked)
            return answer

    return _answered(await web.in_thread(work))


async def authorize(request: Request) -> Response:
    """Send the browser back with a code, after a login where one is needed (RFC 6749 4.1.1).

    Clients are registered by an administrator: there is no page that asks for consent.
    """
    service = web.service_of(request)
    pairs = list(request.query_params.multi_items())
    refresh_token = request.cookies.get(web.REFRESH_COOKIE)
    address = web.address_of(request)

    def work() -> Response:
        with service.database.transaction() as connection:
            session = logins.current(service, connection, refresh_token) if refresh_token else None
            try:
                return _authorize(service, connection, pairs, session, address)
            except ValueError:
                # Authlib quotes the request in its errors, and refuses what may not be quoted.
                log.info("authorization_request_unreadable")
                return _refuse("the request cannot be read")

    return await web.in_thread(work)


async def userinfo(request: Request) -> Response:
    """Say whom a token speaks for (OpenID Connect Core 5.3)."""
    service = web.service_of(request)
    bearer = await web.in_thread(lambda: caller_of(service, request))
    return Response(
        orjson.dumps({"sub": bearer.name, "preferred_username": bearer.name}), media_type="application/json"
    )


def _record_refusal(service: Service, asked: OAuthRequest, answer: Answer, address: str) -> None:
    """Keep that no token was given, and why; a client's name only if it is one."""
    client = getattr(asked, "client", None)
    error = answer.body.get("error", "") if isinstance(answer.body, dict) else ""
    service.record(
        client.client.subject if client else _NOBODY,
        address,
        operation="token",
        outcome=str(error) or "refused",
        kind=ACCESS_KIND_REFUSAL,
    )


def _authorize(
    service: Service, connection: Connection, pairs: web.Pairs, session: Session | None, address: str
) -> Response:
    provider = Provider(service, connection)
    asked = OAuthRequest("GET", pairs)
    try:
        grant = provider.get_consent_grant(asked, session)
    except OAuth2Error as error:
        return _sent_back(service, provider.handle_error_response(asked, error))
    prompts = asked.payload.data.get("prompt", "").split()
    forced = "login" in prompts or "select_account" in prompts
    if session is not None and not forced and not _is_too_old(service, session, asked):
        answer = provider.create_authorization_response(asked, grant_user=session, grant=grant)
        service.record(session.subject, address, operation="authorize", outcome="allowed")
        return _sent_back(service, answer, named=True)
    if "none" in prompts:
        refusal = LoginRequiredError(redirect_uri=grant.redirect_uri)
        refusal.state = asked.payload.state
        return _sent_back(service, provider.handle_error_response(asked, refusal))
    # After the login the same request comes again, and must not ask for a login once more.
    rest = [(name, value) for name, value in pairs if name != "prompt"]
    return RedirectResponse(
        login_url(service, f"{service.settings.path}/authorize?{urlencode(rest)}", again=session is not None),
        _FOUND,
    )


def _is_too_old(service: Service, session: Session, asked: OAuthRequest) -> bool:
    max_age = asked.payload.data.get("max_age", "")
    if not (max_age.isascii() and max_age.isdigit() and len(max_age) < 10):
        return False
    # A second of slack: the login that this very limit asked for has just happened.
    return bool((service.clock() - session.authenticated_at).total_seconds() > int(max_age) + 1)


def _sent_back(service: Service, answer: Answer, *, named: bool = False) -> Response:
    """Return the redirect to the client, or a page when there is no client to be trusted with it."""
    location = answer.location
    if location is None:
        description = answer.body.get("error_description") if isinstance(answer.body, dict) else None
        return _refuse(description or "the request is not one that this server takes")
    if not named:
        separator = "&" if "?" in location else "?"
        location += separator + urlencode({"iss": service.settings.issuer})
    return RedirectResponse(location, _FOUND)


def _refuse(why: str) -> Response:
    text = f"The application asked for something that cannot be done: {why}"
    return pages.message_page("Not possible", text, 400)


def _answered(answer: Answer) -> Response:
    response = Response(orjson.dumps(answer.body or {}), answer.status, media_type="application/json")
    for name, value in answer.headers:
        if name.lower() != "content-type":
            response.headers[name] = value
    return response


def _public(document: dict[str, object]) -> Response:
    # Short: a key that is new must be found before it signs.
    headers = {**_PUBLIC, "Cache-Control": "public, max-age=60"}
    return Response(orjson.dumps(document), media_type="application/json", headers=headers)
