"""Media types: parsing and choosing (RFC 9110 12.5.1, PS3.18 8.7).

Names are compared without regard to case, quoted and bare parameter values are alike, and
a range that is not understood is skipped: what real viewers send is a list of wishes, of
which one that fits is enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gantry_dicom.errors import BadRequest

_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TYPE = re.compile(rf"\s*({_NAME})/({_NAME})\s*")
# A bare value may hold what a strict token may not: viewers send type=application/dicom.
_PARAMETER = re.compile(rf';\s*({_NAME})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;,"]*))\s*|;\s*')

# RFC 9110 12.4.2, and more digits than it allows; `float` alone would take "nan".
_WEIGHT = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type or range; names lower case, parameter values as sent."""

    type: str
    subtype: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    quality: float = 1.0

    @property
    def essence(self) -> str:
        """Type and subtype, without parameters."""
        return f"{self.type}/{self.subtype}"


def parse_media_type(text: str) -> MediaType:
    """Parse one media type with its parameters; raises ``BadRequest``."""
    start = _TYPE.match(text)
    if start is None:
        raise BadRequest("malformed media type")
    parameters: dict[str, str] = {}
    quality = 1.0
    position = start.end()
    while position < len(text):
        parameter = _PARAMETER.match(text, position)
        if parameter is None:
            raise BadRequest("malformed media type parameter")
        position = parameter.end()
        if parameter[1] is None:
            continue
        name = parameter[1].lower()
        value = re.sub(r"\\(.)", r"\1", parameter[2]) if parameter[2] is not None else parameter[3].strip()
        if name == "q":
            quality = _quality(value)
        elif name in parameters:
            raise BadRequest(f"media type parameter {name} is given twice")
        else:
            parameters[name] = value
    return MediaType(start[1].lower(), start[2].lower(), parameters, quality)


def _quality(text: str) -> float:
    if _WEIGHT.fullmatch(text) is None:
        raise BadRequest("malformed q value")
    return min(float(text), 1.0)


def split_list(text: str) -> list[str]:
    """Split a header list at the commas outside quotes."""
    items = []
    start = 0
    quoted = escaped = False
    for position, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            items.append(text[start:position])
            start = position + 1
    items.append(text[start:])
    return [item.strip() for item in items if item.strip()]


def parse_accept(header: str | None, parameter: str | None) -> tuple[MediaType, ...]:
    """Return the acceptable ranges, best first.

    ``parameter`` is the ``accept`` query parameter, which wins over the header (PS3.18
    8.3.3.1). Ranges with q=0 and ranges that cannot be parsed are left out; a transfer
    syntax given twice in one range raises ``BadRequest`` (PS3.18 8.7.3.5.2). Nothing sent
    at all means ``*/*``.
    """
    text = parameter or header
    if text is None or not text.strip():
        return (MediaType("*", "*"),)
    ranges = []
    for item in split_list(text):
        try:
            media_type = parse_media_type(item)
        except BadRequest as error:
            if "transfer-syntax is given twice" in error.detail:
                raise
            continue
        if media_type.quality > 0:
            ranges.append(media_type)
    return tuple(sorted(ranges, key=lambda media_type: -media_type.quality))


def matches(wanted: str, offered: str) -> bool:
    """Tell whether the essence ``offered`` lies in the range ``wanted`` (both lower case)."""
    if wanted in ("*/*", offered):
        return True
    return wanted.endswith("/*") and offered.startswith(wanted[:-1])


def choose(ranges: Sequence[MediaType], offered: Iterable[str]) -> str | None:
    """Return the first offered essence that the best range takes, or ``None``."""
    offers = tuple(offered)
    for wanted in ranges:
        for offer in offers:
            if matches(wanted.essence, offer):
                return offer
    return None
