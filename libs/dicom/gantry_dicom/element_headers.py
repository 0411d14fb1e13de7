"""Reading one element header: value representations, lengths, byte order (PS3.5 7.1).

Also the values and errors that the walker in ``elements`` speaks in; import them from there.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import MutableMapping
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from gantry_dicom.dictionary import implicit_vr
from gantry_dicom.errors import GantryError, Outcome

Buffer = bytes | bytearray | memoryview | mmap.mmap

UNDEFINED_LENGTH = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_DELIMITER = 0xFFFEE00D
SEQUENCE_DELIMITER = 0xFFFEE0DD

FLOAT_PIXEL_DATA = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00009
PIXEL_DATA = 0x7FE00010
PIXEL_DATA_TAGS = frozenset((FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, PIXEL_DATA))

# PS3.5 Table 7.1-2 (16-bit length) and Table 7.1-1 (reserved bytes and 32-bit length).
SHORT_VRS = (
    "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()  # noqa: SIM905
)
LONG_VRS = "OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()  # noqa: SIM905
SHORT = {vr.encode(): vr for vr in SHORT_VRS}
LONG = {vr.encode(): vr for vr in LONG_VRS}
KNOWN_VRS = frozenset(SHORT_VRS + LONG_VRS)

# An undefined length means fragments for these and a sequence for SQ and UN (PS3.5 A.4, 6.2.2).
FRAGMENT_VRS = frozenset(("OB", "OW", "OD", "OF", "OL", "OV"))

# Nesting beyond this is refused by default; the deepest real documents (SR trees) stay under 40.
DEFAULT_MAX_DEPTH = 128
# More fragments in one pixel data element are refused: a slide of 100,000 x 100,000 pixels has
# 150,000 tiles, and each fragment costs memory while frames are being found.
MAX_FRAGMENTS = 1_000_000


class Malformed(GantryError):
    """The bytes are not a well-formed data set; ``offset`` says where."""

    outcome = Outcome.CANNOT_PROCESS

    def __init__(self, detail: str, offset: int) -> None:
        super().__init__(f"{detail} at byte {offset}")
        self.offset = offset


class Overrun(Malformed):
    """A length runs past the end of what encloses it."""


class NotTerminated(Malformed):
    """A value of undefined length has no delimiter."""


class TooManyFragments(Malformed):
    """Encapsulated pixel data has more than ``MAX_FRAGMENTS`` fragments."""


class NestedTooDeeply(Malformed):
    """Sequences are nested deeper than the limit."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a data set is written: VR explicit or implicit, and the byte order."""

    explicit: bool
    little_endian: bool


EXPLICIT_LITTLE = Encoding(explicit=True, little_endian=True)
IMPLICIT_LITTLE = Encoding(explicit=False, little_endian=True)
EXPLICIT_BIG = Encoding(explicit=True, little_endian=False)


class Element(NamedTuple):
    """One element of a data set.

    ``length`` is the number of value bytes that are really there: for an undefined length it
    runs to the delimiter, and ``end`` (where the next element begins) is 8 bytes further.
    ``vr`` is "UN" for codes that the standard does not know. In Implicit VR it comes from the
    dictionary, "US" standing for "US or SS" and "OW" for "OB or OW" (see ``dictionary``).
    """

    tag: int
    vr: str
    header_offset: int
    value_offset: int
    length: int
    end: int

    @property
    def undefined_length(self) -> bool:
        """Whether the length field said "undefined"."""
        return self.end != self.value_offset + self.length


class Item(NamedTuple):
    """One item of a sequence, or one fragment: the range of its content."""

    start: int
    end: int


# Where a sequence or item of undefined length ends: {content start: (content end, next element)}.
# Sharing one between the walks of a data set's levels keeps the whole linear in its size.
Ends = MutableMapping[int, tuple[int, int]]


class Order(NamedTuple):
    """The three header layouts in one byte order."""

    explicit: Struct  # group, element, VR code, 16-bit length
    plain: Struct  # group, element, 32-bit length
    long: Struct  # 32-bit length


LITTLE = Order(Struct("<HH2sH"), Struct("<HHL"), Struct("<L"))
BIG = Order(Struct(">HH2sH"), Struct(">HHL"), Struct(">L"))


def is_zero(buffer: Buffer, start: int, end: int) -> bool:
    """Whether ``buffer[start:end]`` is zero bytes only.

    Raises ``struct.error`` like the walker does when the buffer is only a prefix.
    """
    if end > len(buffer):
        raise struct.error("the buffer ends before the data set")
    for position in range(start, end, 65536):
        if bytes(buffer[position : min(position + 65536, end)]).strip(b"\0"):
            return False
    return True


def expect_zeros(buffer: Buffer, start: int, end: int) -> None:
    """Raise ``Malformed`` unless what is left over is zero bytes only, which some writers append."""
    if not is_zero(buffer, start, end):
        if end - start < 8:
            raise Overrun("element header runs past the end", start)
        raise Malformed("zero bytes where an element should be", start)


def unknown_vr(buffer: Buffer, position: int, end: int, order: Order) -> tuple[str, int, int]:
    """Return ("UN", value offset, length) of an element whose VR code is not in the standard.

    New VRs have a 32-bit length (PS3.5 7.1.2), but writers of nonsense codes use 16 bits. The
    form after which an element (or the end) follows is taken, the 16-bit one if both fit.
    """
    group, number, _, short_length = order.explicit.unpack_from(buffer, position)
    if group == 0xFFFE:
        raise Malformed("item or delimiter outside a sequence", position)
    tag = group << 16 | number
    after = position + 8 + short_length
    if after <= end and _looks_like_element(buffer, after, end, tag, order):
        return "UN", position + 8, short_length
    if position + 12 <= end and short_length == 0:
        length = order.long.unpack_from(buffer, position + 8)[0]
        after = position + 12 + length
        if after <= end and _looks_like_element(buffer, after, end, tag, order):
            return "UN", position + 12, length
    raise Malformed("neither a value representation nor a length that fits", position)


def _looks_like_element(buffer: Buffer, position: int, end: int, previous: int, order: Order) -> bool:
    if position == end:
        return True
    if position + 8 > end:
        return is_zero(buffer, position, end)
    group, number, code, _ = order.explicit.unpack_from(buffer, position)
    if code in SHORT or code in LONG:
        return True
    tag = group << 16 | number
    return bool(group == 0xFFFE or (tag > previous and tag >> 16 <= (previous >> 16) + 0x10))


def read_header(buffer: Buffer, position: int, end: int, encoding: Encoding) -> tuple[str, int, int]:
    """Return (VR, value offset, length field) of the element at ``position``.

    The length is as written, 0xFFFFFFFF for undefined, and not checked. Raises ``Malformed``.
    """
    order = LITTLE if encoding.little_endian else BIG
    if position + 8 > end:
        raise Overrun("element header runs past the end", position)
    if not encoding.explicit:
        group, number, length = order.plain.unpack_from(buffer, position)
        return implicit_vr(group << 16 | number), position + 8, length
    _, _, code, length = order.explicit.unpack_from(buffer, position)
    if (vr := SHORT.get(code)) is not None:
        return vr, position + 8, length
    if (vr := LONG.get(code)) is not None:
        if position + 12 > end:
            raise Overrun("element header runs past the end", position)
        return vr, position + 12, order.long.unpack_from(buffer, position + 8)[0]
    return unknown_vr(buffer, position, end, order)
