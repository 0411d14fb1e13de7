"""Whole stored objects as data sets in another transfer syntax, for peers that take no other.

A job for a worker process: files in, a file out, a frame in memory at a time.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator

import numpy as np
from gantry_dicom.admission import DEFAULT_LIMITS
from gantry_dicom.deflated import inflate
from gantry_dicom.element_headers import Buffer
from gantry_dicom.frames import FrameTable
from gantry_dicom.gate import admit
from gantry_dicom.header import DataSetHeader
from gantry_dicom.little_endian import implicit_head, implicit_little_endian
from gantry_dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    lookup,
)

from gantry_imaging.decode import NATIVE_TRANSFER_SYNTAXES, can_decode, decode_frame, native_bytes
from gantry_imaging.encode import can_encode, encode_frame
from gantry_imaging.transcode import Outline, describe, fragment_head, outline

_PIXEL_DATA = 0x7FE00010
_PIECE = 1 << 20
# What a native pixel data element has before its value, in explicit VR.
_PIXEL_HEAD = 12


def can_change(stored: str, target: str, table: FrameTable) -> bool:
    """Tell whether an object in ``stored`` can be written in ``target`` as far as its index row says."""
    source, wanted = lookup(stored), lookup(target)
    if source is None or wanted is None:
        return False
    is_native = stored in NATIVE_TRANSFER_SYNTAXES or table.kind == "none"
    if not is_native and not (can_decode(stored) and table.count == table.stated_count):
        return False
    if not wanted.encapsulated:
        return target in NATIVE_TRANSFER_SYNTAXES and wanted.little_endian
    has_all_frames = table.count > 0 and table.count == table.stated_count
    return has_all_frames and table.pixel_data_tag == _PIXEL_DATA and can_encode(target, table.bits_allocated)


def rewrite(source: str, destination: str, target: str) -> None:
    """Write the data set of the object in the file ``source``, in ``target``, to ``destination``.

    Raises ``CannotProcess`` when the object cannot be decoded or the target cannot hold it.
    """
    with (
        open(source, "rb") as reading,  # noqa: PTH123 - also the path of another process's descriptor
        open(destination, "wb") as writing,  # noqa: PTH123
        mmap.mmap(reading.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as stored,
    ):
        writing.writelines(data_set_in(stored, target))


def data_set_in(stored_object: Buffer, target: str) -> Iterator[bytes]:
    """Yield the data set of a stored object, without its File Meta, in transfer syntax ``target``.

    Raises ``CannotProcess``.
    """
    if target != DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        yield from _pieces(stored_object, target)
        return
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    size = 0
    for piece in _pieces(stored_object, EXPLICIT_VR_LITTLE_ENDIAN):
        deflated = deflater.compress(piece)
        size += len(deflated)
        yield deflated
    rest = deflater.flush()
    yield rest + bytes((size + len(rest)) % 2)


def _pieces(stored_object: Buffer, target: str) -> Iterator[bytes]:
    admission = admit(stored_object)
    header, table = admission.header, FrameTable.unpack(admission.frame_table)
    is_implicit = target == IMPLICIT_VR_LITTLE_ENDIAN
    made = outline(b"", header, table.count, EXPLICIT_VR_LITTLE_ENDIAN if is_implicit else target)
    yield _implicit_start(made, header) if is_implicit else made.head
    if header.pixel_data_tag is not None:
        buffer = stored_object
        if header.deflated:
            buffer = inflate(buffer, admission.data_set_offset, DEFAULT_LIMITS.max_inflated_bytes)
        if made.fragmented or header.encapsulated:
            yield from _frames(buffer, header, table, admission.transfer_syntax_uid, target, made)
        else:
            yield from _native(buffer, header, table)
    yield _implicit_end(made) if is_implicit else made.tail


def _implicit_start(made: Outline, header: DataSetHeader) -> bytes:
    if header.pixel_data_tag is None:
        return implicit_little_endian(made.head)
    return implicit_little_endian(made.head[:-_PIXEL_HEAD]) + implicit_head(made.head[-_PIXEL_HEAD:])


def _implicit_end(made: Outline) -> bytes:
    padding = made.pixel_bytes & 1
    return bytes(padding) + implicit_little_endian(made.tail[padding:])


def _native(buffer: Buffer, header: DataSetHeader, table: FrameTable) -> Iterator[bytes]:
    """Yield native pixel data in little endian order."""
    start, end = header.pixel_data_offset, header.pixel_data_offset + header.pixel_data_length
    for position in range(start, end, _PIECE):
        piece = bytes(buffer[position : min(position + _PIECE, end)])
        if table.swap_unit > 1:
            whole = len(piece) - len(piece) % table.swap_unit
            words = np.frombuffer(piece, f"u{table.swap_unit}", whole // table.swap_unit)
            piece = words.byteswap().tobytes() + piece[whole:]
        yield piece


def _frames(
    buffer: Buffer, header: DataSetHeader, table: FrameTable, stored: str, target: str, made: Outline
) -> Iterator[bytes]:
    """Yield the pixels frame by frame, encoded for ``target``."""
    attributes = describe(header)
    source = stored if header.encapsulated else EXPLICIT_VR_LITTLE_ENDIAN
    # One-bit frames lie side by side and may begin within a byte (PS3.5 8.1.1).
    bits = np.empty(0, np.uint8)
    for number in range(1, table.count + 1):
        frame = b"".join(bytes(buffer[at : at + length]) for at, length in table.ranges(number))
        if not header.encapsulated:
            frame = table.native_frame(number, frame)
        samples = decode_frame(frame, source, attributes)
        if made.fragmented:
            codestream = encode_frame(samples, target, attributes)
            yield fragment_head(len(codestream)) + codestream
        elif attributes.bits_allocated == 1:
            bits = np.concatenate((bits, samples.reshape(-1).astype(np.uint8)))
            whole = len(bits) // 8 * 8
            yield np.packbits(bits[:whole], bitorder="little").tobytes()
            bits = bits[whole:]
        else:
            yield native_bytes(samples, attributes)
    if len(bits):
        yield np.packbits(bits, bitorder="little").tobytes()
