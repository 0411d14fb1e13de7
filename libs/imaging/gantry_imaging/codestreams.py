"""What a codestream says of its own size, read before anything is allocated for it.

A codestream of a few bytes can claim 65,535 x 65,535 pixels; the decoder would believe it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SIZ = b"\xff\x4f\xff\x51"
# SOF markers of ISO/IEC 10918-1 Table B.1 and of JPEG-LS (SOF55).
_SOF = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})


@dataclass(frozen=True, slots=True)
class CodestreamSize:
    """Rows, columns, components and bits a sample of a codestream."""

    rows: int
    columns: int
    components: int
    precision: int


def jpeg_size(data: bytes) -> CodestreamSize | None:
    """Return what the first SOF segment of a JPEG or JPEG-LS stream says, if there is one."""
    position = data.find(b"\xff\xd8")
    if position < 0:
        return None
    position += 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _WITHOUT_LENGTH:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _SOF:
            if position + 10 > len(data):
                return None
            precision, rows, columns, components = struct.unpack_from(">BHHB", data, position + 4)
            return CodestreamSize(rows, columns, components, precision)
        position += 2 + length
    return None


def jpeg2000_size(data: bytes) -> CodestreamSize | None:
    """Return what the SIZ segment of a JPEG 2000 codestream or JP2 file says, if there is one."""
    start = data.find(_SIZ)
    if start < 0 or start + 44 > len(data):
        return None
    # ISO/IEC 15444-1 A.5.1: Lsiz, Rsiz, Xsiz, Ysiz, XOsiz, YOsiz, then tiles, then Csiz, Ssiz.
    x_size, y_size, x_offset, y_offset = struct.unpack_from(">4I", data, start + 8)
    components, depth = struct.unpack_from(">HB", data, start + 40)
    return CodestreamSize(y_size - y_offset, x_size - x_offset, components, (depth & 0x7F) + 1)
