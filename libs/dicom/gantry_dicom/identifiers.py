"""Identifiers of Query/Retrieve requests: bytes to keys (PS3.4 C.1.3, C.2.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR

from gantry_dicom.charsets import DEFAULT, CharacterSets, character_sets, decode_text
from gantry_dicom.elements import Buffer, Element, Encoding, is_sequence, item_encoding, items, walk
from gantry_dicom.errors import BadRequest, CannotProcess
from gantry_dicom.information_models import LEVEL_NAMES, Model
from gantry_dicom.query import Level, TagPath
from gantry_dicom.query_keys import name_of

SPECIFIC_CHARACTER_SET = 0x00080005
QUERY_RETRIEVE_LEVEL = 0x00080052
TIMEZONE_OFFSET_FROM_UTC = 0x00080201

# More keys than any real request has; each costs a condition.
_MOST_KEYS = 1_000
_DEEPEST = 8
_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}


class MismatchedIdentifier(BadRequest):
    """The identifier is not what the SOP class asks for (PS3.4 C.4.1.1.4: A900)."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key attribute; ``text`` is empty for universal matching, and for a sequence without keys."""

    path: TagPath
    vr: str
    text: str


@dataclass(frozen=True, slots=True)
class Identifier:
    """What was asked: the level, and every key but those that say how to read the others.

    ``specific_character_set`` is the value as sent, and so is ``timezone_offset_from_utc``.
    """

    level: Level
    keys: tuple[Key, ...]
    specific_character_set: bytes = b""
    timezone_offset_from_utc: str = ""

    def text(self, tag: int) -> str:
        """Return the value of a top-level key, empty when it is not there."""
        return next((key.text for key in self.keys if key.path == (tag,)), "")


def read_identifier(data: Buffer, encoding: Encoding, model: Model) -> Identifier:
    """Return the identifier in ``data``.

    Raises ``CannotProcess`` when the bytes are no data set, ``MismatchedIdentifier`` when there is
    no level of ``model`` in them.
    """
    try:
        elements = list(walk(data, 0, len(data), encoding))
    except (struct.error, IndexError) as error:
        raise CannotProcess("the identifier ends in the middle of an element") from error
    found = {element.tag: element for element in elements}
    sets, declared = DEFAULT, b""
    if SPECIFIC_CHARACTER_SET in found:
        declared = _value(data, found[SPECIFIC_CHARACTER_SET]).rstrip(b" \0")
        sets = character_sets(declared)
    reader = _Reader(data, sets, encoding)
    keys = tuple(reader.keys(elements, ()))
    texts = {key.path: key.text for key in keys}
    level = LEVEL_NAMES.get(texts.get((QUERY_RETRIEVE_LEVEL,), "").strip())
    if level is None or level not in model.levels:
        raise MismatchedIdentifier(f"Query/Retrieve Level is none of the {model.name} model")
    how = {(SPECIFIC_CHARACTER_SET,), (QUERY_RETRIEVE_LEVEL,), (TIMEZONE_OFFSET_FROM_UTC,)}
    return Identifier(
        level,
        tuple(key for key in keys if key.path not in how),
        declared,
        texts.get((TIMEZONE_OFFSET_FROM_UTC,), "").strip(),
    )


@dataclass(slots=True)
class _Reader:
    """Reads the keys of a data set and of the items in it."""

    data: Buffer
    sets: CharacterSets
    encoding: Encoding
    count: int = 0

    def keys(self, elements: list[Element], above: TagPath, depth: int = 0) -> Iterator[Key]:
        for element in elements:
            if not element.tag & 0xFFFF:
                continue  # group lengths, PS3.5 7.2
            self.count += 1
            if self.count > _MOST_KEYS or depth > _DEEPEST:
                raise MismatchedIdentifier("the identifier has more keys than are taken")
            path = (*above, element.tag)
            if is_sequence(element):
                yield from self._sequence(element, path, depth)
            else:
                vr = _vr(element)
                yield Key(path, vr, self._text(element, vr, path))

    def _sequence(self, element: Element, path: TagPath, depth: int) -> Iterator[Key]:
        inner = item_encoding(self.data, element, self.encoding)
        ranges = list(items(self.data, element, inner))
        # PS3.4 C.2.2.2.6: one item, or none.
        if len(ranges) > 1:
            raise MismatchedIdentifier(f"{name_of(path)} has more than one item")
        elements = [found for start, end in ranges for found in walk(self.data, start, end, inner)]
        if elements:
            nested = _Reader(self.data, self.sets, inner, self.count)
            yield from nested.keys(elements, path, depth + 1)
            self.count = nested.count
        else:
            yield Key(path, "SQ", "")

    def _text(self, element: Element, vr: str, path: TagPath) -> str:
        value = _value(self.data, element)
        code = _NUMBERS.get(vr)
        if code is None:
            return decode_text(value, self.sets, vr)
        order = "<" if self.encoding.little_endian else ">"
        try:
            numbers = struct.unpack(f"{order}{len(value) // struct.calcsize(code)}{code}", value)
        except struct.error:
            raise MismatchedIdentifier(f"{name_of(path)}: the length does not fit its VR") from None
        return "\\".join(str(number) for number in numbers)


def _value(data: Buffer, element: Element) -> bytes:
    return bytes(data[element.value_offset : element.value_offset + element.length])


def _vr(element: Element) -> str:
    """Return the VR: the dictionary's where the sender does not know it."""
    if element.vr != "UN":
        return element.vr
    try:
        vr = str(dictionary_VR(element.tag))
    except KeyError:
        return element.vr
    return vr if len(vr) == 2 else element.vr
