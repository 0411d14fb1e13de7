"""An object in another transfer syntax, without its pixels: what frames are put between.

The frames themselves go by one at a time (``decode``, ``encode``), so that an object of any size
is transcoded in the memory of a few of its frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack

from gantry_dicom.element_headers import EXPLICIT_LITTLE
from gantry_dicom.errors import CannotProcess
from gantry_dicom.header import DataSetHeader
from gantry_dicom.part10 import TRANSFER_SYNTAX_UID
from gantry_dicom.reencode import Changes, explicit_element, explicit_little_endian
from gantry_dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, lookup

from gantry_imaging.attributes import ImageAttributes, image_attributes, read_header
from gantry_imaging.encode import encoded_photometric, encoded_planar_configuration

_PREAMBLE = bytes(128) + b"DICM"
_PHOTOMETRIC_INTERPRETATION = 0x00280004
_PLANAR_CONFIGURATION = 0x00280006
# Image Pixel module (PS3.3 C.7.6.3).
_PIXEL_MODULE = range(0x00280002, 0x00280104)
# Offset tables of the encapsulation that is left (PS3.3 C.7.6.3).
_OFFSET_TABLES = (0x7FE00001, 0x7FE00002, 0x7FE00003)
_FLOAT_PIXEL_TAGS = (0x7FE00008, 0x7FE00009)
_UNDEFINED = 0xFFFFFFFF
_EMPTY_OFFSET_TABLE = b"\xfe\xff\x00\xe0" + bytes(4)
_SEQUENCE_DELIMITER = b"\xfe\xff\xdd\xe0" + bytes(4)


@dataclass(frozen=True, slots=True)
class Outline:
    """An object in parts: File Meta, the data set up to the first frame, and what follows the last.

    ``fragmented`` says that each frame is a fragment (``fragment_head`` before it); otherwise the
    frames stand side by side and ``pixel_bytes`` is what they have together, padding excluded.
    """

    meta: bytes
    head: bytes
    tail: bytes
    fragmented: bool = False
    pixel_bytes: int = 0


def fragment_head(length: int) -> bytes:
    """Return the item header of a fragment of an even ``length`` (PS3.5 A.4)."""
    return b"\xfe\xff\x00\xe0" + pack("<L", length)


def describe(header: DataSetHeader) -> ImageAttributes:
    """Return the pixel description of a data set; raises ``CannotProcess`` when it has none."""
    pixel_module = explicit_little_endian(header.before_pixel_data, header.encoding, only=_PIXEL_MODULE)
    data_set = read_header(_PREAMBLE + _meta_elements(EXPLICIT_VR_LITTLE_ENDIAN) + pixel_module)
    return image_attributes(data_set, floating=header.pixel_data_tag in _FLOAT_PIXEL_TAGS)


def outline(meta: bytes, header: DataSetHeader, frames: int, target: str) -> Outline:
    """Return an object with ``frames`` frames as it is in transfer syntax ``target``, without them.

    ``meta`` is its File Meta as stored. Raises ``CannotProcess`` for pixels that the target cannot
    hold, or that are more than a length field says.
    """
    syntax = lookup(target)
    if syntax is None:
        raise CannotProcess(f"nothing is written in transfer syntax {target}")
    made = _PREAMBLE + _meta_elements(target, meta)
    tail = explicit_little_endian(header.after_pixel_data, header.encoding)
    if header.pixel_data_tag is None:
        return Outline(made, _explicit(header, {}), tail)
    tag = pack("<HH", header.pixel_data_tag >> 16, header.pixel_data_tag & 0xFFFF)
    if not header.encapsulated and not syntax.encapsulated:
        pixel_head = tag + _native_head(header.pixel_data_vr or "OW", header.pixel_data_length)
        padding = bytes(header.pixel_data_length & 1)
        return Outline(
            made, _explicit(header, {}) + pixel_head, padding + tail, pixel_bytes=header.pixel_data_length
        )
    attributes = describe(header)
    changes = dict.fromkeys(_OFFSET_TABLES, b"") | _pixel_changes(attributes, target, syntax.encapsulated)
    head = _explicit(header, changes)
    if syntax.encapsulated:
        head += tag + pack("<2sHL", b"OB", 0, _UNDEFINED) + _EMPTY_OFFSET_TABLE
        return Outline(made, head, _SEQUENCE_DELIMITER + tail, fragmented=True)
    length = (frames * attributes.samples * attributes.bits_allocated + 7) // 8
    head += tag + _native_head("OW" if attributes.bits_allocated > 8 else "OB", length)
    return Outline(made, head, bytes(length & 1) + tail, pixel_bytes=length)


def _explicit(header: DataSetHeader, changes: Changes) -> bytes:
    return explicit_little_endian(header.before_pixel_data, header.encoding, changes)


def _native_head(vr: str, length: int) -> bytes:
    even = length + (length & 1)
    if even >= _UNDEFINED:
        raise CannotProcess("the pixels are longer than an uncompressed transfer syntax can say")
    return pack("<2sHL", vr.encode(), 0, even)


def _meta_elements(target: str, meta: bytes = b"") -> bytes:
    changes = {TRANSFER_SYNTAX_UID: explicit_element(TRANSFER_SYNTAX_UID, "UI", target.encode())}
    elements = explicit_little_endian(meta[len(_PREAMBLE) :], EXPLICIT_LITTLE, changes)
    return explicit_element(0x00020000, "UL", pack("<L", len(elements))) + elements


def _pixel_changes(attributes: ImageAttributes, target: str, encapsulated: bool) -> dict[int, bytes]:
    if attributes.samples_per_pixel == 1:
        return {}
    photometric, planar = native_photometric(attributes), 0
    if encapsulated:
        photometric = encoded_photometric(target, photometric)
        planar = encoded_planar_configuration(target)
    return {
        _PHOTOMETRIC_INTERPRETATION: explicit_element(
            _PHOTOMETRIC_INTERPRETATION, "CS", photometric.encode("ascii", "replace")
        ),
        _PLANAR_CONFIGURATION: explicit_element(_PLANAR_CONFIGURATION, "US", pack("<H", planar)),
    }


def native_photometric(attributes: ImageAttributes) -> str:
    """Return the Photometric Interpretation of the samples that ``decode_frame`` gives (PS3.5 8.2).

    A JPEG 2000 codec's own transform is undone; chroma that was subsampled has been spread out.
    """
    photometric = attributes.photometric_interpretation
    if photometric in ("YBR_RCT", "YBR_ICT"):
        return "RGB"
    return "YBR_FULL" if photometric in ("YBR_FULL_422", "YBR_PARTIAL_420") else photometric
