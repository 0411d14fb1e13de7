"""The File Meta group of PS3.10 7.1: reading it however incomplete, writing it complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct, pack

from gantry_dicom.element_headers import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    LONG,
    SHORT,
    Buffer,
    Malformed,
    Overrun,
    read_header,
)
from gantry_dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, trim_uid

_PREAMBLE_LENGTH = 128
_PREFIX = b"DICM"

GROUP_LENGTH = 0x00020000
MEDIA_STORAGE_SOP_CLASS_UID = 0x00020002
MEDIA_STORAGE_SOP_INSTANCE_UID = 0x00020003
TRANSFER_SYNTAX_UID = 0x00020010
SOURCE_APPLICATION_ENTITY_TITLE = 0x00020016

_plain = Struct("<HHL").unpack_from


@dataclass(frozen=True, slots=True)
class Meta:
    """What stands before a data set.

    ``values`` maps each tag of group 0002 to its raw bytes; it is empty for a bare data set.
    ``complete`` means: preamble, prefix, and a group length that is right.
    """

    data_set_offset: int
    values: Mapping[int, bytes]
    complete: bool

    def text(self, tag: int) -> str | None:
        """Return the value of ``tag`` without padding, or None when it is missing or empty."""
        value = self.values.get(tag)
        return (trim_uid(value.decode("latin-1")) or None) if value is not None else None


def parse_meta(buffer: Buffer) -> Meta:
    """Read preamble, prefix and File Meta group, each of which may be missing.

    Group 0002 is read element by element, so that a missing or wrong group length does no harm,
    and in Implicit VR where a writer used that. Raises ``Malformed`` when it is cut off.
    """
    start, complete = 0, False
    size = len(buffer)
    if bytes(buffer[_PREAMBLE_LENGTH : _PREAMBLE_LENGTH + 4]) == _PREFIX:
        start, complete = _PREAMBLE_LENGTH + 4, True
    elif bytes(buffer[:4]) == _PREFIX:
        start = 4
    values: dict[int, bytes] = {}
    position = start
    stated_end: int | None = None
    while position + 8 <= size:
        group, number, _ = _plain(buffer, position)
        if group != 2:
            break
        code = bytes(buffer[position + 4 : position + 6])
        explicit = code in SHORT or code in LONG
        if position == stated_end and not explicit:
            break  # a deflated data set may begin with any bytes
        encoding = EXPLICIT_LITTLE if explicit else IMPLICIT_LITTLE
        _, value, length = read_header(buffer, position, size, encoding)
        if value + length > size:
            raise Overrun("File Meta element runs past the end", position)
        content = bytes(buffer[value : value + length])
        position = value + length
        if number == 0 and length == 4:
            stated_end = position + int.from_bytes(content, "little")
        values[group << 16 | number] = content
        complete = complete and explicit
    if start and not values and position + 8 > size:
        raise Malformed("nothing after the prefix", position)
    return Meta(position, values, complete and position == stated_end)


def build_meta(
    sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str = ""
) -> bytes:
    """Return preamble, prefix and a complete File Meta group of ours (PS3.10 Table 7.1-1)."""
    body = (
        pack("<HH2sHL", 2, 1, b"OB", 0, 2)
        + b"\x00\x01"
        + _short(0x0002, b"UI", sop_class_uid)
        + _short(0x0003, b"UI", sop_instance_uid)
        + _short(0x0010, b"UI", transfer_syntax_uid)
        + _short(0x0012, b"UI", IMPLEMENTATION_CLASS_UID)
        + _short(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME)
    )
    if source_ae_title:
        body += _short(0x0016, b"AE", source_ae_title)
    return bytes(_PREAMBLE_LENGTH) + _PREFIX + pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body


def _short(number: int, vr: bytes, text: str) -> bytes:
    value = text.encode("latin-1", "replace")
    if len(value) & 1:
        value += b"\0" if vr == b"UI" else b" "
    return pack("<HH2sH", 2, number, vr, len(value)) + value
