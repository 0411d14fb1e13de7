"""Conditional and partial answers: validators and byte ranges (RFC 9110 13, 14), pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)


class Ranged(Enum):
    """What a Range header comes to where it is not one range that can be given."""

    WHOLE = "whole"
    UNSATISFIABLE = "unsatisfiable"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes of a representation: the first, and how many."""

    first: int
    count: int

    def content_range(self, length: int) -> str:
        """Return the value of Content-Range."""
        return f"bytes {self.first}-{self.first + self.count - 1}/{length}"


def strong_etag(*identity: object) -> str:
    """Return the ETag of a representation that ``identity`` tells from every other."""
    return f'"{hashlib.sha256(repr(identity).encode()).hexdigest()[:32]}"'


def names_etag(if_none_match: str, etag: str) -> bool:
    """Tell whether ``If-None-Match`` names the ETag, by weak comparison (RFC 9110 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag.removeprefix("W/") in tags or tags == ["*"]


def requested_range(headers: Mapping[str, str], etag: str, length: int) -> ByteRange | Ranged:
    """Return which bytes of ``length`` a GET asks for.

    Several ranges, other units and what is no range are ignored, as RFC 9110 14.2 allows; so is a
    range whose ``If-Range`` names another representation.
    """
    found = _RANGE.fullmatch(headers.get("range", ""))
    if found is None or headers.get("if-range", etag) != etag or (not found[1] and not found[2]):
        return Ranged.WHOLE
    if not found[1]:
        suffix = min(int(found[2]), length)
        return ByteRange(length - suffix, suffix) if suffix else Ranged.UNSATISFIABLE
    first = int(found[1])
    last = min(int(found[2]), length - 1) if found[2] else length - 1
    if found[2] and int(found[2]) < first:
        return Ranged.WHOLE
    return ByteRange(first, last - first + 1) if first < length else Ranged.UNSATISFIABLE
