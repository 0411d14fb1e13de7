"""What a data set really is written in, told from its bytes."""

from __future__ import annotations

from struct import unpack_from

from gantry_dicom.element_headers import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    LONG,
    SHORT,
    UNDEFINED_LENGTH,
    Buffer,
    Encoding,
)

# A data set with the UIDs that the archive needs begins in group 0008 (or with group lengths
# of group 0000/0004 in old exports); anything else without a File Meta is not DICOM.
_LAST_FIRST_GROUP = 0x0008


def sniff_encoding(buffer: Buffer, start: int, end: int) -> Encoding | None:
    """Return the encoding that the first element suggests, or None when nothing fits."""
    if start + 8 > end:
        return None
    code = bytes(buffer[start + 4 : start + 6])
    if code in SHORT or code in LONG:
        little, big = unpack_from("<H", buffer, start)[0], unpack_from(">H", buffer, start)[0]
        return EXPLICIT_LITTLE if little <= big else EXPLICIT_BIG
    length = unpack_from("<L", buffer, start + 4)[0]
    if length == UNDEFINED_LENGTH or start + 8 + length <= end:
        return IMPLICIT_LITTLE
    return None


def could_be_bare(buffer: Buffer, start: int, end: int) -> bool:
    """Whether a data set without any File Meta may begin at ``start``."""
    encoding = sniff_encoding(buffer, start, end)
    if encoding is None:
        return False
    group = unpack_from("<H" if encoding.little_endian else ">H", buffer, start)[0]
    return bool(group <= _LAST_FIRST_GROUP) and group % 2 == 0
