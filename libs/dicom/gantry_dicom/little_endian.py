"""Elements in Explicit and Implicit VR Little Endian (PS3.5 A.1, A.2)."""

from __future__ import annotations

from struct import pack

from gantry_dicom.element_headers import EXPLICIT_LITTLE, LONG_VRS, Buffer
from gantry_dicom.elements import Element, is_sequence, items, walk
from gantry_dicom.reencode import explicit_element

_ITEM = b"\xfe\xff\x00\xe0"


def element(tag: int, vr: str, value: bytes, *, explicit: bool) -> bytes:
    """Return an element of a known length, padded to an even one (PS3.5 7.1)."""
    made = explicit_element(tag, vr, value)
    return made if explicit else _without_vr(made)


def implicit_head(explicit_head: bytes) -> bytes:
    """Return the header of an element without its VR; its value has the length that it says."""
    length = explicit_head[8:12] if _is_long(explicit_head) else explicit_head[6:8] + b"\0\0"
    return explicit_head[:4] + length


def implicit_little_endian(run: Buffer) -> bytes:
    """Return a run of whole elements in Explicit VR Little Endian in Implicit VR Little Endian.

    Values stay as they are; the VR is what a reader's dictionary says (PS3.5 A.1). Lengths in
    ``run`` are known ones, as ``reencode`` gives them. Raises ``Malformed``.
    """
    return b"".join(_elements(run, 0, len(run)))


def _elements(run: Buffer, start: int, end: int) -> list[bytes]:
    return [_element(run, found) for found in walk(run, start, end, EXPLICIT_LITTLE)]


def _element(run: Buffer, found: Element) -> bytes:
    head = pack("<HHL", found.tag >> 16, found.tag & 0xFFFF, found.length)
    if not is_sequence(found):
        return head + bytes(run[found.value_offset : found.value_offset + found.length])
    pieces = []
    for start, end in items(run, found, EXPLICIT_LITTLE):
        content = b"".join(_elements(run, start, end))
        pieces.append(_ITEM + pack("<L", len(content)) + content)
    value = b"".join(pieces)
    return pack("<HHL", found.tag >> 16, found.tag & 0xFFFF, len(value)) + value


def _without_vr(made: bytes) -> bytes:
    value = made[12 if _is_long(made) else 8 :]
    return made[:4] + pack("<L", len(value)) + value


def _is_long(explicit_head: bytes) -> bool:
    return explicit_head[4:6].decode("latin-1") in LONG_VRS
