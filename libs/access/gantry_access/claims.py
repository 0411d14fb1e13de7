"""A token taken apart, strictly: three parts of base64url, JSON objects without doubled names.

What two readers can understand differently is refused here, before anything is believed.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from gantry_dicom.errors import NotAuthenticated

# Ours are below 1 KiB; a federated provider's with many groups has a few.
MAX_TOKEN_CHARACTERS = 8192
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_LARGEST_TIME = 1 << 40

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parts:
    """Header and claims of a token whose signature nobody has checked yet."""

    header: JsonObject
    claims: JsonObject


def take_apart(token: str) -> Parts:
    """Return header and claims of a compact JWS (RFC 7515 7.1). Raises ``NotAuthenticated``."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise NotAuthenticated("the token is too long")
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise NotAuthenticated("the token is malformed")
    return Parts(_json_object(match[1]), _json_object(match[2]))


def text_of(values: JsonObject, name: str) -> str:
    """Return a member that must be a text with something in it. Raises ``NotAuthenticated``."""
    value = values.get(name)
    if not isinstance(value, str) or not value:
        raise NotAuthenticated(f"the token has no {name}")
    return value


def time_of(values: JsonObject, name: str) -> float:
    """Return a NumericDate (RFC 7519 2). Raises ``NotAuthenticated``."""
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LARGEST_TIME:
        raise NotAuthenticated(f"the token has no {name}")
    return float(value)


def texts_of(value: object) -> list[str]:
    """Return a claim that is a text or a list of texts as a list; anything else is empty."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [item for item in value if isinstance(item, str)]
    return []


def claim_at(claims: JsonObject, name: str) -> object:
    """Return the claim of that name, or by a path of dots (``realm_access.roles``); ``None`` if absent."""
    if name in claims:
        return claims[name]
    found: object = claims
    for step in name.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(step)
    return found


def _json_object(encoded: str) -> JsonObject:
    try:
        data = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        value = json.loads(data.decode(), object_pairs_hook=_without_doubles, parse_constant=_no_constant)
    except (binascii.Error, UnicodeDecodeError, ValueError, RecursionError):
        raise NotAuthenticated("the token is malformed") from None
    if not isinstance(value, dict):
        raise NotAuthenticated("the token is malformed")
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> JsonObject:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name occurs twice")
    return values


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("not a number of JSON")
