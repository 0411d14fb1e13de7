"""Corrected headers: some elements replaced or taken away, everything else byte for byte as it was.

A header stays in the encoding and the character set of its object, so that the pixels behind it can
be read from where they lie. Only where a new value cannot be written in that character set, all
text becomes UTF-8. What was changed is told in Original Attributes Sequence (0400,0561), an item for
each correction (PS3.3 C.12.1.1.9).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from struct import pack

from gantry_dicom.attributes import SPECIFIC_CHARACTER_SET
from gantry_dicom.character_encoding import UTF_8, encode
from gantry_dicom.charsets import DEFAULT, TEXT_VRS, CharacterSets, character_sets, decode
from gantry_dicom.element_headers import LONG_VRS, Buffer
from gantry_dicom.elements import (
    EXPLICIT_LITTLE,
    Element,
    Encoding,
    Ends,
    is_sequence,
    item_encoding,
    items,
    walk,
)
from gantry_dicom.header import DataSetHeader
from gantry_dicom.little_endian import element as little_endian_element
from gantry_dicom.reencode import NUMBER_BYTES, explicit_element, explicit_little_endian

MODIFIED_ATTRIBUTES_SEQUENCE = 0x04000550
ORIGINAL_ATTRIBUTES_SEQUENCE = 0x04000561
_ATTRIBUTE_MODIFICATION_DATE_TIME = 0x04000562
_MODIFYING_SYSTEM = 0x04000563
_SOURCE_OF_PREVIOUS_VALUES = 0x04000564
_REASON_FOR_THE_ATTRIBUTE_MODIFICATION = 0x04000565

# Defined terms of Reason for the Attribute Modification (PS3.3 Table C.12-1).
COERCE = "COERCE"
CORRECT = "CORRECT"

_Elements = list[tuple[int, bytes]]
"""The elements of one level as they are written, each with its tag."""


@dataclass(frozen=True, slots=True)
class Change:
    """One correction.

    ``attributes`` are whole elements in Explicit VR Little Endian, text in UTF-8, without Specific
    Character Set; ``removed`` are tags. The rest is what Original Attributes Sequence says of it:
    ``modified_at`` is a DT value, ``reason`` one of its defined terms, ``source`` whoever sent the
    previous values, if known.
    """

    attributes: bytes
    removed: frozenset[int]
    modified_at: str
    reason: str = CORRECT
    source: str = ""
    system: str = "GANTRY"


def correct(header: DataSetHeader, changes: Sequence[Change]) -> DataSetHeader:
    """Return ``header`` with ``changes`` made one after another.

    Offsets are those of an object in which the corrected elements stand instead of the old ones.
    Elements behind the pixels stay as they are. Raises ``Malformed``.
    """
    before = header.before_pixel_data
    elements = [
        (found.tag, before[found.header_offset : found.end])
        for found in walk(before, 0, len(before), header.encoding)
    ]
    character_set = _character_set(elements, header.encoding)
    written: list[dict[int, bytes] | None] = [
        _written(change.attributes, header.encoding, character_set) for change in changes
    ]
    if any(made is None for made in written):
        elements = _in_utf_8(before, header.encoding)
        written = [_written(change.attributes, header.encoding, UTF_8) for change in changes]
    for change, made in zip(changes, written, strict=True):
        elements = _changed(elements, change, made or {}, header.encoding)
    corrected = b"".join(text for _, text in elements)
    shift = len(corrected) - len(before)
    has_pixels = header.pixel_data_tag is not None
    return replace(
        header,
        before_pixel_data=corrected,
        pixel_data_offset=header.pixel_data_offset + shift * has_pixels,
        after_offset=header.after_offset + shift,
    )


def _changed(elements: _Elements, change: Change, made: dict[int, bytes], encoding: Encoding) -> _Elements:
    """Return the elements after one change; the same ones when it says what they say already."""
    known: dict[int, bytes] = {}
    for tag, text in elements:
        known.setdefault(tag, text)
    put = {tag: text for tag, text in made.items() if known.get(tag) != text}
    touched = put.keys() | (change.removed & known.keys()) - made.keys()
    if not touched:
        return elements
    previous = [known[tag] for tag in sorted(touched) if tag in known]
    put[ORIGINAL_ATTRIBUTES_SEQUENCE] = _original_attributes(
        known.get(ORIGINAL_ATTRIBUTES_SEQUENCE), b"".join(previous), change, encoding
    )
    return _replaced(elements, put, touched | {ORIGINAL_ATTRIBUTES_SEQUENCE})


def _replaced(elements: _Elements, put: dict[int, bytes], touched: Container[int]) -> _Elements:
    """Return the elements with those in ``put`` at their places and no other that is ``touched``."""
    groups = {tag >> 16 for tag in put}
    # Group lengths would be wrong now (PS3.5 7.2).
    kept = [
        (tag, text)
        for tag, text in elements
        if tag not in touched and not (tag & 0xFFFF == 0 and tag >> 16 in groups)
    ]
    for tag in sorted(put):
        place = next((at for at, (other, _) in enumerate(kept) if other > tag), len(kept))
        kept.insert(place, (tag, put[tag]))
    return kept


def _original_attributes(known: bytes | None, previous: bytes, change: Change, encoding: Encoding) -> bytes:
    content = [
        _element(MODIFIED_ATTRIBUTES_SEQUENCE, "SQ", _item(previous, encoding), encoding),
        _element(_ATTRIBUTE_MODIFICATION_DATE_TIME, "DT", change.modified_at.encode(), encoding),
        _element(_MODIFYING_SYSTEM, "LO", change.system.encode(), encoding),
        _element(_SOURCE_OF_PREVIOUS_VALUES, "LO", change.source.encode("ascii", "replace"), encoding),
        _element(_REASON_FOR_THE_ATTRIBUTE_MODIFICATION, "CS", change.reason.encode(), encoding),
    ]
    earlier = [] if known is None else _contents(known, encoding)
    value = b"".join(_item(text, encoding) for text in (*earlier, b"".join(content)))
    return _element(ORIGINAL_ATTRIBUTES_SEQUENCE, "SQ", value, encoding)


def _contents(sequence: bytes, encoding: Encoding) -> list[bytes]:
    """Return what the items of a sequence hold, in ``encoding``; of what is no sequence, nothing."""
    element = next(walk(sequence, 0, len(sequence), encoding))
    if not is_sequence(element):
        return []
    inner = item_encoding(sequence, element, encoding)
    found = [sequence[start:end] for start, end in items(sequence, element, inner)]
    if inner == encoding:
        return found
    # Hidden in UN (PS3.5 6.2.2), in Explicit VR only.
    explicit = [explicit_little_endian(content, inner) for content in found]
    return [b"".join(_rewritten(content, encoding).values()) for content in explicit]


def _character_set(elements: _Elements, encoding: Encoding) -> bytes:
    text = next((text for tag, text in elements if tag == SPECIFIC_CHARACTER_SET), None)
    if text is None:
        return b""
    found = next(walk(text, 0, len(text), encoding))
    return text[found.value_offset : found.value_offset + found.length].strip(b" \0")


def _written(run: bytes, encoding: Encoding, character_set: bytes) -> dict[int, bytes] | None:
    """Return elements of Explicit VR Little Endian and UTF-8 as the header has them, by tag.

    ``None`` when its character set cannot express them.
    """
    if not run.isascii() and character_set != UTF_8:
        found = _recoded(run, 0, len(run), character_set)
        if found is None:
            return None
        run = found
    return _rewritten(run, encoding)


def _recoded(run: Buffer, start: int, end: int, character_set: bytes) -> bytes | None:
    pieces = []
    for found in walk(run, start, end, EXPLICIT_LITTLE):
        value: bytes | None = bytes(run[found.value_offset : found.value_offset + found.length])
        if is_sequence(found):
            contents = [
                _recoded(run, first, last, character_set)
                for first, last in items(run, found, EXPLICIT_LITTLE)
            ]
            value = _joined_items(contents)
        elif found.vr in TEXT_VRS and value is not None and not value.isascii():
            value = encode(value.decode("utf-8", "replace").rstrip(" "), character_set, found.vr)
        if value is None:
            return None
        pieces.append(explicit_element(found.tag, found.vr, value))
    return b"".join(pieces)


def _joined_items(contents: Sequence[bytes | None]) -> bytes | None:
    pieces = []
    for content in contents:
        if content is None:
            return None
        pieces.append(_item(content, EXPLICIT_LITTLE))
    return b"".join(pieces)


def _rewritten(run: bytes, encoding: Encoding) -> dict[int, bytes]:
    """Return elements of Explicit VR Little Endian in ``encoding``, by tag."""
    return {
        found.tag: _in_encoding(run, found, encoding) for found in walk(run, 0, len(run), EXPLICIT_LITTLE)
    }


def _in_encoding(run: Buffer, found: Element, encoding: Encoding) -> bytes:
    if is_sequence(found):
        contents = (
            b"".join(_in_encoding(run, inner, encoding) for inner in walk(run, start, end, EXPLICIT_LITTLE))
            for start, end in items(run, found, EXPLICIT_LITTLE)
        )
        return _element(found.tag, "SQ", b"".join(_item(text, encoding) for text in contents), encoding)
    value = bytes(run[found.value_offset : found.value_offset + found.length])
    unit = 1 if encoding.little_endian else NUMBER_BYTES.get(found.vr, 1)
    if unit > 1:
        value = b"".join(value[at : at + unit][::-1] for at in range(0, len(value), unit))
    return _element(found.tag, found.vr, value, encoding)


def _element(tag: int, vr: str, value: bytes, encoding: Encoding) -> bytes:
    """Return an element of a known length; ``value`` is in the byte order of ``encoding``."""
    made = little_endian_element(tag, vr, value, explicit=encoding.explicit)
    if encoding.little_endian:
        return made
    is_long = made[4:6].decode("latin-1") in LONG_VRS
    value, code = made[12 if is_long else 8 :], made[4:6]
    head = pack(">HH2s", tag >> 16, tag & 0xFFFF, code)
    return head + (pack(">HL", 0, len(value)) if is_long else pack(">H", len(value))) + value


def _item(content: bytes, encoding: Encoding) -> bytes:
    return pack("<HHL" if encoding.little_endian else ">HHL", 0xFFFE, 0xE000, len(content)) + content


def _in_utf_8(before: bytes, encoding: Encoding) -> _Elements:
    """Return the elements with all text in UTF-8, and Specific Character Set saying so."""
    label = _element(SPECIFIC_CHARACTER_SET, "CS", UTF_8, encoding)
    elements = list(_texts_in_utf_8(before, (0, len(before)), encoding, DEFAULT, {}))
    return _replaced(elements, {SPECIFIC_CHARACTER_SET: label}, {SPECIFIC_CHARACTER_SET})


def _texts_in_utf_8(
    buffer: bytes, span: tuple[int, int], encoding: Encoding, sets: CharacterSets, ends: Ends
) -> Iterator[tuple[int, bytes]]:
    for found in walk(buffer, *span, encoding, ends=ends):
        value = buffer[found.value_offset : found.value_offset + found.length]
        if found.tag == SPECIFIC_CHARACTER_SET:
            sets = character_sets(value.strip(b" \0"))
            continue
        text = buffer[found.header_offset : found.end]
        if found.vr == "SQ":
            contents = (
                b"".join(piece for _, piece in _texts_in_utf_8(buffer, inner, encoding, sets, ends))
                for inner in items(buffer, found, encoding, ends=ends)
            )
            text = _element(
                found.tag, "SQ", b"".join(_item(content, encoding) for content in contents), encoding
            )
        elif found.vr in TEXT_VRS and not (value.isascii() and b"\x1b" not in value):
            text = _element(found.tag, found.vr, decode(value, sets, found.vr).text.encode(), encoding)
        yield found.tag, text
