"""DICOM JSON by way of pydicom: the measure that the encoder is held to, and its fallback.

Structure, VRs and binary values are pydicom's reading; what differs from its ``to_json_dict``:

* Octets: ``BulkDataURI`` above ``INLINE_LIMIT`` bytes and for pixel data, little endian inline.
* "OB or OW" is OW, "US or SS" follows Pixel Representation, in the item or outside it.
* DS and IS are taken from the text, not from a float: digits stay, what a double would change
  and what is no number is a string. Integers beyond 2^53 and NaN or infinities are strings.
* Text is decoded by ``charsets`` (pydicom lacks ISO 2022 IR 58 and guesses otherwise); codes,
  dates and UIDs lose padding at both ends of each value, text at its end.
* Empty values are left out or null (PS3.18 F.2.5); of duplicates the first counts; a UN value is
  shown by the dictionary's VR only if its length fits (and in big endian only text).
* Unknown VR codes count as UN; what pydicom cannot convert is given as UN.
"""

from __future__ import annotations

import logging
import struct
import warnings
from base64 import b64encode
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from io import BytesIO
from typing import Any

import orjson
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag
from pydicom.valuerep import PersonName

from gantry_dicom.charsets import DEFAULT, CharacterSets, character_sets, decode
from gantry_dicom.dictionary import implicit_vr
from gantry_dicom.elements import KNOWN_VRS, Encoding, Malformed
from gantry_dicom.fragments import ALWAYS_APART, BULK_MARK, INLINE_LIMIT, Fragments, Path, path_text
from gantry_dicom.header import DataSetHeader
from gantry_dicom.values import OCTET_UNITS, Unfit, number_or_name, octets_to_little_endian

_NUMBER_SIZES = {"AT": 4, "FD": 8, "FL": 4, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8}
_UNITS = OCTET_UNITS | _NUMBER_SIZES
_CHOICES = {"OB or OW": "OW", "OB_OW": "OW", "US or OW": "OW", "US or SS or OW": "OW"}
_PADDING = " \0"
_SPECIFIC_CHARACTER_SET = 0x00080005
_PIXEL_REPRESENTATION = 0x00280103

# pydicom's warnings quote values, and patient data must not reach a log.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

# What pydicom raises on bytes that it cannot read.
_READ_ERRORS = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)

JsonObject = dict[str, Any]


def encode_with_pydicom(header: DataSetHeader) -> tuple[Fragments, tuple[str, ...]]:
    """Return the top-level fragments and an oddity that says how they were made.

    Raises ``Malformed`` when pydicom does not read the bytes either.
    """
    try:
        objects = reference_objects(header)
    except _READ_ERRORS as error:
        raise Malformed("no data set for pydicom either", 0) from error
    fragments = {
        # Quotation marks inside of values are escaped, so this is the name of a member.
        tag: b'"%08X":%b,'
        % (tag, orjson.dumps(attribute).replace(b'"BulkDataURI":"\\u001d', b'"BulkDataURI":"' + BULK_MARK))
        for tag, attribute in objects.items()
    }
    return fragments, ("data set: read by pydicom",)


