"""The byte walker: finds the elements of a data set without decoding any value.

It reads Explicit VR Little Endian, Implicit VR Little Endian and Explicit VR Big Endian
(PS3.5 7.1, 7.5, A.1-A.3) in any buffer, checks every length against the end of what
encloses it, and never recurses. Values are not touched: a native pixel data element costs
one header, encapsulated pixel data one header a fragment.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from gantry_dicom.dictionary import implicit_vr
from gantry_dicom.element_headers import (
    BIG,
    DEFAULT_MAX_DEPTH,
    DOUBLE_FLOAT_PIXEL_DATA,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    FLOAT_PIXEL_DATA,
    FRAGMENT_VRS,
    IMPLICIT_LITTLE,
    ITEM,
    KNOWN_VRS,
    LITTLE,
    LONG,
    PIXEL_DATA,
    PIXEL_DATA_TAGS,
    SEQUENCE_DELIMITER,
    SHORT,
    UNDEFINED_LENGTH,
    Buffer,
    Element,
    Encoding,
    Ends,
    Item,
    Malformed,
    NestedTooDeeply,
    NotTerminated,
    Overrun,
    TooManyFragments,
    expect_zeros,
    is_zero,
    unknown_vr,
)
from gantry_dicom.nesting import end_of_undefined, hidden_encoding, skip_nested

__all__ = [
    "DEFAULT_MAX_DEPTH",
    "DOUBLE_FLOAT_PIXEL_DATA",
    "EXPLICIT_BIG",
    "EXPLICIT_LITTLE",
    "FLOAT_PIXEL_DATA",
    "IMPLICIT_LITTLE",
    "KNOWN_VRS",
    "PIXEL_DATA",
    "PIXEL_DATA_TAGS",
    "Buffer",
    "Element",
    "Encoding",
    "Ends",
    "Item",
    "Malformed",
    "NestedTooDeeply",
    "NotTerminated",
    "Overrun",
    "TooManyFragments",
    "fragments",
    "is_encapsulated",
    "is_sequence",
    "item_encoding",
    "items",
    "walk",
]


def walk(
    buffer: Buffer,
    start: int,
    end: int,
    encoding: Encoding,
    *,
    ends: Ends | None = None,
    max_depth: int = DEFAULT_MAX_DEPTH,
    only: Container[int] | None = None,
    deep: bool = False,
) -> Iterator[Element]:
    """Yield the elements of one level of a data set: ``buffer[start:end]``.

    Nested levels are reached by ``items`` and another ``walk``, with the encoding that
    ``item_encoding`` gives. Trailing zero bytes are ignored. ``only`` names the tags to yield;
    ``deep`` checks every length inside sequences of known length too (those of undefined
    length are always gone through). Raises ``Malformed``.
    """
    order = LITTLE if encoding.little_endian else BIG
    explicit = encoding.explicit
    unpack_explicit = order.explicit.unpack_from
    unpack_plain = order.plain.unpack_from
    unpack_long = order.long.unpack_from
    short, long, make = SHORT.get, LONG.get, tuple.__new__
    position, last = start, end - 8
    while position <= last:
        value = position + 8
        if explicit:
            group, number, code, length = unpack_explicit(buffer, position)
            tag = group << 16 | number
            if (vr := short(code)) is not None:
                after = value + length
            elif (vr := long(code)) is not None:
                value += 4
                if value > end:
                    raise Overrun("element header runs past the end", position)
                length = unpack_long(buffer, value - 4)[0]
                after = value + length
            elif tag == 0:
                expect_zeros(buffer, position, end)
                return
            else:
                vr, value, length = unknown_vr(buffer, position, end, order)
                after = value + length
        else:
            group, number, length = unpack_plain(buffer, position)
            tag = group << 16 | number
            after = value + length
            if group == 0xFFFE:
                raise Malformed("item or delimiter outside a sequence", position)
            if tag == 0 and length == 0:
                expect_zeros(buffer, position, end)
                return
            vr = implicit_vr(tag)
        if after > end:
            if length != UNDEFINED_LENGTH:
                raise Overrun("element value runs past the end", position)
            content_end, after = end_of_undefined(
                buffer, tag, vr, value, end, encoding, ends, max_depth, deep=deep
            )
            length = content_end - value
        elif deep and vr == "SQ":
            skip_nested(
                buffer, value, after, encoding, ends, max_depth, in_item=False, undefined=False, deep=True
            )
        if only is None or tag in only:
            yield make(Element, (tag, vr, position, value, length, after))
        position = after
    if position < end:
        expect_zeros(buffer, position, end)


def is_sequence(element: Element) -> bool:
    """Whether the value is a sequence of items (SQ, or UN of undefined length: PS3.5 6.2.2)."""
    if element.vr == "SQ":
        return True
    return element.vr not in FRAGMENT_VRS and element.undefined_length and element.tag != PIXEL_DATA


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
    return hidden_encoding(buffer, element.value_offset, element.end, encoding)


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
    order = LITTLE if encoding.little_endian else BIG
    position, end = element.value_offset, element.value_offset + element.length
    while position < end:
        if position + 8 > end:
            expect_zeros(buffer, position, end)
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
            content_end, position = found or skip_nested(
                buffer, start, end, encoding, ends, max_depth, in_item=True, undefined=True, deep=False
            )
        else:
            content_end = position = start + length
            if position > end:
                raise Overrun("item runs past the end of its sequence", start - 8)
        yield Item(start, content_end)


def fragments(buffer: Buffer, element: Element, encoding: Encoding) -> Iterator[Item]:
    """Yield the fragments of encapsulated pixel data; the first is the Basic Offset Table."""
    unpack = (LITTLE if encoding.little_endian else BIG).plain.unpack_from
    position, end = element.value_offset, element.value_offset + element.length
    while position < end:
        start = position + 8
        length = unpack(buffer, position)[2]
        position = start + length
        yield Item(start, position)
