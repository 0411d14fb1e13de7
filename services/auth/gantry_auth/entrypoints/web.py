"""What the HTTP entry points share: forms, cookies, who may post, headers."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

from gantry_dicom.errors import BadRequest, NotAllowed, TooLarge, UnsupportedMediaType
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gantry_auth.bootstrap import Parts
from gantry_auth.logins import BrowserSession
from gantry_auth.machine_secrets import new_secret
from gantry_auth.service import Service
from gantry_auth.settings import AuthSettings

SESSION_COOKIE = "gantry_session"
REFRESH_COOKIE = "gantry_refresh"
FORM_COOKIE = "gantry_form"
FORM_TYPE = "application/x-www-form-urlencoded"

_MAX_BODY_BYTES = 64 << 10
_MAX_FIELDS = 64
_FORM_SECONDS = 3600

T = TypeVar("T")
Pairs = list[tuple[str, str]]


def parts_of(request: Request) -> Parts:
    """Return the service's parts."""
    parts: Parts = request.app.state.parts
    return parts


def service_of(request: Request) -> Service:
    """Return what requests work with."""
    return parts_of(request).service


def address_of(request: Request) -> str:
    """Return where the request comes from, behind the proxies that the server trusts."""
    return request.client.host if request.client else ""


async def in_thread(work: Callable[[], T]) -> T:
    """Run what asks the database."""
    return await run_in_threadpool(work)


async def body_of(request: Request) -> bytes:
    """Return the body. Raises ``TooLarge``."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise TooLarge("the body is too long")
    return bytes(body)


async def form_of(request: Request) -> Pairs:
    """Return the fields of a form, in order.

    Raises ``UnsupportedMediaType``, ``TooLarge``, ``BadRequest``; the latter also for a field that
    comes twice (RFC 6749 3.2).
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        raise UnsupportedMediaType(f"the body is {FORM_TYPE}")
    try:
        text = (await body_of(request)).decode("utf-8")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        raise BadRequest("the form cannot be read") from None
    if len({name for name, _ in pairs}) != len(pairs):
        raise BadRequest("a field of the form comes twice")
    return pairs


def require_own_page(request: Request, settings: AuthSettings) -> None:
    """Refuse what another site's page made the browser send. Raises ``NotAllowed``."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None and site != "same-origin":
        raise NotAllowed("this is done from this site's own pages only")
    if origin is not None and origin.rstrip("/") != settings.origin:
        raise NotAllowed("this is done from this site's own pages only")
    if site is None and origin is None:
        raise NotAllowed("the browser does not say which page asks")


def safe_path(text: str | None, settings: AuthSettings) -> str:
    """Return the path on this origin that ``text`` is, or home for anything else."""
    if not text or not text.startswith("/") or not text.isascii() or not text.isprintable():
        return settings.home_path
    parts = urlsplit(text)
    if text.startswith("//") or "\\" in text or parts.scheme or parts.netloc:
        return settings.home_path
    return text


def form_key(request: Request) -> tuple[str, str]:
    """Return the browser's form cookie, a new one if it has none, and the field that belongs to it."""
    cookie = request.cookies.get(FORM_COOKIE) or new_secret()
    return cookie, _form_field(parts_of(request).form_key, cookie)


def require_form_key(request: Request, field: str) -> None:
    """Refuse a form that is not one of ours, given to this browser. Raises ``NotAllowed``."""
    cookie = request.cookies.get(FORM_COOKIE, "")
    expected = _form_field(parts_of(request).form_key, cookie)
    if not cookie or not hmac.compare_digest(expected.encode(), field.encode("utf-8", "surrogatepass")):
        raise NotAllowed("the form has expired; load the page again")


def set_form_cookie(response: Response, cookie: str, settings: AuthSettings) -> None:
    """Let the browser keep its form cookie."""
    response.set_cookie(
        FORM_COOKIE,
        cookie,
        max_age=_FORM_SECONDS,
        path=settings.path or "/",
        secure=settings.is_https,
        httponly=True,
        samesite="strict",
    )


def set_session_cookies(response: Response, begun: BrowserSession, settings: AuthSettings) -> None:
    """Let the browser keep its access token for the origin and its refresh token for us alone."""
    response.set_cookie(
        SESSION_COOKIE,
        begun.access_token.text,
        max_age=settings.access_token_seconds,
        path="/",
        secure=settings.is_https,
        httponly=True,
        samesite="lax",
    )
    if begun.refresh_token is not None:
        response.set_cookie(
            REFRESH_COOKIE,
            begun.refresh_token,
            max_age=settings.session_idle_seconds,
            path=settings.path or "/",
            secure=settings.is_https,
            httponly=True,
            samesite="lax",
        )


def clear_session_cookies(response: Response, settings: AuthSettings) -> None:
    """Let the browser forget both."""
    for name, path in ((SESSION_COOKIE, "/"), (REFRESH_COOKIE, settings.path or "/")):
        response.delete_cookie(name, path=path, secure=settings.is_https, httponly=True, samesite="lax")


class AnswerHeaders:
    """Middleware: nothing of this service is kept by a cache, framed, sniffed or told to other sites."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self.app = app
        self._defaults = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            # Not `no-referrer`: browsers would then send our own forms with `Origin: null`.
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        if https:
            self._defaults["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._defaults.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, add)


def _form_field(key: bytes, cookie: str) -> str:
    return hmac.new(key, cookie.encode("utf-8", "surrogatepass"), "sha256").hexdigest()
