"""Inflating a deflated data set within bounds (PS3.5 A.5, RFC 1951, RFC 1952 2.3.1)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from struct import pack

from gantry_dicom.element_headers import Buffer, is_zero
from gantry_dicom.refusals import Refusal, Refused

_STEP = 256 * 1024


def inflate(buffer: Buffer, start: int, limit: int) -> bytes:
    """Return the data set that ``buffer[start:]`` inflates to, at most ``limit`` bytes.

    The stream is gone through once without keeping anything, so that a bomb costs time up to
    the limit and no memory. Raises ``Refused`` for damage, a missing end and too large a size.
    """
    size = 0
    for piece in _pieces(buffer, start):
        size += len(piece)
        if size > limit:
            raise Refused(Refusal.INFLATES_TOO_LARGE, f"more than {limit} bytes")
    inflated = bytearray(size)
    position = 0
    for piece in _pieces(buffer, start):
        inflated[position : position + len(piece)] = piece
        position += len(piece)
    return bytes(inflated)


def _pieces(buffer: Buffer, start: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    position, end = start, len(buffer)
    checksum = size = 0
    try:
        while not inflater.eof:
            if not inflater.unconsumed_tail:
                if position >= end:
                    break
                following = min(position + _STEP, end)
                data = bytes(buffer[position:following])
                position = following
            else:
                data = inflater.unconsumed_tail
            piece = inflater.decompress(data, _STEP)
            checksum, size = zlib.crc32(piece, checksum), size + len(piece)
            yield piece
    except zlib.error as error:
        raise Refused(Refusal.DEFLATE_DAMAGED, "not a deflate stream") from error
    if not inflater.eof:
        raise Refused(Refusal.DEFLATE_DAMAGED, "the stream has no end")
    # A zero byte pads the stream to an even length; some writers leave the gzip trailer there.
    rest = inflater.unused_data
    rest = rest.removeprefix(pack("<LL", checksum, size & 0xFFFFFFFF))
    if rest.strip(b"\0") or not is_zero(buffer, position, end):
        raise Refused(Refusal.DEFLATE_DAMAGED, "bytes after the end of the stream")
