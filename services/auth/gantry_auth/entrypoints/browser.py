"""Logging in and out with a browser, and keeping its session going."""

from __future__ import annotations

import time
from urllib.parse import urlencode

import orjson
from gantry_access.claims import take_apart, time_of
from gantry_dicom.errors import NotAuthenticated
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gantry_auth import logins
from gantry_auth.entrypoints import pages, web
from gantry_auth.grants import grant_text
from gantry_auth.logins import BrowserSession, LockedOut
from gantry_auth.service import Service

_SEE_OTHER = 303
# A token that was refused within so many seconds of its making: another one would fare no better.
_FRESH_SECONDS = 5.0
_WRONG = "Name or password is not right."
_LOCKED = "Too many logins have failed. Try again later."


async def show_login(request: Request) -> Response:
    """Lead on at once who has a session that goes on; ask everybody else."""
    service = web.service_of(request)
    back = web.safe_path(request.query_params.get("next"), service.settings)
    if "again" not in request.query_params and not _was_just_refused(request):
        begun = await _refreshed(service, request)
        if begun is not None:
            response: Response = RedirectResponse(back, _SEE_OTHER)
            web.set_session_cookies(response, begun, service.settings)
            return response
    return _ask(request, back)


async def log_in(request: Request) -> Response:
    """Take name and password."""
    service = web.service_of(request)
    web.require_own_page(request, service.settings)
    fields = dict(await web.form_of(request))
    web.require_form_key(request, fields.get("key", ""))
    back = web.safe_path(fields.get("next"), service.settings)
    name, password = fields.get("name", ""), fields.get("password", "")
    old = request.cookies.get(web.REFRESH_COOKIE)
    try:
        begun = await web.in_thread(lambda: logins.log_in(service, name, password, web.address_of(request)))
    except LockedOut as error:
        response = _ask(request, back, problem=_LOCKED, name=name, status=429)
        wait = max(1.0, (error.until - service.clock()).total_seconds())
        response.headers["Retry-After"] = str(int(wait + 0.999))
        return response
    except NotAuthenticated:
        return _ask(request, back, problem=_WRONG, name=name, status=403)
    if old:
        await web.in_thread(lambda: _log_out(service, old))
    if back.startswith(f"{service.settings.path}/authorize?"):
        response = pages.onward_page(back)
    else:
        response = RedirectResponse(back, _SEE_OTHER)
    web.set_session_cookies(response, begun, service.settings)
    return response


async def show_logout(request: Request) -> Response:
    """Ask: a link from elsewhere must not log anybody out."""
    service = web.service_of(request)
    cookie, field = web.form_key(request)
    response = pages.logout_page(
        f"{service.settings.path}/logout", field=field, home=service.settings.home_path
    )
    web.set_form_cookie(response, cookie, service.settings)
    return response


async def log_out(request: Request) -> Response:
    """End the session, with every token it has."""
    service = web.service_of(request)
    web.require_own_page(request, service.settings)
    if refresh_token := request.cookies.get(web.REFRESH_COOKIE):
        subject = await web.in_thread(lambda: _log_out(service, refresh_token))
        if subject is not None:
            address = web.address_of(request)
            await web.in_thread(
                lambda: service.record(subject, address, operation="logout", outcome="allowed")
            )
    response = RedirectResponse(f"{service.settings.path}/login?again", _SEE_OTHER)
    web.clear_session_cookies(response, service.settings)
    return response


async def refresh(request: Request) -> Response:
    """Give the page new cookies before the old ones expire; 401 when the session is over."""
    service = web.service_of(request)
    web.require_own_page(request, service.settings)
    begun = await _refreshed(service, request)
    if begun is None:
        response = _json({"authenticated": False}, 401)
        web.clear_session_cookies(response, service.settings)
        return response
    response = _json(_describe(begun))
    web.set_session_cookies(response, begun, service.settings)
    return response


async def show_session(request: Request) -> Response:
    """Say who is logged in, for a page of ours; never the token."""
    service = web.service_of(request)

    def look() -> str | None:
        token = request.cookies.get(web.REFRESH_COOKIE)
        if not token:
            return None
        with service.database.transaction() as connection:
            session = logins.current(service, connection, token)
        return session.subject if session else None

    subject = await web.in_thread(look)
    return _json({"authenticated": subject is not None} | ({"name": subject} if subject else {}))


async def show_script(request: Request) -> Response:
    """Return the script that a page of ours includes to keep its session going."""
    settings = web.service_of(request).settings
    text = _SCRIPT.replace("PATH", settings.path).replace("SECONDS", str(settings.access_token_seconds))
    return Response(
        text, media_type="text/javascript; charset=utf-8", headers={"Cache-Control": "private, max-age=3600"}
    )


_SCRIPT = """(() => {
  "use strict";
  const life = SECONDS * 1000;
  let last = 0;
  const refresh = async () => {
    if (document.hidden && Date.now() - last < life * 0.8) return;
    const answer = await fetch("PATH/session/refresh", { method: "POST", credentials: "same-origin" });
    if (answer.status === 401) {
      const here = location.pathname + location.search + location.hash;
      location.assign("PATH/login?next=" + encodeURIComponent(here));
    }
    if (answer.ok) last = Date.now();
  };
  const quietly = () => refresh().catch(() => {});
  setInterval(quietly, life / 2);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && Date.now() - last > life / 2) quietly();
  });
  quietly();
})();
"""


async def _refreshed(service: Service, request: Request) -> BrowserSession | None:
    token = request.cookies.get(web.REFRESH_COOKIE)
    if not token:
        return None

    def work() -> BrowserSession | None:
        with service.database.transaction() as connection:
            return logins.refresh(service, connection, token)

    return await web.in_thread(work)


def _log_out(service: Service, refresh_token: str) -> str | None:
    with service.database.transaction() as connection:
        return logins.log_out(service, connection, refresh_token)


def _was_just_refused(request: Request) -> bool:
    cookie = request.cookies.get(web.SESSION_COOKIE)
    if not cookie:
        return False
    try:
        issued_at = time_of(take_apart(cookie).claims, "iat")
    except NotAuthenticated:
        return False
    return time.time() - issued_at < _FRESH_SECONDS


def _ask(request: Request, back: str, *, problem: str = "", name: str = "", status: int = 200) -> Response:
    settings = web.service_of(request).settings
    cookie, field = web.form_key(request)
    response = pages.login_page(
        f"{settings.path}/login", field=field, back=back, problem=problem, name=name[:64], status=status
    )
    web.set_form_cookie(response, cookie, settings)
    return response


def login_url(service: Service, back: str, *, again: bool = False) -> str:
    """Return where to log in before going to ``back``; ``again`` also who is logged in."""
    query = {"next": back} | ({"again": "1"} if again else {})
    return f"{service.settings.path}/login?{urlencode(query)}"


def _describe(begun: BrowserSession) -> dict[str, object]:
    return {
        "authenticated": True,
        "name": begun.session.subject,
        "grants": [grant_text(grant) for grant in sorted(begun.access_token.grants)],
        "expires_at": int(begun.access_token.expires_at.timestamp()),
    }


def _json(document: dict[str, object], status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type="application/json")
