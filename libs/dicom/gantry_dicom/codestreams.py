"""Recognising compressed frames by their first bytes, and the transfer syntax they really are in.

Only marker segments are looked at: JPEG (ISO/IEC 10918-1 B.1), JPEG-LS (ISO/IEC 14495-1 C),
JPEG 2000 (ISO/IEC 15444-1 Annex A) and the RLE header (PS3.5 G.5).
"""

from __future__ import annotations

from struct import unpack_from

from gantry_dicom.element_headers import Buffer
from gantry_dicom.transfer_syntaxes import (
    HTJ2K,
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    JPEG_LS_LOSSY,
    RLE_LOSSLESS,
    Codestream,
    TransferSyntax,
)

# Bytes of a fragment's beginning that ``starts_codestream`` looks at.
HEAD_LENGTH = 12

_JPEG_START = b"\xff\xd8\xff"
_JPEG_2000_START = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_END_MARKER = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
_MAX_SEGMENTS = 256
_PROGRESSIVE = "1.2.840.10008.1.2.4.55"
_JPEG_PROCESSES = {
    0: (JPEG_BASELINE, frozenset((JPEG_BASELINE, JPEG_EXTENDED))),
    1: (JPEG_EXTENDED, frozenset((JPEG_EXTENDED,))),
    2: (_PROGRESSIVE, frozenset(("1.2.840.10008.1.2.4.53", _PROGRESSIVE))),
    3: (JPEG_LOSSLESS, frozenset((JPEG_LOSSLESS, JPEG_LOSSLESS_SV1))),
}
_IRREVERSIBLE, _HIGH_THROUGHPUT, _EXTENSIONS = 0, 0x4000, 0x8000


def starts_codestream(head: bytes, family: Codestream) -> bool:
    """Whether a fragment that begins with ``head`` begins a frame of ``family``."""
    if family in (Codestream.JPEG, Codestream.JPEG_LS):
        return head.startswith(_JPEG_START)
    if family is Codestream.JPEG_2000:
        return head.startswith((_JPEG_2000_START, _JP2_SIGNATURE))
    if family is Codestream.RLE:
        # 1 to 15 segments; the first one follows the header of 64 bytes.
        return len(head) >= 8 and 1 <= head[0] <= 15 and head[1:8] == b"\0\0\0\x40\0\0\0"
    return False


def ends_codestream(tail: bytes, family: Codestream) -> bool:
    """Whether a fragment that ends with ``tail`` (3 bytes) ends a frame of ``family``."""
    if family is Codestream.RLE:
        return True
    return tail.endswith((_END_MARKER, _END_MARKER + b"\0"))


def recognise(head: bytes) -> Codestream:
    """Return the family of a frame by its first ``HEAD_LENGTH`` bytes (JPEG-LS counts as JPEG)."""
    for family in (Codestream.JPEG, Codestream.JPEG_2000, Codestream.RLE):
        if starts_codestream(head, family):
            return family
    return Codestream.NONE


def true_transfer_syntax(buffer: Buffer, start: int, end: int, stated: TransferSyntax | None) -> str | None:
    """Return the transfer syntax UID of the codestream at ``start``, or None when it cannot be told.

    ``stated`` is kept wherever the codestream may stand in it (a reversible JPEG 2000 frame in
    the lossy syntax, a baseline frame in JPEG Extended).
    """
    family = recognise(bytes(buffer[start : min(start + HEAD_LENGTH, end)]))
    if family is Codestream.RLE:
        return RLE_LOSSLESS
    if family is Codestream.JPEG:
        return _true_jpeg(buffer, start + 2, end, stated)
    if family is Codestream.JPEG_2000:
        return _true_jpeg_2000(buffer, start + 2, end, stated)
    return None


def marker_segments(buffer: Buffer, start: int, end: int) -> list[tuple[int, int, int]]:
    """Return (marker, payload offset, payload length) of the segments up to the first scan."""
    found: list[tuple[int, int, int]] = []
    position = start
    while position + 4 <= end and len(found) < _MAX_SEGMENTS:
        marker, length = unpack_from(">HH", buffer, position)
        if marker < 0xFF00 or length < 2 or position + 2 + length > end:
            break
        found.append((marker, position + 4, length - 2))
        if marker in (0xFFDA, 0xFF90):  # SOS; SOT
            break
        position += 2 + length
    return found


def _true_jpeg(buffer: Buffer, start: int, end: int, stated: TransferSyntax | None) -> str | None:
    segments = marker_segments(buffer, start, end)
    stated_uid = stated.uid if stated is not None else ""
    scan = next((bytes(buffer[at : at + size]) for marker, at, size in segments if marker == 0xFFDA), b"")
    # The parameter after the components: predictor for lossless JPEG, NEAR for JPEG-LS.
    parameter = scan[1 + 2 * scan[0]] if scan and len(scan) > 1 + 2 * scan[0] else None
    for marker, _, _ in segments:
        if marker == 0xFFF7:
            if parameter is None:
                return None
            lossless = parameter == 0
            if stated_uid == JPEG_LS_LOSSY:
                return stated_uid
            return JPEG_LS_LOSSLESS if lossless else JPEG_LS_LOSSY
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            process = _JPEG_PROCESSES.get(marker - 0xFFC0)
            if process is None:
                return None
            usual, allowed = process
            if stated_uid in allowed:
                return stated_uid
            return JPEG_LOSSLESS_SV1 if usual == JPEG_LOSSLESS and parameter == 1 else usual
    return None


def _true_jpeg_2000(buffer: Buffer, start: int, end: int, stated: TransferSyntax | None) -> str | None:
    capabilities = transformation = None
    for marker, at, size in marker_segments(buffer, start, end):
        if marker == 0xFF51 and size >= 2:
            (capabilities,) = unpack_from(">H", buffer, at)
        elif marker == 0xFF52 and size >= 10:
            transformation = buffer[at + 9]
    if capabilities is None or transformation is None or capabilities & _EXTENSIONS:
        return None
    high_throughput = bool(capabilities & _HIGH_THROUGHPUT)
    if stated is not None and stated.codestream is Codestream.JPEG_2000:
        same_coder = (stated.media_type == "image/jphc") == high_throughput
        if same_coder and (stated.lossy or transformation != _IRREVERSIBLE):
            return stated.uid
    # Reversible is not yet lossless (the stream may be cut), so only an unlabelled one is left
    # to the syntax that allows both.
    return HTJ2K if high_throughput else JPEG_2000
