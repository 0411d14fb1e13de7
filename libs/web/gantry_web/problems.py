"""Errors as problem details (RFC 9457): the one table from outcomes to HTTP statuses."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from gantry_dicom.errors import GantryError, NotAuthenticated, Outcome
from gantry_telemetry.logs import get_logger
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

log = get_logger(__name__)

PROBLEM_TYPE = "application/problem+json"

STATUSES: Mapping[Outcome, HTTPStatus] = {
    Outcome.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    Outcome.NOT_AUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Outcome.NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    Outcome.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Outcome.NOT_ACCEPTABLE: HTTPStatus.NOT_ACCEPTABLE,
    Outcome.CONFLICT: HTTPStatus.CONFLICT,
    Outcome.GONE: HTTPStatus.GONE,
    Outcome.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Outcome.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Outcome.CANNOT_PROCESS: HTTPStatus.INTERNAL_SERVER_ERROR,
    Outcome.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    Outcome.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Outcome.OUT_OF_RESOURCES: HTTPStatus.SERVICE_UNAVAILABLE,
}

# Long enough for a failover, short enough that a viewer's user is still there.
RETRY_AFTER_SECONDS = 5


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem details answer; ``detail`` must not quote patient data."""
    body = orjson.dumps(
        {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    )
    answer_headers = dict(headers or {})
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        answer_headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    return Response(body, status_code=status, headers=answer_headers, media_type=PROBLEM_TYPE)


async def on_gantry_error(_request: Request, error: Exception) -> Response:
    """Answer an error that Gantry raised on purpose."""
    if not isinstance(error, GantryError):
        raise error
    if error.outcome is Outcome.INTERNAL:
        log.error("internal_error", exc_info=error)
    headers = {"WWW-Authenticate": _challenge(error)} if isinstance(error, NotAuthenticated) else None
    return problem(STATUSES[error.outcome], error.detail, headers)


def _challenge(error: NotAuthenticated) -> str:
    # RFC 6750 3: who showed nothing is asked, who showed something bad is told.
    return 'Bearer realm="gantry"' + (', error="invalid_token"' if error.presented else "")


async def on_http_exception(_request: Request, error: Exception) -> Response:
    """Answer what the router raises: no such path, or a method the path has not."""
    if not isinstance(error, HTTPException):
        raise error
    return problem(error.status_code, error.detail, error.headers)


async def on_unexpected(_request: Request, error: Exception) -> Response:
    """Answer a bug: a 500 without a word of what was being handled."""
    if isinstance(error.__cause__, GantryError):
        # Raised when the answer had begun: nothing but breaking it off can tell the client.
        log.warning("answer_broken_off", outcome=error.__cause__.outcome.value)
    else:
        log.error("unexpected_error", exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The server met an unexpected condition.")
