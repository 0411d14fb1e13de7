"""The auth service under this origin, where nothing else stands in front to do that.

On one machine the viewer, its data and its login must share an origin, so that cookies stay
where they belong. In a cluster the ingress routes ``/auth`` and this is not switched on.
Only what is forwarded is named here; every decision is the auth service's own.
"""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import cast

import httpx
from gantry_dicom.errors import TooLarge, Unavailable
from gantry_web.app import TemplateRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

BASE = "/auth"
_METHODS = ["GET", "POST", "PUT", "DELETE"]
# Forms and small documents; images have other ways in.
_MAXIMUM_BODY = 256 << 10
_SECONDS = 15.0
# RFC 9110 7.6.1: what is between two neighbours, and what is told anew by each of them.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def auth_routes(auth_url: str) -> list[Route]:
    """Return the routes that lead to the auth service at ``auth_url``; none without one."""
    if not auth_url:
        return []
    # A jar that takes no cookie: this client speaks for everybody, and what one browser is given to keep
    # must not go with the next one's requests.
    jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    client = httpx.AsyncClient(
        base_url=auth_url.rstrip("/"), timeout=_SECONDS, follow_redirects=False, cookies=jar
    )

    async def forward(request: Request) -> Response:
        return await _forward(request, client)

    return [TemplateRoute(BASE + "/{path:path}", forward, methods=_METHODS)]


async def _forward(request: Request, client: httpx.AsyncClient) -> Response:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAXIMUM_BODY:
            raise TooLarge("the request is longer than a login takes")
    headers = [(name, value) for name, value in request.headers.items() if name not in _HOP_BY_HOP]
    peer = request.client.host if request.client else ""
    headers = [(name, value) for name, value in headers if not name.startswith(("x-forwarded-", "forwarded"))]
    headers.append(("x-forwarded-for", peer))
    # As the client wrote it: decoded, "%3F" in the path would begin another query.
    path = cast("bytes", request.scope["raw_path"]).decode("latin-1")
    query = cast("bytes", request.scope["query_string"]).decode("latin-1")
    url = path + (f"?{query}" if query else "")
    try:
        answer = await client.request(request.method, url, headers=headers, content=bytes(body))
    except httpx.HTTPError as error:
        raise Unavailable("the auth service does not answer") from error
    response = Response(answer.content, status_code=answer.status_code)
    del response.headers["content-length"]
    for name, value in answer.headers.multi_items():
        if name.lower() not in _HOP_BY_HOP:
            response.headers.append(name, value)
    response.headers["content-length"] = str(len(answer.content))
    return response
