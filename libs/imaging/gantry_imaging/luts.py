"""Lookup tables as data sets hold them: modality, VOI and presentation (PS3.3 C.11.1, C.11.2, C.11.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gantry_dicom.errors import CannotProcess
from numpy.typing import NDArray
from pydicom.dataset import Dataset

# What a descriptor's first value of 0 stands for.
_ALL_ENTRIES = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable:
    """Entries for consecutive input values from ``first`` on; inputs beyond either end take the end's."""

    first: int
    bits: int
    entries: NDArray[np.uint16]

    @property
    def maximum(self) -> int:
        """The largest value that the table's depth allows."""
        return (1 << self.bits) - 1

    def apply(self, values: NDArray[Any]) -> NDArray[np.uint16]:
        """Return the entry of each value; fractions are rounded."""
        index = _clipped(np.rint(values) - self.first, len(self.entries))
        return self.entries.take(index)

    def apply_scaled(self, fractions: NDArray[Any]) -> NDArray[np.uint16]:
        """Return the entry of each value of 0 to 1, which is spread over the whole table."""
        return self.entries.take(spread_over(fractions, len(self.entries)))


def spread_over(fractions: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Return which of ``count`` entries each value of 0 to 1 means."""
    return _clipped(np.rint(fractions * (count - 1)), count)


def _clipped(index: NDArray[Any], count: int) -> NDArray[np.intp]:
    clipped: NDArray[np.intp] = np.clip(index, 0, count - 1).astype(np.intp)
    return clipped


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A LUT Descriptor: number of entries, first mapped value, bits an entry."""

    count: int
    first: int
    bits: int


def read_lut(item: Dataset, *, signed: bool) -> LookupTable:
    """Return the table of a LUT sequence's item; raises ``CannotProcess`` when it is none.

    ``signed`` tells whether the values that it maps can be negative.
    """
    descriptor = read_descriptor(item, "LUTDescriptor", signed=signed)
    entries = read_entries(item, "LUTData", descriptor)
    return LookupTable(descriptor.first, max(descriptor.bits, int(entries.max()).bit_length()), entries)


def read_descriptor(item: Dataset, keyword: str, *, signed: bool) -> Descriptor:
    """Return a LUT Descriptor or palette descriptor of an item; raises ``CannotProcess``."""
    try:
        count, first, bits = (int(number) for number in item[keyword].value)
    except (KeyError, TypeError, ValueError) as error:
        raise CannotProcess(f"{keyword} is missing or damaged") from error
    # The element may be US or SS; the same bits mean what the values mapped can be.
    first &= 0xFFFF
    first -= 0x10000 if signed and first > 0x7FFF else 0
    if not 1 <= bits <= 16:
        raise CannotProcess(f"{keyword} states an impossible depth")
    return Descriptor((count & 0xFFFF) or _ALL_ENTRIES, first, bits)


def read_entries(item: Dataset, keyword: str, descriptor: Descriptor) -> NDArray[np.uint16]:
    """Return as many entries as the descriptor says; raises ``CannotProcess`` when there are fewer."""
    words = read_words(item, keyword, eight_bit_count=descriptor.count if descriptor.bits <= 8 else 0)
    if len(words) < descriptor.count:
        raise CannotProcess(f"{keyword} has fewer entries than its descriptor says")
    return words[: descriptor.count]


def read_words(item: Dataset, keyword: str, *, eight_bit_count: int = 0) -> NDArray[np.uint16]:
    """Return an element of VR US or OW as 16-bit values; raises ``CannotProcess`` when it is not there.

    Bytes that are no more than ``eight_bit_count`` (and a pad byte) are one entry each (PS3.3
    C.7.6.3.1.6 has them packed two a word).
    """
    value = item.get(keyword)
    if value is None or (isinstance(value, Sequence) and len(value) == 0):
        raise CannotProcess(f"{keyword} is missing")
    little_endian = item.original_encoding[1] is not False
    if isinstance(value, bytes):
        if eight_bit_count and len(value) in (eight_bit_count, eight_bit_count + 1):
            octets = np.frombuffer(value, np.uint8)
            if not little_endian:
                octets = octets[: len(octets) & ~1].reshape(-1, 2)[:, ::-1].reshape(-1)
            return octets.astype(np.uint16)
        return np.frombuffer(value[: len(value) & ~1], "<u2" if little_endian else ">u2").astype(np.uint16)
    try:
        numbers = np.atleast_1d(np.asarray(value, np.int64))
    except (TypeError, ValueError, OverflowError) as error:
        raise CannotProcess(f"{keyword} is damaged") from error
    words: NDArray[np.uint16] = (numbers & 0xFFFF).astype(np.uint16)
    if eight_bit_count and len(words) == (eight_bit_count + 1) // 2 and eight_bit_count > 1:
        return words.astype("<u2").view(np.uint8).astype(np.uint16)
    return words
