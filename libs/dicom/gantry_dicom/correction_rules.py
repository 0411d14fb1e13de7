"""What a correction may say: attributes by keyword or tag, with values that fit their VR.

Identity is not corrected here: UIDs change by moving what they name. Neither is what the pixels
are read by, which would make other pictures of the same bytes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.valuerep import validate_value

from gantry_dicom.attributes import SPECIFIC_CHARACTER_SET, level_of
from gantry_dicom.correcting import MODIFIED_ATTRIBUTES_SEQUENCE, ORIGINAL_ATTRIBUTES_SEQUENCE
from gantry_dicom.dictionary import implicit_vr
from gantry_dicom.element_headers import EXPLICIT_LITTLE, KNOWN_VRS
from gantry_dicom.elements import walk
from gantry_dicom.errors import BadRequest
from gantry_dicom.json_decoder import data_set_of, parse_documents
from gantry_dicom.pixel_layout import LAYOUT_TAGS
from gantry_dicom.query import Level
from gantry_dicom.refusals import Refusal, Refused
from gantry_dicom.xml_encoder import GROUPS

PATIENT_ID = 0x00100020
ISSUER_OF_PATIENT_ID = 0x00100021

_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")
_PIXEL_GROUP = 0x7FE0
# PS3.7 and PS3.10: groups that are in no data set; 0028: what pixels are read by.
_NEVER = frozenset(
    (
        *LAYOUT_TAGS,
        SPECIFIC_CHARACTER_SET,
        ORIGINAL_ATTRIBUTES_SEQUENCE,
        MODIFIED_ATTRIBUTES_SEQUENCE,
        0x00280002,  # Samples per Pixel
        0x00280004,  # Photometric Interpretation
        0x00280006,  # Planar Configuration
        0x00280008,  # Number of Frames
        0x00280010,  # Rows
        0x00280011,  # Columns
        0x00280100,  # Bits Allocated
        0x00280101,  # Bits Stored
        0x00280102,  # High Bit
        0x00280103,  # Pixel Representation
    )
)
_OCTETS = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
_NUMBERS = frozenset(("FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"))
_ORDER = (Level.PATIENT, Level.STUDY, Level.SERIES, Level.INSTANCE)
# More than any correction by hand, and far less than would make headers large.
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Correction:
    """Attributes to be set, as a DICOM JSON object, and tags to be taken away."""

    document: bytes
    removed: frozenset[int]

    @property
    def tags(self) -> frozenset[int]:
        """Every tag that the correction is about."""
        return self.removed | {int(tag, 16) for tag in orjson.loads(self.document)}


def read_correction(
    attributes: Mapping[str, object], removed: Iterable[str], level: Level, *, identity: bool = False
) -> Correction:
    """Return the correction of something at ``level``.

    ``attributes`` are by keyword or tag; a value is text, a number, a list of them, or an attribute
    of DICOM JSON. Those of a patient or study can only be corrected for the whole of it. With
    ``identity`` Patient ID and its issuer may be among those of a patient. Raises ``BadRequest``.
    """
    document: dict[str, Any] = {}
    for name, value in attributes.items():
        tag = tag_named(name)
        key = f"{tag:08X}"
        if key in document:
            raise BadRequest(f"{name} is given twice")
        document[key] = _attribute(tag, name, value)
    gone = frozenset(tag_named(name) for name in removed)
    if not document and not gone:
        raise BadRequest("a correction sets or removes at least one attribute")
    if gone & {int(tag, 16) for tag in document}:
        raise BadRequest("an attribute cannot be both set and removed")
    correction = Correction(orjson.dumps(document), gone)
    if len(correction.document) > _MOST_BYTES:
        raise BadRequest("the correction is too large")
    for tag in sorted(correction.tags):
        _check_tag(tag, level, identity=identity)
    elements_of(correction.document)
    return correction


def elements_of(document: bytes) -> bytes:
    """Return the elements of a DICOM JSON object in Explicit VR Little Endian, text in UTF-8.

    Raises ``BadRequest``.
    """
    parsed = parse_documents(document)[0] if document else {}
    try:
        run = b"".join(bytes(piece) for piece in data_set_of(parsed, _no_bulk))
    except Refused as error:
        raise BadRequest("a value does not fit its value representation") from error
    found = list(walk(run, 0, len(run), EXPLICIT_LITTLE))
    return b"".join(run[one.header_offset : one.end] for one in found if one.tag != SPECIFIC_CHARACTER_SET)


def tag_named(name: str) -> int:
    """Return the tag of a keyword, of ``ggggeeee`` or of ``(gggg,eeee)``. Raises ``BadRequest``."""
    matched = _TAG.fullmatch(name)
    tag = int(matched[1] + matched[2], 16) if matched else tag_for_keyword(name)
    if tag is None:
        raise BadRequest(f"{name[:64]} is neither a keyword nor a tag")
    return int(tag)


def _check_tag(tag: int, level: Level, *, identity: bool) -> None:
    group, number = tag >> 16, tag & 0xFFFF
    is_private_creator = bool(group & 1) and 0x10 <= number <= 0xFF
    if group < 8 or group >= _PIXEL_GROUP or not number or tag in _NEVER or is_private_creator:
        raise BadRequest(f"{tag:08X} cannot be corrected")
    if implicit_vr(tag) == "UI":
        raise BadRequest(f"{tag:08X} is a UID: it changes when what it names is moved")
    if tag in (PATIENT_ID, ISSUER_OF_PATIENT_ID) and level is Level.PATIENT and not identity:
        raise BadRequest("a patient gets another identifier by a merge")
    own = level_of(tag)
    if level is Level.PATIENT and own is not Level.PATIENT:
        raise BadRequest(f"{tag:08X} is no attribute of a patient")
    if _ORDER.index(own) < _ORDER.index(Level.STUDY if level is Level.PATIENT else level) and level in (
        Level.SERIES,
        Level.INSTANCE,
    ):
        raise BadRequest(f"{tag:08X} is the {own.value}'s: correct that, or move this out of it")


def _attribute(tag: int, name: str, value: object) -> dict[str, Any]:
    known = implicit_vr(tag)
    if isinstance(value, Mapping) and ("vr" in value or "Value" in value):
        vr = str(value.get("vr", known))
        values = value.get("Value", [])
        if not isinstance(values, list) or set(value) - {"vr", "Value"}:
            raise BadRequest(f"{name} is not an attribute of DICOM JSON with its values")
    else:
        vr, values = known, [] if value in (None, "") else value if isinstance(value, list) else [value]
    is_private = bool(tag >> 16 & 1)
    if vr not in KNOWN_VRS or (known != "UN" and vr != known) or (known == "UN" and not is_private):
        raise BadRequest(f"{name} has the value representation {known}")
    if vr in _OCTETS:
        raise BadRequest(f"{name} holds octets, which are not corrected")
    return {"vr": vr, "Value": _values(name, vr, values)} if values else {"vr": vr}


def _values(name: str, vr: str, values: Sequence[Any]) -> list[Any]:
    if vr == "SQ":
        if not all(isinstance(item, Mapping) for item in values):
            raise BadRequest(f"{name} is a sequence of data sets in DICOM JSON")
        return list(values)
    checked = [_value(name, vr, value) for value in values]
    if vr == "PN":
        return [dict(zip(GROUPS, str(value).split("="), strict=False)) for value in checked]
    return checked


def _value(name: str, vr: str, value: object) -> object:
    if vr == "PN" and isinstance(value, Mapping):
        value = "=".join(str(value.get(group) or "") for group in GROUPS).rstrip("=")
    if vr in _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadRequest(f"{name} holds numbers")
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRequest(f"{name} holds text")
    text = str(value)
    if vr in ("DA", "TM") and "-" in text:
        raise BadRequest(f"{name} is one moment, not a range")
    if vr not in ("LT", "ST", "UT", "UR") and ("\\" in text or any(ord(one) < 0x20 for one in text)):
        raise BadRequest(f"{name} holds a character that no value of {vr} may have")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            validate_value(vr, text, config.RAISE)
        except ValueError:
            # Not the library's own text: it quotes the value.
            raise BadRequest(f"the value of {name} is no {vr} (PS3.5 6.2)") from None
    return text


def _no_bulk(_uri: str) -> Sequence[bytes]:
    raise Refused(Refusal.METADATA_MALFORMED)
