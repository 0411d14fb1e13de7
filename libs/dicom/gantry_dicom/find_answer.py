"""Matches to the identifiers that answer a C-FIND (PS3.4 C.4.1.1.3.2).

A match is a DICOM JSON document of the index; its identifier holds what was requested and no more,
in the requester's character set, or in UTF-8, and labelled so, where that cannot express it.
"""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from gantry_dicom.character_encoding import UTF_8, encode
from gantry_dicom.dictionary import implicit_vr
from gantry_dicom.errors import GantryError
from gantry_dicom.facts import BASE_MARK
from gantry_dicom.find_identifier import FindRequest
from gantry_dicom.identifiers import QUERY_RETRIEVE_LEVEL, SPECIFIC_CHARACTER_SET
from gantry_dicom.information_models import NAMES_OF_LEVELS
from gantry_dicom.little_endian import element
from gantry_dicom.query import Tag, TagPath
from gantry_dicom.values import OCTET_UNITS

_RETRIEVE_AE_TITLE = 0x00080054
_ITEM = b"\xfe\xff\x00\xe0"
_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
# PS3.5 6.2: the longest DS.
_LONGEST_DS = 16

Element = Mapping[str, Any]
Match = Mapping[str, Element]
"""The attributes of a match, as DICOM JSON has them."""
Layout = tuple[tuple[Tag, str, frozenset[TagPath]], ...]
"""Tags in their order, each with its name in DICOM JSON and the paths wanted inside of it."""


class _NotExpressible(GantryError):
    """The character set has no characters for a value."""


def match(document: bytes) -> Match:
    """Return a document of the index as it is answered."""
    found: Match = orjson.loads(document.replace(BASE_MARK, b""))
    return found


def answer(found: Match, request: FindRequest, retrieve_ae_title: str, *, explicit: bool) -> bytes:
    """Return the identifier of one match, in Explicit or Implicit VR Little Endian."""
    level = NAMES_OF_LEVELS[request.query.level]
    elements = {
        **found,
        f"{_RETRIEVE_AE_TITLE:08X}": {"vr": "AE", "Value": [retrieve_ae_title]},
        f"{QUERY_RETRIEVE_LEVEL:08X}": {"vr": "CS", "Value": [level]},
    }
    layout = _layout(request.requested)
    asked = request.identifier.specific_character_set
    try:
        return _Writer(explicit, asked).data_set(elements, layout)
    except _NotExpressible:
        return _Writer(explicit, UTF_8).data_set(elements, layout)


def first_value(found: Match, tag: Tag) -> str:
    """Return the first value of an attribute of a match, empty when there is none."""
    return str(next(iter(found.get(f"{tag:08X}", {}).get("Value", ())), ""))


@dataclass(frozen=True, slots=True)
class _Writer:
    explicit: bool
    specific_character_set: bytes

    def data_set(self, elements: Mapping[str, Element], layout: Layout) -> bytes:
        made = []
        for tag, name, inner in layout:
            if tag != SPECIFIC_CHARACTER_SET:
                made.append(self.attribute(tag, elements.get(name), inner))
            elif self.specific_character_set:
                made.append(self._element(tag, "CS", self.specific_character_set))
        return b"".join(made)

    def attribute(self, tag: Tag, found: Element | None, inner: frozenset[TagPath]) -> bytes:
        """Write a requested element, of a sequence the attributes ``inner``, or all when there are none."""
        if found is None:
            return self._element(tag, "SQ" if inner else implicit_vr(tag), b"")
        vr = found["vr"]
        if vr == "SQ":
            return self._element(tag, vr, self._items(found.get("Value", ()), inner))
        return self._element(tag, vr, self._value(vr, found))

    def _items(self, values: Sequence[Mapping[str, Element]], inner: frozenset[TagPath]) -> bytes:
        pieces = []
        for item in values:
            wanted = _by_first(inner or frozenset((int(name, 16),) for name in item))
            content = b"".join(self.attribute(tag, item.get(name), below) for tag, name, below in wanted)
            pieces.append(_ITEM + struct.pack("<L", len(content)) + content)
        return b"".join(pieces)

    def _value(self, vr: str, element: Element) -> bytes:
        if "InlineBinary" in element:
            return b64decode(element["InlineBinary"])
        values = element.get("Value", ())
        code = _NUMBERS.get(vr)
        try:
            if code is not None:
                number = float if vr in ("FL", "FD") else int
                return b"".join(
                    struct.pack(f"<{code}", number(value)) for value in values if value is not None
                )
            if vr == "AT":
                return b"".join(
                    struct.pack("<HH", int(value[:4], 16), int(value[4:], 16)) for value in values
                )
        except (struct.error, ValueError, OverflowError):
            return b""  # what is no number of the VR cannot be written as one
        if vr in OCTET_UNITS:
            return b""
        text = "\\".join(map(_TEXTS.get(vr, _as_text), values))
        written = encode(text, self.specific_character_set, vr)
        if written is None:
            if self.specific_character_set == UTF_8:
                return text.encode("utf_8", "replace")
            raise _NotExpressible("the character set cannot express a value")
        return written

    def _element(self, tag: Tag, vr: str, value: bytes) -> bytes:
        return element(tag, vr, value, explicit=self.explicit)


@lru_cache(maxsize=64)
def _layout(requested: frozenset[TagPath]) -> Layout:
    """Return what an answer holds: what was requested, and what every answer has."""
    always = ((SPECIFIC_CHARACTER_SET,), (QUERY_RETRIEVE_LEVEL,), (_RETRIEVE_AE_TITLE,))
    return _by_first(requested.union(always))


def _by_first(paths: frozenset[TagPath]) -> Layout:
    """Group paths by their first tag, rising; what is left of a path of one tag is left out."""
    found: dict[Tag, set[TagPath]] = {}
    for path in paths:
        rest = found.setdefault(path[0], set())
        if len(path) > 1:
            rest.add(path[1:])
    return tuple((tag, f"{tag:08X}", frozenset(found[tag])) for tag in sorted(found))


def _as_text(value: object) -> str:
    return "" if value is None else str(value)


def _person_name(value: Mapping[str, str] | None) -> str:
    groups = [(value or {}).get(group, "") for group in _NAME_GROUPS]
    return "=".join(groups).rstrip("=")


def _decimal(value: object) -> str:
    text = _as_text(value)
    return text if len(text) <= _LONGEST_DS or not isinstance(value, float) else f"{value:.9e}"


_TEXTS: Mapping[str, Callable[[Any], str]] = {"PN": _person_name, "DS": _decimal}
