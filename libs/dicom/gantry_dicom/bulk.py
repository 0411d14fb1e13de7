"""Bulk data by path: the value that a BulkDataURI of ``json_encoder`` names (PS3.18 10.4.1.1.5).

A path is tags and 1-based item numbers in turn, ``54000100/1/54001010`` for Waveform Data of the
first item of Waveform Sequence. Paths mean the same as in the JSON: of duplicate elements the
first counts, sequences hidden in UN have items.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gantry_dicom.elements import (
    DEFAULT_MAX_DEPTH,
    Element,
    Encoding,
    Item,
    Malformed,
    is_encapsulated,
    is_sequence,
    item_encoding,
    items,
    walk,
)
from gantry_dicom.errors import BadRequest, NotFound
from gantry_dicom.header import DataSetHeader
from gantry_dicom.values import OCTET_UNITS, Unfit, octets_to_little_endian

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_ITEM_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class BulkValue:
    """One value field.

    ``offset`` and ``length`` in bytes say where the value lies in the stored object (in the
    inflated data set where ``deflated``). ``data`` are its octets in little endian order, or
    ``None`` for the top-level pixel data, which a header does not hold. ``swap_unit`` is the
    number of bytes to reverse at a time to get from the stored octets at ``offset`` to little
    endian order; 1 means that they are right as they are. Encapsulated values are the whole
    series of fragments with their item headers.
    """

    tag: int
    vr: str
    offset: int
    length: int
    data: bytes | None
    encapsulated: bool = False
    deflated: bool = False
    swap_unit: int = 1


def parse_bulk_path(path: str | Sequence[str]) -> tuple[int, ...]:
    """Return the tags and item numbers of a path, or of its parts. Raises ``BadRequest``."""
    parts = path.split("/") if isinstance(path, str) else list(path)
    if len(parts) % 2 == 0 or len(parts) > 2 * DEFAULT_MAX_DEPTH + 1:
        raise BadRequest("a bulk data path is tags and item numbers in turn, with a tag at its end")
    numbers = []
    for index, part in enumerate(parts):
        is_tag = index % 2 == 0
        if not (_TAG if is_tag else _ITEM_NUMBER).fullmatch(part):
            raise BadRequest("a bulk data path is tags of eight hex digits and item numbers from 1")
        numbers.append(int(part, 16 if is_tag else 10))
    return tuple(numbers)


def find_bulk(header: DataSetHeader, path: str | Sequence[str]) -> BulkValue:
    """Return the value at ``path``.

    Raises ``BadRequest`` when the path is none, ``NotFound`` when nothing is there.
    """
    numbers = parse_bulk_path(path)
    for buffer, base in (
        (header.before_pixel_data, header.before_offset),
        (header.after_pixel_data, header.after_offset),
    ):
        try:
            found = _find(buffer, header.encoding, numbers)
        except Malformed as error:
            raise NotFound("the data set cannot be read as far as this bulk data") from error
        if found is not None:
            return _value(buffer, base, *found, deflated=header.deflated)
        if numbers == (header.pixel_data_tag,):
            return _pixel_data(header)
    raise NotFound("there is no such bulk data in the instance")


def _pixel_data(header: DataSetHeader) -> BulkValue:
    vr = header.pixel_data_vr or "OW"
    swapped = not header.encoding.little_endian and not header.encapsulated
    return BulkValue(
        tag=header.pixel_data_tag or 0,
        vr=vr,
        offset=header.pixel_data_offset,
        length=header.pixel_data_length,
        data=None,
        encapsulated=header.encapsulated,
        deflated=header.deflated,
        swap_unit=OCTET_UNITS.get(vr, 1) if swapped else 1,
    )


def _find(buffer: bytes, encoding: Encoding, numbers: tuple[int, ...]) -> tuple[Element, Encoding] | None:
    start, end = 0, len(buffer)
    ends: dict[int, tuple[int, int]] = {}
    for index in range(0, len(numbers), 2):
        level = walk(buffer, start, end, encoding, ends=ends)
        element = next((element for element in level if element.tag == numbers[index]), None)
        if element is None:
            return None
        if index == len(numbers) - 1:
            return (element, encoding) if not is_sequence(element) else None
        if element.vr not in ("SQ", "UN"):
            return None
        encoding = item_encoding(buffer, element, encoding)
        item = _item(buffer, element, encoding, ends, numbers[index + 1])
        if item is None:
            return None
        start, end = item
    return None


def _item(
    buffer: bytes, element: Element, encoding: Encoding, ends: dict[int, tuple[int, int]], number: int
) -> Item | None:
    for position, item in enumerate(items(buffer, element, encoding, ends=ends), 1):
        if position == number:
            return item
    return None


def _value(buffer: bytes, base: int, element: Element, encoding: Encoding, *, deflated: bool) -> BulkValue:
    start, length = element.value_offset, element.length
    data = buffer[start : start + length]
    encapsulated = is_encapsulated(element)
    unit = 1
    if not encoding.little_endian and not encapsulated and element.vr in OCTET_UNITS:
        try:
            data = octets_to_little_endian(data, element.vr)
            unit = OCTET_UNITS[element.vr]
        except Unfit:
            unit = 1
    return BulkValue(element.tag, element.vr, base + start, length, data, encapsulated, deflated, unit)
