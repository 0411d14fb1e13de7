"""What an HTTP answer says went wrong, in one line."""

from __future__ import annotations

import httpx
from gantry_dicom.errors import (
    BadRequest,
    Conflict,
    GantryError,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Unavailable,
)

SHOWN_CHARACTERS = 200
ERRORS: dict[int, type[GantryError]] = {
    400: BadRequest,
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
}


def detail_of(response: httpx.Response) -> str:
    """Return the detail of problem+json (RFC 9457) or of an OAuth2 error (RFC 6749 5.2), or what came."""
    try:
        document = response.json()
        for name in ("detail", "error_description", "title", "error"):
            if document.get(name):
                return str(document[name])
    except (ValueError, AttributeError):
        pass
    return response.text[:SHOWN_CHARACTERS] or f"HTTP {response.status_code}"


def error_of(response: httpx.Response) -> GantryError:
    """Return the error that an answer with a status of 400 or more stands for."""
    return ERRORS.get(response.status_code, Unavailable)(detail_of(response))