def reference_objects(header: DataSetHeader) -> dict[int, JsonObject]:
    """Return the attributes by tag in ascending order, URIs beginning with ``BULK_MARK``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoding = header.encoding
        data_set = _read(header.before_pixel_data, encoding)
        for tag, element in _read(header.after_pixel_data, encoding).items():
            data_set.setdefault(tag, element)
        objects = _objects(data_set, encoding, DEFAULT, (), None)
        if header.pixel_data_tag is not None:
            objects.setdefault(header.pixel_data_tag, _pixel_data(header))
    return dict(sorted(objects.items()))


def _read(buffer: bytes, encoding: Encoding) -> dict[int, RawDataElement | DataElement]:
    found: dict[int, RawDataElement | DataElement] = {}
    stream = BytesIO(buffer)
    for element in data_element_generator(stream, not encoding.explicit, encoding.little_endian):
        found.setdefault(element.tag, element)
    return found


def _pixel_data(header: DataSetHeader) -> JsonObject:
    vr = header.pixel_data_vr or "OW"
    if header.pixel_data_length == 0 and not header.encapsulated:
        return {"vr": vr}
    return _bulk(vr, (), header.pixel_data_tag or 0)


def _bulk(vr: str, path: Path, tag: int) -> JsonObject:
    return {"vr": vr, "BulkDataURI": BULK_MARK.decode("ascii") + path_text(path, tag)}


def _objects(
    elements: Mapping[int, RawDataElement | DataElement],
    encoding: Encoding,
    sets: CharacterSets,
    path: Path,
    signed: bool | None,
) -> dict[int, JsonObject]:
    context = Dataset({BaseTag(tag): element for tag, element in elements.items()})
    declared = elements.get(_SPECIFIC_CHARACTER_SET)
    if isinstance(declared, RawDataElement):
        sets = character_sets(declared.value or b"")
    representation = elements.get(_PIXEL_REPRESENTATION)
    if isinstance(representation, RawDataElement):
        signed = any(representation.value or b"")
    objects = {}
    for tag in sorted(elements):
        if tag & 0xFFFF and tag >> 16 not in (0, 2) and tag != _SPECIFIC_CHARACTER_SET:
            objects[int(tag)] = _attribute(elements[tag], context, encoding, sets, path, signed)
    return objects


def _attribute(
    element: RawDataElement | DataElement,
    context: Dataset,
    encoding: Encoding,
    sets: CharacterSets,
    path: Path,
    signed: bool | None,
) -> JsonObject:
    if isinstance(element, DataElement):
        return _sequence(element, sets, path, signed)
    tag, value = int(element.tag), element.value or b""
    if element.length == 0xFFFFFFFF:  # fragments
        return _bulk(element.VR or "OB", path, tag)
    if element.VR is not None and element.VR not in KNOWN_VRS:
        element = element._replace(VR="UN")
    try:
        converted = convert_raw_data_element(element, encoding="latin_1", ds=context)
        vr = str(converted.VR)
    except _READ_ERRORS:
        vr = element.VR or implicit_vr(tag)
        if vr not in ("DS", "IS"):
            return _octets("UN", value, encoding, path, tag)
        # Text that pydicom cannot make a number of (1E310 as an integer) is text all the same.
        converted = convert_raw_data_element(element._replace(VR="LO"), encoding="latin_1", ds=context)
    if vr == "US or SS":
        vr = "SS" if signed else "US"
    vr = _CHOICES.get(vr, vr)
    if element.VR == "UN" and not encoding.little_endian and _UNITS.get(vr, 1) > 1:
        vr = "UN"
    if vr == "SQ":
        return _sequence(converted, sets, path, signed)
    if vr in OCTET_UNITS:
        return _octets(vr, value, encoding, path, tag)
    if len(value) % _NUMBER_SIZES.get(vr, 1):
        return _octets("UN", value, encoding, path, tag)
    values = _values(vr, value, converted, encoding, sets)
    return {"vr": vr, "Value": values} if values else {"vr": vr}


def _sequence(element: DataElement, sets: CharacterSets, path: Path, signed: bool | None) -> JsonObject:
    tag = int(element.tag)
    items = []
    for number, item in enumerate(element.value or (), 1):
        elements = {found: item.get_item(found, keep_deferred=True) for found in item.keys()}  # noqa: SIM118
        inner = Encoding(not item.original_encoding[0], bool(item.original_encoding[1]))
        objects = _objects(elements, inner, sets, (*path, tag, number), signed)
        items.append({f"{found:08X}": attribute for found, attribute in objects.items()})
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


def _octets(vr: str, value: bytes, encoding: Encoding, path: Path, tag: int) -> JsonObject:
    if not value:
        return {"vr": vr}
    if len(value) > INLINE_LIMIT or tag in ALWAYS_APART:
        return _bulk(vr, path, tag)
    if not encoding.little_endian:
        try:
            value = octets_to_little_endian(value, vr)
        except Unfit:
            vr = "UN"
    return {"vr": vr, "InlineBinary": b64encode(value).decode("ascii")}


def _values(
    vr: str, value: bytes, converted: DataElement, encoding: Encoding, sets: CharacterSets
) -> list[Any]:
    if not value:
        return []
    if vr in ("SS", "US"):  # "US or SS" is left as bytes by pydicom
        size = "h" if vr == "SS" else "H"
        return list(struct.unpack(f"{'<' if encoding.little_endian else '>'}{len(value) // 2}{size}", value))
    if vr in _NUMBER_SIZES:
        found = converted.value
        numbers = list(found) if converted.VM > 1 else [found]
        if vr == "AT":
            return [f"{number:08X}" for number in numbers]
        if vr in ("FD", "FL"):
            return [number_or_name(number) for number in numbers]
        return [number if abs(number) <= 2**53 else str(number) for number in numbers]
    text = decode(value, sets, vr).text
    if vr in ("LT", "ST", "UR", "UT"):
        parts = [text.rstrip(_PADDING)]
    elif vr in ("LO", "PN", "SH", "UC"):
        parts = [part.rstrip(_PADDING) for part in text.split("\\")]
    else:
        parts = [part.strip(_PADDING) for part in text.split("\\")]
    if parts == [""]:
        return []
    if vr == "PN":
        names = [_name(part) for part in parts]
        return [] if names == [None] else names
    if vr in ("DS", "IS"):
        return [_number(part) for part in parts]
    return [part or None for part in parts]


def _name(text: str) -> dict[str, str] | None:
    name = PersonName(text)
    groups = {"Alphabetic": name.alphabetic, "Ideographic": name.ideographic, "Phonetic": name.phonetic}
    return {group: found for group, value in groups.items() if (found := value.rstrip(_PADDING))} or None


def _number(text: str) -> float | str | None:
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if not number.is_finite() or "_" in text or not text.isascii():
        return text
    if "." not in text.rstrip(".") and "e" not in text.lower():
        return int(number) if abs(number) <= 2**53 else text
    try:
        survives = Decimal(repr(float(text))) == number
    except (InvalidOperation, OverflowError):
        return text
    return float(text) if survives else text
