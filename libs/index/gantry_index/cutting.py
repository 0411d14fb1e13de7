"""Cutting instances out of segments (see the ``segment`` table)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gantry_dicom.errors import CannotProcess
from isal import isal_zlib


def cut(segment: bytes, offsets: Iterable[int], lengths: Iterable[int]) -> list[bytes]:
    """Inflate a segment once and return the pieces at ``offsets`` (bytes of the inflated text).

    Raises ``CannotProcess`` when the segment is damaged.
    """
    try:
        text = isal_zlib.decompress(segment)
    except isal_zlib.error as error:  # type: ignore[misc]  # declared as an instance in its stub
        raise CannotProcess("a metadata segment cannot be inflated") from error
    return [text[offset : offset + length] for offset, length in zip(offsets, lengths, strict=True)]


def placed(places: Sequence[int], pieces: Sequence[bytes], into: list[bytes]) -> None:
    """Put pieces at their places, which count from 1."""
    for place, piece in zip(places, pieces, strict=True):
        into[place - 1] = piece
