"""What a request shows of its caller: a bearer token, or the browser's session cookie.

A cookie is sent by the browser whoever made it ask; so a cookie does nothing that changes
anything unless the browser says that the page asking is ours (Fetch Metadata, or Origin).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from gantry_dicom.errors import BadRequest, NotAllowed, NotAuthenticated
from starlette.requests import Request

SESSION_COOKIE = "gantry_session"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# RFC 6750 2.3: addresses are kept in histories and logs, so a token in one is a token given away.
_URL_TOKEN = "access_token"  # noqa: S105 - the parameter's name


def token_of(request: Request, own_root: str) -> str | None:
    """Return the token that the request shows, or ``None``.

    ``own_root`` is the public base under which the browser knows us. Raises ``BadRequest`` for a
    token in the address, ``NotAuthenticated`` for an Authorization header of another scheme,
    ``NotAllowed`` for another site's request.
    """
    if _URL_TOKEN in request.query_params:
        raise BadRequest("a token is sent in the Authorization header, never in the address")
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise NotAuthenticated("the scheme of authentication is Bearer")
        return token.strip(" ")
    cookie = request.cookies.get(SESSION_COOKIE)
    if not cookie:
        return None
    if request.method not in _SAFE_METHODS and not _is_same_origin(request, own_root):
        raise NotAllowed("a session is used from this site's own pages only")
    return cookie


def _is_same_origin(request: Request, own_root: str) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and _origin(origin) == _origin(own_root)


def _origin(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", url, None
    return parts.scheme, parts.hostname or "", port
