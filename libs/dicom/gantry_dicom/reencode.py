"""Data sets in any encoding written as Explicit VR Little Endian (PS3.5 A.2), value by value.

Values are moved, not understood: what makes no sense stays as it is, so that no odd element can
make an object unreadable that is readable as stored. What changes is form only:

* VRs that Implicit VR leaves open come from the dictionary, unknown ones are UN.
* Words of big endian data sets are swapped (PS3.5 7.3).
* Elements are in the order of their tags, of duplicates the first; lengths of sequences and items
  are given, values of odd length are padded (PS3.5 7.1.1); a value too long for its VR's
  length field is UN (PS3.5 6.2.2).
* Group lengths are left out, which would be wrong now (PS3.5 7.2).
* Fragments inside sequences (icons) belong to the transfer syntax left: their element is empty.
"""

from __future__ import annotations

from array import array
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from struct import pack

from gantry_dicom.dictionary import SIGNED_IF_PIXELS_ARE
from gantry_dicom.element_headers import LONG_VRS
from gantry_dicom.elements import (
    Buffer,
    Element,
    Encoding,
    Ends,
    is_encapsulated,
    is_sequence,
    item_encoding,
    items,
    walk,
)
from gantry_dicom.values import OCTET_UNITS

Changes = Mapping[int, bytes]
"""Whole elements as ``explicit_element`` makes them, by tag; none (``b""``) leaves the element out."""

# Bytes of the numbers of each VR that a big endian data set has swapped (PS3.5 6.2, 7.3).
NUMBER_BYTES = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
_ARRAY_CODES = {2: "H", 4: "I", 8: "Q"}
_PADDED_WITH_NUL = frozenset((*OCTET_UNITS, "UI"))
_LONGEST_SHORT = 0xFFFE
_PIXEL_REPRESENTATION = 0x00280103
_ITEM = b"\xfe\xff\x00\xe0"


@dataclass(frozen=True, slots=True)
class _Level:
    buffer: Buffer
    encoding: Encoding
    # Pixel Representation (0028,0103) is 1, here or in what encloses this.
    signed: bool = False
    ends: Ends = field(default_factory=dict)


def explicit_little_endian(
    buffer: Buffer,
    encoding: Encoding,
    changes: Changes | None = None,
    *,
    only: Container[int] | None = None,
) -> bytes:
    """Return a run of whole elements in Explicit VR Little Endian, with ``changes`` to its top level.

    ``only`` names the top-level tags to keep. Raises ``Malformed`` when the bytes are no data set.
    """
    found = _elements(_Level(buffer, encoding), 0, len(buffer), only)
    found.update(changes or {})
    return b"".join(found[tag] for tag in sorted(found))


def explicit_element(tag: int, vr: str, value: bytes) -> bytes:
    """Return an element of a known length in Explicit VR Little Endian, padded to an even length."""
    if len(value) & 1:
        value += b"\0" if vr in _PADDED_WITH_NUL else b" "
    head = pack("<HH", tag >> 16, tag & 0xFFFF)
    if vr in LONG_VRS:
        return head + pack("<2sHL", vr.encode(), 0, len(value)) + value
    if len(value) > _LONGEST_SHORT:
        return head + pack("<2sHL", b"UN", 0, len(value)) + value
    return head + pack("<2sH", vr.encode(), len(value)) + value


def _elements(level: _Level, start: int, end: int, only: Container[int] | None = None) -> dict[int, bytes]:
    made: dict[int, bytes] = {}
    for element in walk(level.buffer, start, end, level.encoding, ends=level.ends, only=only):
        tag = element.tag
        if tag in made or not tag & 0xFFFF:
            continue
        if is_sequence(element):
            made[tag] = explicit_element(tag, "SQ", _items(level, element))
            continue
        value = _value(level, element)
        if tag == _PIXEL_REPRESENTATION:
            level = replace(level, signed=value == b"\1\0")
        is_signed = level.signed and not level.encoding.explicit and tag in SIGNED_IF_PIXELS_ARE
        made[tag] = explicit_element(tag, "SS" if is_signed else element.vr, value)
    return made


def _items(level: _Level, sequence: Element) -> bytes:
    inner = replace(level, encoding=item_encoding(level.buffer, sequence, level.encoding))
    pieces = []
    for start, end in items(level.buffer, sequence, inner.encoding, ends=level.ends):
        content = b"".join(text for _, text in sorted(_elements(inner, start, end).items()))
        pieces.append(_ITEM + pack("<L", len(content)) + content)
    return b"".join(pieces)


def _value(level: _Level, element: Element) -> bytes:
    if is_encapsulated(element):
        return b""
    value = bytes(level.buffer[element.value_offset : element.value_offset + element.length])
    unit = 1 if level.encoding.little_endian else NUMBER_BYTES.get(element.vr, 1)
    if unit == 1:
        return value
    whole = len(value) // unit * unit
    numbers = array(_ARRAY_CODES[unit], value[:whole])
    numbers.byteswap()
    return numbers.tobytes() + value[whole:]
