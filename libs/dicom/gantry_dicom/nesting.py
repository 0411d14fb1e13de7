"""Finding where a value of undefined length ends, without recursion (PS3.5 7.5, A.4, 6.2.2)."""

from __future__ import annotations

from typing import NamedTuple

from gantry_dicom.element_headers import (
    BIG,
    EXPLICIT_LITTLE,
    FRAGMENT_VRS,
    IMPLICIT_LITTLE,
    LITTLE,
    LONG,
    MAX_FRAGMENTS,
    PIXEL_DATA,
    SHORT,
    UNDEFINED_LENGTH,
    Buffer,
    Encoding,
    Ends,
    Malformed,
    NestedTooDeeply,
    NotTerminated,
    Overrun,
    TooManyFragments,
    expect_zeros,
    read_header,
)


def end_of_undefined(
    buffer: Buffer,
    tag: int,
    vr: str,
    start: int,
    end: int,
    encoding: Encoding,
    ends: Ends | None,
    max_depth: int,
    *,
    deep: bool,
) -> tuple[int, int]:
    """Return (content end, next element) of the value of undefined length at ``start``."""
    if vr in FRAGMENT_VRS or tag == PIXEL_DATA:
        return _skip_fragments(buffer, start, end, encoding)
    if vr not in ("SQ", "UN"):
        raise Malformed("undefined length where it is not allowed", start)
    if ends is not None and (found := ends.get(start)) is not None:
        return found
    if vr == "UN":
        encoding = hidden_encoding(buffer, start, end, encoding)
    return skip_nested(
        buffer, start, end, encoding, ends, max_depth, in_item=False, undefined=True, deep=deep
    )


def _skip_fragments(buffer: Buffer, start: int, end: int, encoding: Encoding) -> tuple[int, int]:
    unpack = (LITTLE if encoding.little_endian else BIG).plain.unpack_from
    position, count = start, 0
    while position + 8 <= end:
        group, number, length = unpack(buffer, position)
        count += 1
        if count > MAX_FRAGMENTS + 2:  # with the offset table and the delimiter
            raise TooManyFragments("too many fragments", position)
        if group != 0xFFFE:
            raise Malformed("something other than a fragment in encapsulated pixel data", position)
        if number == 0xE0DD:
            return position, position + 8
        if number != 0xE000 or length == UNDEFINED_LENGTH:
            raise Malformed("something other than a fragment in encapsulated pixel data", position)
        position += 8 + length
    raise NotTerminated("encapsulated pixel data is not terminated", min(position, end))


class _Level(NamedTuple):
    """An open sequence or item: where it began, its end (the encloser's if undefined), and what it is."""

    opened: int
    limit: int
    undefined: bool
    in_item: bool
    encoding: Encoding


def skip_nested(
    buffer: Buffer,
    start: int,
    end: int,
    encoding: Encoding,
    ends: Ends | None,
    max_depth: int,
    *,
    in_item: bool,
    undefined: bool,
    deep: bool,
) -> tuple[int, int]:
    """Return (content end, next) of the sequence or item that begins at ``start``, in one pass.

    Levels of known length inside are jumped over, or with ``deep`` gone through as well.
    """
    level = _Level(start, end, undefined, in_item, encoding)
    stack = [level]
    position = start
    while True:
        limit = level.limit
        if position + 8 > limit:
            if level.undefined:
                raise NotTerminated("sequence or item is not terminated", level.opened)
            expect_zeros(buffer, position, limit)
            position = limit
            closed = (limit, limit)
        else:
            order = LITTLE if level.encoding.little_endian else BIG
            group, number, length = order.plain.unpack_from(buffer, position)
            if group == 0xFFFE and number == (0xE00D if level.in_item else 0xE0DD):
                closed = (position, position + 8)
                position += 8
                if not level.undefined and position != limit:
                    raise Malformed("delimiter inside a value of known length", position - 8)
            else:
                opened = _step(buffer, position, level, group, number, length, deep=deep)
                if isinstance(opened, int):
                    position = opened
                    continue
                if len(stack) >= 2 * max_depth:
                    raise NestedTooDeeply("sequences are nested too deeply", position)
                position = opened.opened
                level = opened
                stack.append(level)
                continue
        if ends is not None and level.undefined:
            ends[level.opened] = closed
        stack.pop()
        if not stack:
            return closed
        level = stack[-1]


def _step(
    buffer: Buffer, position: int, level: _Level, group: int, number: int, length: int, *, deep: bool
) -> int | _Level:
    """Return where the next item or element of ``level`` begins, or the level that opens here."""
    limit = level.limit
    if not level.in_item:
        if group != 0xFFFE or number != 0xE000:
            raise Malformed("something other than an item in a sequence", position)
        start = position + 8
        if length == UNDEFINED_LENGTH:
            return _Level(start, limit, True, True, level.encoding)
        if start + length > limit:
            raise Overrun("item runs past the end of its sequence", position)
        return _Level(start, start + length, False, True, level.encoding) if deep else start + length
    if group == 0xFFFE:
        raise Malformed("item or delimiter in the wrong place", position)
    encoding = level.encoding
    tag = group << 16 | number
    vr, value, length = read_header(buffer, position, limit, encoding)
    if length != UNDEFINED_LENGTH:
        after = value + length
        if after > limit:
            raise Overrun("element value runs past the end of its item", position)
        return _Level(value, after, False, False, encoding) if deep and vr == "SQ" else after
    if vr in FRAGMENT_VRS or tag == PIXEL_DATA:
        return _skip_fragments(buffer, value, limit, encoding)[1]
    if vr not in ("SQ", "UN"):
        raise Malformed("undefined length where it is not allowed", position)
    if vr == "UN":
        encoding = hidden_encoding(buffer, value, limit, encoding)
    return _Level(value, limit, True, False, encoding)


def hidden_encoding(buffer: Buffer, start: int, end: int, encoding: Encoding) -> Encoding:
    """Return the encoding of the first element found inside the items from ``start``."""
    implicit = IMPLICIT_LITTLE if encoding.explicit else encoding
    position = start
    while position + 16 <= end:
        tag_group, tag_number, length = LITTLE.plain.unpack_from(buffer, position)
        if (tag_group, tag_number) != (0xFFFE, 0xE000):
            return implicit
        if length == 0:
            position += 8
            continue
        code = bytes(buffer[position + 12 : position + 14])
        following = LITTLE.long.unpack_from(buffer, position + 12)[0]
        if (code in SHORT or code in LONG) and position + 16 + following > end:
            return EXPLICIT_LITTLE
        return implicit
    return implicit
