"""The jobs of retrieval that run in pixel workers: plain functions of bytes, importable by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
from gantry_dicom.dicomdir import FileEntry, build_dicomdir
from gantry_dicom.header import DataSetHeader
from gantry_imaging import transcode
from gantry_imaging.attributes import ImageAttributes
from gantry_imaging.decode import decode_frame, native_bytes
from gantry_imaging.encode import encode_frame
from gantry_imaging.transcode import Outline


def describe_pixels(header: DataSetHeader) -> ImageAttributes:
    """Return the pixel description of a data set; raises ``CannotProcess``."""
    return transcode.describe(header)


def frame_to_native(attributes: ImageAttributes, frame: bytes, transfer_syntax_uid: str) -> bytes:
    """Return one compressed frame as Explicit VR Little Endian pixel data; raises ``CannotProcess``."""
    return native_bytes(decode_frame(frame, transfer_syntax_uid, attributes), attributes)


def frame_to_codestream(
    attributes: ImageAttributes, frame: bytes, transfer_syntax_uid: str, target: str
) -> bytes:
    """Return one frame, native or compressed, in another transfer syntax; raises ``CannotProcess``."""
    return encode_frame(decode_frame(frame, transfer_syntax_uid, attributes), target, attributes)


def outline(meta: bytes, header: DataSetHeader, frames: int, target: str) -> Outline:
    """Return an object in another transfer syntax without its frames; raises ``CannotProcess``."""
    return transcode.outline(meta, header, frames, target)


def directory_of(documents: Sequence[bytes], entries: Mapping[str, tuple[tuple[str, ...], str]]) -> bytes:
    """Return the DICOMDIR of the instances that ``entries`` has by SOP Instance UID."""
    return build_dicomdir(
        FileEntry(document, *entries[uid])
        for document in documents
        if (uid := orjson.loads(document)["00080018"]["Value"][0]) in entries
    )
