"""DICOM JSON (PS3.18 Annex F) as a data set in Explicit VR Little Endian, for storing metadata.

Text is written in UTF-8: Specific Character Set says so wherever anything is not ASCII, whatever the
sender declared. A JSON number that is too long for DS is rounded to its 16 characters; text stays
as it is. The result is a list of buffers to be written one after another, so that bulk data are
never copied into memory.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from struct import error as struct_error
from struct import pack
from typing import Any

from pydicom.valuerep import format_number_as_ds

from gantry_dicom.attributes import SPECIFIC_CHARACTER_SET
from gantry_dicom.element_headers import KNOWN_VRS, LONG_VRS, UNDEFINED_LENGTH, Buffer
from gantry_dicom.elements import DEFAULT_MAX_DEPTH
from gantry_dicom.errors import BadRequest
from gantry_dicom.reencode import explicit_element
from gantry_dicom.refusals import Refusal, Refused
from gantry_dicom.xml_encoder import GROUPS

Json = Mapping[str, Any]
# Returns the bytes that a BulkDataURI names; raises ``Refused``.
FindBulk = Callable[[str], Sequence[Buffer]]
Pieces = list[Buffer]

# Values, objects and arrays of one document, each of which costs some hundred bytes of memory.
MAX_NODES = 2_000_000
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_ITEM = b"\xfe\xff\x00\xe0"
_UTF_8 = explicit_element(SPECIFIC_CHARACTER_SET, "CS", b"ISO_IR 192")
_LONGEST_DS = 16
# PS3.5 6.2, Table 6.2-1: how one number is packed.
_NUMBERS = {"FD": "<d", "FL": "<f", "SL": "<l", "SS": "<h", "SV": "<q", "UL": "<L", "US": "<H", "UV": "<Q"}
_FLOATS = frozenset(("FD", "FL"))
_OCTETS = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
# Groups of commands and files, which are in no data set (PS3.7, PS3.10), and of directories.
_NOT_IN_DATA_SETS = frozenset(("0000", "0002", "0004"))


class JsonNumber(str):
    """A number of a JSON text, with its digits."""

    __slots__ = ()


def parse_documents(body: bytes) -> list[Any]:
    """Return the documents of a JSON body: an array of data sets, or one of them by itself.

    Raises ``BadRequest`` when it is no JSON, nested without end, or of too many values.
    """
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_NODES:
        raise BadRequest("the metadata have too many values")
    try:
        parsed = json.loads(
            body, parse_float=JsonNumber, parse_int=JsonNumber, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise BadRequest("the metadata are not JSON") from error
    if isinstance(parsed, dict):
        return [parsed]
    if not isinstance(parsed, list) or not parsed:
        raise BadRequest("the metadata are not an array of data sets")
    return parsed


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def text_of(document: Json, tag: str) -> str:
    """Return the first value of an attribute if it is text, else ``""``."""
    attribute = document.get(tag) if isinstance(document, Mapping) else None
    values = attribute.get("Value") if isinstance(attribute, Mapping) else None
    first = values[0] if isinstance(values, list) and values else None
    return first.strip() if isinstance(first, str) else ""


def data_set_of(document: Json, find_bulk: FindBulk, changes: Mapping[int, Pieces] | None = None) -> Pieces:
    """Return a document as the bytes of a data set, in buffers.

    ``changes`` gives whole top-level elements that stand instead of the document's. Raises
    ``Refused`` when something in the document is no attribute, or nested too deeply, and what
    ``find_bulk`` raises.
    """
    coder = _Coder(find_bulk)
    try:
        elements = coder.elements(document, 0, frozenset(changes or ()))
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError, struct_error) as error:
        raise Refused(Refusal.METADATA_MALFORMED) from error
    elements.update(changes or {})
    if coder.text_beyond_ascii or SPECIFIC_CHARACTER_SET in elements:
        elements[SPECIFIC_CHARACTER_SET] = [_UTF_8]
    return [piece for tag in sorted(elements) for piece in elements[tag]]


@dataclass(slots=True)
class _Coder:
    find_bulk: FindBulk
    text_beyond_ascii: bool = False

    def elements(
        self, document: Json, depth: int, without: frozenset[int] = frozenset()
    ) -> dict[int, Pieces]:
        if depth > DEFAULT_MAX_DEPTH:
            raise Refused(Refusal.NESTED_TOO_DEEPLY)
        made: dict[int, Pieces] = {}
        for name, attribute in document.items():
            if _TAG.fullmatch(name) is None:
                raise ValueError("not a tag")
            tag = int(name, 16)
            # Group lengths would be wrong now (PS3.5 7.2); an item has the data set's character set.
            left_out = name[:4] in _NOT_IN_DATA_SETS or not tag & 0xFFFF or tag in without
            if left_out or (depth and tag == SPECIFIC_CHARACTER_SET):
                continue
            if tag >> 16 in (0xFFFE, 0xFFFF):
                raise ValueError("not an attribute")
            made[tag] = self.element(tag, attribute, depth)
        return made

    def element(self, tag: int, attribute: Json, depth: int) -> Pieces:
        vr = attribute["vr"]
        if vr not in KNOWN_VRS:
            raise ValueError("not a value representation")
        uri, inline = attribute.get("BulkDataURI"), attribute.get("InlineBinary")
        values = attribute.get("Value") or []
        if not isinstance(values, list) or (uri is not None) + (inline is not None) + bool(values) > 1:
            raise ValueError("not a value")
        if uri is not None:
            return long_element(tag, vr, self.find_bulk(str(uri)))
        if vr == "SQ":
            if inline is not None:
                raise ValueError("not items")
            return self.sequence(tag, values, depth)
        if inline is not None:
            return [explicit_element(tag, vr, _octets(inline))]
        if values and vr in _OCTETS:
            raise ValueError("octets are no values")
        return [explicit_element(tag, vr, self.value(vr, values))]

    def sequence(self, tag: int, values: Sequence[Json | None], depth: int) -> Pieces:
        content: Pieces = []
        for item in values:
            elements = self.elements(item or {}, depth + 1)
            pieces = [piece for inner in sorted(elements) for piece in elements[inner]]
            content += [_ITEM + pack("<L", _length(pieces)), *pieces]
        return long_element(tag, "SQ", content)

    def value(self, vr: str, values: Sequence[Any]) -> bytes:
        if vr in _NUMBERS:
            return b"".join(_number(vr, value) for value in values)
        if vr == "AT":
            return b"".join(_tag(value) for value in values)
        encoded = "\\".join(_text(vr, value) for value in values).encode()
        self.text_beyond_ascii = self.text_beyond_ascii or not encoded.isascii()
        return encoded


def long_element(tag: int, vr: str, content: Sequence[Buffer]) -> Pieces:
    """Return an element of any length, padded; one too long for its VR is UN (PS3.5 6.2.2).

    Raises ``Refused`` when it is too long for any.
    """
    length = _length(content)
    padding = [b"\0"] if length & 1 else []
    length += length & 1
    if length >= UNDEFINED_LENGTH:
        raise Refused(Refusal.TOO_LARGE, "a value of 4 GB or more")
    head = pack("<HH", tag >> 16, tag & 0xFFFF)
    if vr not in LONG_VRS and length <= 0xFFFE:
        return [head + pack("<2sH", vr.encode(), length), *content, *padding]
    code = vr if vr in LONG_VRS else "UN"
    return [head + pack("<2sHL", code.encode(), 0, length), *content, *padding]


def _length(pieces: Sequence[Buffer]) -> int:
    return sum(len(piece) for piece in pieces)


def _octets(inline: object) -> bytes:
    if not isinstance(inline, str):
        raise TypeError("not base64")
    try:
        return b64decode(inline, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _number(vr: str, value: object) -> bytes:
    # Numbers as text are what PS3.18 F.2.3.1 allows for those that JavaScript would round.
    if not isinstance(value, str):
        raise TypeError("not a number")
    return pack(_NUMBERS[vr], float(value) if vr in _FLOATS else int(value))


def _tag(value: object) -> bytes:
    if not isinstance(value, str) or _TAG.fullmatch(value) is None:
        raise ValueError("not a tag")
    return pack("<HH", int(value[:4], 16), int(value[4:], 16))


def _text(vr: str, value: object) -> str:
    if value is None:
        return ""
    if vr == "PN" and isinstance(value, Mapping):
        return "=".join(str(value.get(group) or "") for group in GROUPS).rstrip("=")
    if not isinstance(value, str):
        raise TypeError("not text")
    if vr == "DS" and isinstance(value, JsonNumber) and len(value) > _LONGEST_DS:
        return format_number_as_ds(float(value))
    return value
