"""Pixel data from bulk data parts in their media types (PS3.18 10.5.2, 8.7.3.3): frames into fragments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import pack
from typing import Any

from gantry_dicom.codestreams import recognise, true_transfer_syntax
from gantry_dicom.element_headers import PIXEL_DATA, UNDEFINED_LENGTH, Buffer
from gantry_dicom.json_decoder import Json, Pieces, data_set_of, text_of
from gantry_dicom.part10 import build_meta
from gantry_dicom.reencode import explicit_element
from gantry_dicom.refusals import Refusal, Refused
from gantry_dicom.stream_attributes import (
    StreamAttributes,
    image_attributes,
    jpeg_2000_codestream,
    video_attributes,
)
from gantry_dicom.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    HTJ2K_LOSSLESS,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
    Codestream,
    TransferSyntax,
    lookup,
)

_OCTETS = "application/octet-stream"
# The transfer syntax of a media type whose part names none (PS3.18 Tables 8.7.3-4, 8.7.3-5), with
# the older names that senders still use.
_DEFAULTS: Mapping[str, str] = {
    "image/jpeg": JPEG_BASELINE,
    "image/x-jpeg-lossless": JPEG_LOSSLESS_SV1,
    "image/jls": JPEG_LS_LOSSLESS,
    "image/x-jls": JPEG_LS_LOSSLESS,
    "image/jp2": JPEG_2000_LOSSLESS,
    "image/j2c": JPEG_2000_LOSSLESS,
    "image/jpx": "1.2.840.10008.1.2.4.93",
    "image/jphc": HTJ2K_LOSSLESS,
    "image/jxl": "1.2.840.10008.1.2.4.112",
    "image/dicom-rle": RLE_LOSSLESS,
    "image/x-dicom-rle": RLE_LOSSLESS,
    "image/x-rle": RLE_LOSSLESS,
    "video/mpeg": "1.2.840.10008.1.2.4.101",
    "video/mpeg2": "1.2.840.10008.1.2.4.101",
    "video/mp4": "1.2.840.10008.1.2.4.102",
    "video/h265": "1.2.840.10008.1.2.4.107",
}
_ITEM = b"\xfe\xff\x00\xe0"
_END_OF_FRAGMENTS = b"\xfe\xff\xdd\xe0\0\0\0\0"
_PIXEL_DATA_NAME = f"{PIXEL_DATA:08X}"
_BYTES_SEARCHED = 1 << 20
# Where one codestream of several in a part ends and the next begins; EOI and EOC are no coded data.
_BORDERS = {
    Codestream.JPEG: (b"\xff\xd9", b"\xff\xd8\xff"),
    Codestream.JPEG_2000: (b"\xff\xd9", b"\xff\x4f\xff\x51"),
}


@dataclass(frozen=True, slots=True)
class BulkPart:
    """One part of bulk data: its media type, the transfer syntax it names (``""``), its bytes."""

    media_type: str
    transfer_syntax_uid: str
    data: Buffer


# Parts by their Content-Location, each in the order they came.
BulkParts = Mapping[str, Sequence[BulkPart]]


def file_of(document: Json, bulk: BulkParts) -> Pieces:
    """Return the file of PS3.10 that metadata and the bulk data they name make up, in buffers.

    Compressed pixel data are encapsulated, a fragment a frame, and attributes of the Image Pixel
    Macro that the metadata leave out come from the stream. Raises ``Refused``.
    """
    if not isinstance(document, Mapping):
        raise Refused(Refusal.METADATA_MALFORMED, "no object")
    document = {name.upper(): attribute for name, attribute in document.items()}

    def find(uri: str) -> Sequence[Buffer]:
        return [part.data for part in _parts(bulk, uri)]

    syntax_uid = EXPLICIT_VR_LITTLE_ENDIAN
    changes: dict[int, Pieces] = {}
    attribute = document.get(_PIXEL_DATA_NAME)
    uri = attribute.get("BulkDataURI") if isinstance(attribute, Mapping) else None
    parts = _parts(bulk, uri) if isinstance(uri, str) else ()
    if parts and parts[0].media_type != _OCTETS:
        syntax_uid, changes = _encapsulated(document, parts)
    data_set = data_set_of(_with_document_type(document, bulk), find, changes)
    meta = build_meta(text_of(document, "00080016"), text_of(document, "00080018"), syntax_uid)
    return [meta, *data_set]


def _parts(bulk: BulkParts, uri: str) -> Sequence[BulkPart]:
    parts = bulk.get(uri, ())
    if not parts:
        raise Refused(Refusal.BULK_DATA_MISSING)
    return parts


def _with_document_type(document: Json, bulk: BulkParts) -> Json:
    """Add what the part says of an encapsulated document, where the metadata do not (PS3.3 C.24.2)."""
    attribute = document.get("00420011")
    uri = attribute.get("BulkDataURI") if isinstance(attribute, Mapping) else None
    parts = bulk.get(uri, ()) if isinstance(uri, str) else ()
    if not parts or parts[0].media_type == _OCTETS:
        return document
    length = str(sum(len(part.data) for part in parts))
    return {
        "00420012": {"vr": "LO", "Value": [parts[0].media_type]},
        "00420015": {"vr": "UL", "Value": [length]},
        **document,
    }


def _encapsulated(document: Json, parts: Sequence[BulkPart]) -> tuple[str, dict[int, Pieces]]:
    media_type = parts[0].media_type
    if any(part.media_type != media_type for part in parts):
        raise Refused(Refusal.BULK_DATA_NOT_UNDERSTOOD, "frames of several media types")
    stated = lookup(parts[0].transfer_syntax_uid or text_of(document, "00020010"))
    if media_type not in _DEFAULTS and (stated is None or stated.media_type != media_type):
        raise Refused(Refusal.TRANSFER_SYNTAX_NOT_SUPPORTED, "no media type of pixel data")
    if stated is None or not stated.encapsulated:
        stated = lookup(_DEFAULTS[media_type])
    if stated is None:
        raise Refused(Refusal.TRANSFER_SYNTAX_NOT_SUPPORTED)
    frames = [jpeg_2000_codestream(part.data) for part in parts]
    if len(frames) == 1 and stated.codestream is not Codestream.VIDEO:
        frames = _split(frames[0], _stated_frames(document))
    first = frames[0]
    syntax_uid = true_transfer_syntax(first, 0, len(first), stated) or stated.uid
    syntax = lookup(syntax_uid) or stated
    said = video_attributes(first) if syntax.codestream is Codestream.VIDEO else image_attributes(first)
    if said is None and syntax.codestream in (Codestream.JPEG, Codestream.JPEG_LS, Codestream.JPEG_2000):
        raise Refused(Refusal.BULK_DATA_NOT_UNDERSTOOD, "no codestream of its media type")
    changes = _left_out(document, said, syntax, len(frames))
    changes[PIXEL_DATA] = _fragments(frames)
    return syntax_uid, changes


def _stated_frames(document: Json) -> int:
    text = text_of(document, "00280008")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1


def _split(stream: Buffer, count: int) -> list[Buffer]:
    """Return the codestreams of ``count`` frames that stand one after another in one part."""
    if count <= 1:
        return [stream]
    borders = _BORDERS.get(recognise(bytes(stream[:12])))
    starts = [0] if borders is None else [0, *_starts(stream, *borders)]
    if len(starts) != count:
        raise Refused(Refusal.BULK_DATA_NOT_UNDERSTOOD, "another number of codestreams than of frames")
    view = memoryview(stream)
    return [view[start:end] for start, end in zip(starts, [*starts[1:], len(stream)], strict=True)]


def _starts(stream: Buffer, end_marker: bytes, begin: bytes) -> list[int]:
    found: list[int] = []
    overlap = len(end_marker) + 1 + len(begin) - 1
    for position in range(0, len(stream), _BYTES_SEARCHED):
        window = bytes(stream[position : position + _BYTES_SEARCHED + overlap])
        at = window.find(end_marker)
        while 0 <= at < _BYTES_SEARCHED:
            for start in (at + 2, at + 3):  # writers pad frames to an even length
                if window.startswith(begin, start):
                    found.append(position + start)
                    break
            at = window.find(end_marker, at + 2)
    return found


def _fragments(frames: Sequence[Buffer]) -> Pieces:
    pieces: Pieces = [pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, UNDEFINED_LENGTH) + _ITEM + bytes(4)]
    for frame in frames:
        length = len(frame) + (len(frame) & 1)
        if length >= UNDEFINED_LENGTH:
            raise Refused(Refusal.TOO_LARGE, "a fragment of 4 GB or more")
        pieces += [_ITEM + pack("<L", length), frame, bytes(len(frame) & 1)]
    return [*pieces, _END_OF_FRAGMENTS]


def _left_out(
    document: Json, said: StreamAttributes | None, syntax: TransferSyntax, fragments: int
) -> dict[int, Pieces]:
    """Return the elements of the Image Pixel Macro (PS3.3 C.7.6.3) that metadata without them need."""
    if said is None:
        return {}
    frames = said.frames if said.frames is not None else fragments
    values: list[tuple[int, str, int | str]] = [
        (0x00280002, "US", said.samples_per_pixel),
        (0x00280004, "CS", said.photometric_interpretation),
        (0x00280010, "US", said.rows),
        (0x00280011, "US", said.columns),
        (0x00280100, "US", 8 if said.bits_stored <= 8 else 16),
        (0x00280101, "US", said.bits_stored),
        (0x00280102, "US", said.bits_stored - 1),
        (0x00280103, "US", int(said.signed)),
    ]
    if said.samples_per_pixel > 1:
        values.append((0x00280006, "US", 0))
    if frames > 1:
        values.append((0x00280008, "IS", str(frames)))
    if syntax.codestream is Codestream.JPEG and syntax.lossy:
        values += [(0x00282110, "CS", "01"), (0x00282114, "CS", "ISO_10918_1")]
    return {
        tag: [explicit_element(tag, vr, pack("<H", value) if isinstance(value, int) else value.encode())]
        for tag, vr, value in values
        if not _has_value(document, tag)
    }


def _has_value(document: Json, tag: int) -> bool:
    attribute: Any = document.get(f"{tag:08X}")
    return isinstance(attribute, Mapping) and bool(attribute.get("Value") or attribute.get("InlineBinary"))
