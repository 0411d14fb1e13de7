"""Data sets written byte by byte, without the product's code and however wrong a test wants them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import pack

UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"])
ITEM_DELIMITER = pack("<HHL", 0xFFFE, 0xE00D, 0)
SEQUENCE_DELIMITER = pack("<HHL", 0xFFFE, 0xE0DD, 0)

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT = "1.2.840.10008.1.2.1"


def element(tag: int, vr: str, value: bytes = b"", *, order: str = "<", length: int | None = None) -> bytes:
    """Return an Explicit VR element; ``length`` overrules the value's own."""
    size = len(value) if length is None else length
    start = pack(f"{order}HH", tag >> 16, tag & 0xFFFF) + vr.encode("latin-1")
    if vr in LONG_VRS:
        return start + b"\0\0" + pack(f"{order}L", size) + value
    return start + pack(f"{order}H", size) + value


def implicit(tag: int, value: bytes = b"", *, length: int | None = None) -> bytes:
    """Return an Implicit VR Little Endian element; ``length`` overrules the value's own."""
    return pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def item(content: bytes = b"", *, undefined: bool = False, order: str = "<") -> bytes:
    """Return an item or a fragment."""
    start = pack(f"{order}HHL", 0xFFFE, 0xE000, UNDEFINED if undefined else len(content))
    return start + content + (pack(f"{order}HHL", 0xFFFE, 0xE00D, 0) if undefined else b"")


def undefined_sequence(tag: int, *items: bytes, vr: str = "SQ") -> bytes:
    """Return an Explicit VR sequence of undefined length with its delimiter."""
    return element(tag, vr, b"".join(items), length=UNDEFINED) + SEQUENCE_DELIMITER


def ui(tag: int, uid: str) -> bytes:
    """Return a UI element, padded with NUL."""
    value = uid.encode("latin-1")
    return element(tag, "UI", value + b"\0" * (len(value) & 1))


def us(tag: int, number: int) -> bytes:
    """Return a US element."""
    return element(tag, "US", pack("<H", number))


def instance(*elements: tuple[int, bytes], uids: Mapping[int, str] | None = None) -> bytes:
    """Return an Explicit VR Little Endian data set in tag order with the four identifying UIDs.

    ``uids`` overrules them by tag; an empty string leaves the element out.
    """
    chosen = {0x00080016: SOP_CLASS, 0x00080018: "1.2.3.4", 0x0020000D: "1.2.3.1", 0x0020000E: "1.2.3.2"}
    chosen.update(uids or {})
    parts = [(tag, ui(tag, uid)) for tag, uid in chosen.items() if uid]
    return b"".join(content for _, content in sorted([*parts, *elements]))


def image(  # the parameters are the attributes of PS3.3 C.7.6.3
    pixel_data: bytes,
    *,
    rows: int = 2,
    columns: int = 3,
    samples: int = 1,
    bits_allocated: int = 8,
    frames: str | None = None,
    photometric: str = "MONOCHROME2",
    extra: Iterable[tuple[int, bytes]] = (),
) -> bytes:
    """Return an image; ``pixel_data`` is the whole encoded element."""
    elements = [
        (0x00280002, us(0x00280002, samples)),
        (0x00280004, element(0x00280004, "CS", photometric.encode())),
        (0x00280010, us(0x00280010, rows)),
        (0x00280011, us(0x00280011, columns)),
        (0x00280100, us(0x00280100, bits_allocated)),
        (0x7FE00010, pixel_data),
    ]
    if frames is not None:
        elements.append((0x00280008, element(0x00280008, "IS", frames.encode())))
    return instance(*elements, *extra)


def encapsulated(*fragments: bytes, offsets: Iterable[int] = (), terminated: bool = True) -> bytes:
    """Return an encapsulated pixel data element with its Basic Offset Table."""
    table = b"".join(pack("<L", offset) for offset in offsets)
    value = item(table) + b"".join(item(fragment) for fragment in fragments)
    return element(0x7FE00010, "OB", value, length=UNDEFINED) + (SEQUENCE_DELIMITER if terminated else b"")


def part10(
    data_set: bytes,
    transfer_syntax: str | None = EXPLICIT,
    *,
    sop_class: str = SOP_CLASS,
    sop_instance: str = "1.2.3.4",
    preamble: bytes = bytes(128) + b"DICM",
    group_length: int | None = None,
) -> bytes:
    """Return a file: preamble, File Meta group, data set; ``group_length`` -1 leaves that out."""
    body = ui(0x00020002, sop_class) + ui(0x00020003, sop_instance)
    if transfer_syntax is not None:
        body += ui(0x00020010, transfer_syntax)
    if group_length == -1:
        return preamble + body + data_set
    length = pack("<L", len(body) if group_length is None else group_length)
    return preamble + element(0x00020000, "UL", length) + body + data_set
