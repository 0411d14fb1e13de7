"""What browsers are told: which other origins may read answers, and how to treat them.

The outermost of our middleware, so that an error has these headers too: without them a page
sees "CORS error" where the answer was a 401.
"""

from __future__ import annotations

from collections.abc import Iterable

from gantry_web.problems import on_unexpected
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALLOWED_METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
_ALLOWED_HEADERS = (
    "Accept, Accept-Language, Authorization, Content-Type, If-None-Match, Range, Traceparent, Tracestate"
)
_EXPOSED_HEADERS = "Content-Location, ETag, Link, Location, Retry-After, Warning, WWW-Authenticate"
_PREFLIGHT_SECONDS = "600"

# For answers that say nothing of their own; the viewer's pages and the login's do.
_DEFAULTS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_ARCHIVE_DEFAULTS = {
    # What was sent in by somebody must not run as a page of ours.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
    # Patients' data: kept by no shared cache, and by the caller's own only to ask again.
    "Cache-Control": "private, no-cache",
}
_ARCHIVE_PATHS = ("/dicom-web", "/partitions/")


class BrowserRules:
    """Middleware: CORS for a list of origins, and security headers."""

    def __init__(self, app: ASGIApp, *, origins: Iterable[str] = (), https: bool = False) -> None:
        self.app = app
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        allowed = origin if origin in self._origins else ""
        started = False

        async def add_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._dress(MutableHeaders(scope=message), scope["path"], allowed)
            await send(message)

        if scope["method"] == "OPTIONS" and origin and "access-control-request-method" in headers:
            # A pre-flight carries no credentials and must not be asked for any.
            await _answer_preflight(add_headers, allowed=bool(allowed))
            return
        try:
            await self.app(scope, receive, add_headers)
        except Exception as error:
            if started:
                raise
            answer = await on_unexpected(Request(scope), error)
            await answer(scope, receive, add_headers)

    def _dress(self, headers: MutableHeaders, path: str, allowed: str) -> None:
        defaults = dict(_DEFAULTS)
        if path.startswith(_ARCHIVE_PATHS):
            defaults |= _ARCHIVE_DEFAULTS
        if self._https:
            defaults["Strict-Transport-Security"] = "max-age=31536000"
        for name, value in defaults.items():
            headers.setdefault(name, value)
        if self._origins:
            headers.add_vary_header("Origin")
        if allowed:
            # Never with credentials: other origins use tokens, not our cookie.
            headers["Access-Control-Allow-Origin"] = allowed
            headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"


async def _answer_preflight(send: Send, *, allowed: bool) -> None:
    headers = []
    if allowed:
        headers = [
            (b"access-control-allow-methods", _ALLOWED_METHODS.encode()),
            (b"access-control-allow-headers", _ALLOWED_HEADERS.encode()),
            (b"access-control-max-age", _PREFLIGHT_SECONDS.encode()),
        ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
