"""Several ranges of one object in few requests."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


def spans_of(ranges: Sequence[tuple[int, int]], gap: int, longest: int) -> list[tuple[int, int]]:
    """Return the ``(start, end)`` to read, rising, so that every ``(offset, length)`` lies in one.

    Ranges at most ``gap`` bytes apart share a span unless that makes it longer than ``longest``.
    """
    spans: list[tuple[int, int]] = []
    for offset, length in sorted(ranges):
        if not length:
            continue
        end = offset + length
        if spans:
            start, reached = spans[-1]
            together = max(end, reached)
            if end <= reached or (offset - reached <= gap and together - start <= longest):
                spans[-1] = (start, together)
                continue
        spans.append((offset, end))
    return spans


def cut(spans: Sequence[tuple[int, int]], found: Sequence[bytes], offset: int, length: int) -> bytes:
    """Return one range out of the bytes ``found`` for each of ``spans``."""
    if not length:
        return b""
    index = bisect_right(spans, offset, key=lambda span: span[0]) - 1
    # Overlapping ranges may have begun a span of their own after the one that holds this one.
    while spans[index][1] < offset + length:
        index -= 1
    start = offset - spans[index][0]
    return found[index][start : start + length]
