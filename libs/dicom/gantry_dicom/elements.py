"""The byte walker: finds the elements of a data set without decoding any value.

It reads Explicit VR Little Endian, Implicit VR Little Endian and Explicit VR Big Endian
(PS3.5 7.1, 7.5, A.1-A.3) in any buffer, checks every length against the end of what
encloses it, and never recurses. Values are not touched: a native pixel data element costs
one header, encapsulated pixel data one header a fragment.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, MutableMapping
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
_SHORT_VRS = (
    "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()  # noqa: SIM905
)
_LONG_VRS = "OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()  # noqa: SIM905
_SHORT = {vr.encode(): vr for vr in _SHORT_VRS}
_LONG = {vr.encode(): vr for vr in _LONG_VRS}
KNOWN_VRS = frozenset(_SHORT_VRS + _LONG_VRS)

# An undefined length means fragments for these and a sequence for SQ and UN (PS3.5 A.4, 6.2.2).
_FRAGMENT_VRS = frozenset(("OB", "OW", "OD", "OF", "OL", "OV"))

# Nesting beyond this is refused by default; the deepest real documents (SR trees) stay under 40.
DEFAULT_MAX_DEPTH = 128


class Malformed(GantryError):
    """The bytes are not a well-formed data set; ``offset`` says where."""

    outcome = Outcome.CANNOT_PROCESS

    def __init__(self, detail: str, offset: int) -> None:
        super().__init__(f"{detail} at byte {offset}")
        self.offset = offset


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


class _Order(NamedTuple):
    explicit: Struct  # group, element, VR code, 16-bit length
    plain: Struct  # group, element, 32-bit length
    long: Struct  # 32-bit length


_LITTLE = _Order(Struct("<HH2sH"), Struct("<HHL"), Struct("<L"))
_BIG = _Order(Struct(">HH2sH"), Struct(">HHL"), Struct(">L"))


def walk(
    buffer: Buffer,
    start: int,
    end: int,
    encoding: Encoding,
    *,
    ends: Ends | None = None,
    max_depth: int = DEFAULT_MAX_DEPTH,
) -> Iterator[Element]:
    """Yield the elements of one level of a data set: ``buffer[start:end]``.

    Nested levels are reached by ``items`` and another ``walk``, with the encoding that
    ``item_encoding`` gives. Trailing zero bytes are ignored. Raises ``Malformed``.
    """
    order = _LITTLE if encoding.little_endian else _BIG
    explicit = encoding.explicit
    unpack_explicit = order.explicit.unpack_from
    unpack_plain = order.plain.unpack_from
    unpack_long = order.long.unpack_from
    short, long, make = _SHORT.get, _LONG.get, tuple.__new__
    position = start
    while position < end:
        value = position + 8
        if value > end:
            _expect_zeros(buffer, position, end)
            return
        if explicit:
            group, number, code, length = unpack_explicit(buffer, position)
            tag = group << 16 | number
            if (vr := short(code)) is None:
                if (vr := long(code)) is not None:
                    value += 4
                    if value > end:
                        raise Malformed("element header runs past the end", position)
                    length = unpack_long(buffer, value - 4)[0]
                elif tag == 0 and is_zero(buffer, position, end):
                    return
                else:
                    vr, value, length = _unknown_vr(buffer, position, end, order)
        else:
            group, number, length = unpack_plain(buffer, position)
            tag = group << 16 | number
            if tag == 0 and length == 0 and is_zero(buffer, position, end):
                return
            if group == 0xFFFE:
                raise Malformed("item or delimiter outside a sequence", position)
            vr = implicit_vr(tag)
        after = value + length
        if after > end:
            if length != UNDEFINED_LENGTH:
                raise Malformed("element value runs past the end", position)
            content_end, after = _end_of_undefined(buffer, tag, vr, value, end, encoding, ends, max_depth)
            length = content_end - value
        yield make(Element, (tag, vr, position, value, length, after))
        position = after


def is_sequence(element: Element) -> bool:
    """Whether the value is a sequence of items (SQ, or UN of undefined length: PS3.5 6.2.2)."""
    if element.vr == "SQ":
        return True
    return element.vr not in _FRAGMENT_VRS and element.undefined_length and element.tag != PIXEL_DATA


def is_encapsulated(element: Element) -> bool:
    """Whether the value is a series of fragments (PS3.5 A.4)."""
    return element.undefined_length and not is_sequence(element)


def item_encoding(buffer: Buffer, element: Element, encoding: Encoding) -> Encoding:
    """Return the encoding of the items of ``element``, which stands in a data set of ``encoding``.

    UN of undefined length holds Implicit VR Little Endian (PS3.5 6.2.2, CP-246); some writers
    put Explicit VR there all the same, which is told by the first element's VR code.
    """
    if element.vr != "UN":
        return encoding
    return _hidden_encoding(buffer, element.value_offset, element.end, encoding)


def items(
    buffer: Buffer,
    element: Element,
    encoding: Encoding,
    *,
    ends: Ends | None = None,
    max_depth: int = DEFAULT_MAX_DEPTH,
) -> Iterator[Item]:
    """Yield the items of a sequence in order; ``encoding`` is that of the items.

    Raises ``Malformed``.
    """
    order = _LITTLE if encoding.little_endian else _BIG
    position, end = element.value_offset, element.value_offset + element.length
    while position < end:
        if position + 8 > end:
            _expect_zeros(buffer, position, end)
            return
        group, number, length = order.plain.unpack_from(buffer, position)
        tag = group << 16 | number
        if tag == SEQUENCE_DELIMITER:
            return
        if tag != ITEM:
            if tag == 0 and is_zero(buffer, position, end):
                return
            raise Malformed("something other than an item in a sequence", position)
        start = position + 8
        if length == UNDEFINED_LENGTH:
            found = ends.get(start) if ends is not None else None
            content_end, position = found or _skip_nested(
                buffer, start, end, encoding, ends, max_depth, in_item=True
            )
        else:
            content_end = position = start + length
            if position > end:
                raise Malformed("item runs past the end of its sequence", start - 8)
        yield Item(start, content_end)


def fragments(buffer: Buffer, element: Element, encoding: Encoding) -> Iterator[Item]:
    """Yield the fragments of encapsulated pixel data; the first is the Basic Offset Table."""
    unpack = (_LITTLE if encoding.little_endian else _BIG).plain.unpack_from
    position, end = element.value_offset, element.value_offset + element.length
    while position < end:
        start = position + 8
        length = unpack(buffer, position)[2]
        position = start + length
        yield Item(start, position)


def is_zero(buffer: Buffer, start: int, end: int) -> bool:
    """Whether ``buffer[start:end]`` is zero bytes only."""
    for position in range(start, end, 65536):
        if bytes(buffer[position : min(position + 65536, end)]).strip(b"\0"):
            return False
    return True


def _expect_zeros(buffer: Buffer, start: int, end: int) -> None:
    if not is_zero(buffer, start, end):
        raise Malformed("bytes left over that are no element", start)


def _unknown_vr(buffer: Buffer, position: int, end: int, order: _Order) -> tuple[str, int, int]:
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


def _looks_like_element(buffer: Buffer, position: int, end: int, previous: int, order: _Order) -> bool:
    if position == end:
        return True
    if position + 8 > end:
        return is_zero(buffer, position, end)
    group, number, code, _ = order.explicit.unpack_from(buffer, position)
    if code in _SHORT or code in _LONG:
        return True
    tag = group << 16 | number
    return group == 0xFFFE or (tag > previous and tag >> 16 <= (previous >> 16) + 0x10)


def _hidden_encoding(buffer: Buffer, start: int, end: int, encoding: Encoding) -> Encoding:
    """Return the encoding of the first element found inside the items from ``start``."""
    implicit = IMPLICIT_LITTLE if encoding.explicit else encoding
    position = start
    while position + 16 <= end:
        tag_group, tag_number, length = _LITTLE.plain.unpack_from(buffer, position)
        if (tag_group, tag_number) != (0xFFFE, 0xE000):
            return implicit
        if length == 0:
            position += 8
            continue
        code = bytes(buffer[position + 12 : position + 14])
        following = _LITTLE.long.unpack_from(buffer, position + 12)[0]
        if (code in _SHORT or code in _LONG) and position + 16 + following > end:
            return EXPLICIT_LITTLE
        return implicit
    return implicit


def _end_of_undefined(
    buffer: Buffer,
    tag: int,
    vr: str,
    start: int,
    end: int,
    encoding: Encoding,
    ends: Ends | None,
    max_depth: int,
) -> tuple[int, int]:
    """Return (content end, next element) of the value of undefined length at ``start``."""
    if vr in _FRAGMENT_VRS or tag == PIXEL_DATA:
        return _skip_fragments(buffer, start, end, encoding)
    if vr not in ("SQ", "UN"):
        raise Malformed("undefined length where it is not allowed", start)
    if ends is not None and (found := ends.get(start)) is not None:
        return found
    if vr == "UN":
        encoding = _hidden_encoding(buffer, start, end, encoding)
    return _skip_nested(buffer, start, end, encoding, ends, max_depth, in_item=False)


def _skip_fragments(buffer: Buffer, start: int, end: int, encoding: Encoding) -> tuple[int, int]:
    unpack = (_LITTLE if encoding.little_endian else _BIG).plain.unpack_from
    position = start
    while position + 8 <= end:
        group, number, length = unpack(buffer, position)
        if group != 0xFFFE:
            raise Malformed("something other than a fragment in encapsulated pixel data", position)
        if number == 0xE0DD:
            return position, position + 8
        if number != 0xE000 or length == UNDEFINED_LENGTH:
            raise Malformed("something other than a fragment in encapsulated pixel data", position)
        position += 8 + length
    raise Malformed("encapsulated pixel data is not terminated", min(position, end))


def _skip_nested(
    buffer: Buffer,
    start: int,
    end: int,
    encoding: Encoding,
    ends: Ends | None,
    max_depth: int,
    *,
    in_item: bool,
) -> tuple[int, int]:
    """Return (content end, next) of a sequence or item of undefined length, in one pass.

    The stack holds a level for each open sequence and item of undefined length; levels of
    known length are jumped over.
    """
    stack: list[tuple[int, bool, Encoding]] = [(start, in_item, encoding)]
    position = start
    while True:
        opened, inside_item, encoding = stack[-1]
        order = _LITTLE if encoding.little_endian else _BIG
        if position + 8 > end:
            raise Malformed("sequence or item is not terminated", opened)
        group, number, length = order.plain.unpack_from(buffer, position)
        if group == 0xFFFE:
            value = position + 8
            if number == (0xE00D if inside_item else 0xE0DD):
                if ends is not None:
                    ends[opened] = (position, value)
                stack.pop()
                if not stack:
                    return position, value
                position = value
            elif number == 0xE000 and not inside_item:
                if length == UNDEFINED_LENGTH:
                    if len(stack) >= 2 * max_depth:
                        raise Malformed("nested too deeply", position)
                    stack.append((value, True, encoding))
                    position = value
                else:
                    position = value + length
            else:
                raise Malformed("item or delimiter in the wrong place", position)
            continue
        if not inside_item:
            raise Malformed("something other than an item in a sequence", position)
        tag = group << 16 | number
        vr, value, length = read_header(buffer, position, end, encoding)
        if length != UNDEFINED_LENGTH:
            position = value + length
        elif vr in _FRAGMENT_VRS or tag == PIXEL_DATA:
            position = _skip_fragments(buffer, value, end, encoding)[1]
        elif vr not in ("SQ", "UN"):
            raise Malformed("undefined length where it is not allowed", position)
        else:
            if vr == "UN":
                encoding = _hidden_encoding(buffer, value, end, encoding)
            if len(stack) >= 2 * max_depth:
                raise Malformed("nested too deeply", position)
            stack.append((value, False, encoding))
            position = value


def read_header(buffer: Buffer, position: int, end: int, encoding: Encoding) -> tuple[str, int, int]:
    """Return (VR, value offset, length field) of the element at ``position``.

    The length is as written, 0xFFFFFFFF for undefined, and not checked. Raises ``Malformed``.
    """
    order = _LITTLE if encoding.little_endian else _BIG
    if position + 8 > end:
        raise Malformed("element header runs past the end", position)
    if not encoding.explicit:
        group, number, length = order.plain.unpack_from(buffer, position)
        return implicit_vr(group << 16 | number), position + 8, length
    _, _, code, length = order.explicit.unpack_from(buffer, position)
    if (vr := _SHORT.get(code)) is not None:
        return vr, position + 8, length
    if (vr := _LONG.get(code)) is not None:
        if position + 12 > end:
            raise Malformed("element header runs past the end", position)
        return vr, position + 12, order.long.unpack_from(buffer, position + 8)[0]
    return _unknown_vr(buffer, position, end, order)
