"""Palette colour: lookup tables of red, green and blue (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6, C.7.9)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from gantry_dicom.errors import CannotProcess
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from gantry_imaging.luts import Descriptor, read_descriptor, read_entries, read_words, spread_over

_COLOURS = ("Red", "Green", "Blue")
# Segment types of PS3.3 C.7.9.2.
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2
# Segments are no more than entries, or few; indirect ones can make millions of a few bytes.
_FEW_SEGMENTS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """Colours of consecutive values from ``first`` on: (entries, 3), 8 bits a channel."""

    first: int
    colours: NDArray[np.uint8]

    def apply(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the colour of each value; values beyond either end take the end's."""
        index: NDArray[np.intp] = np.clip(values.astype(np.intp) - self.first, 0, len(self.colours) - 1)
        return self.colours.take(index, axis=0)

    def apply_scaled(self, fractions: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the colour of each value of 0 to 1, which is spread over the whole palette."""
        return self.colours.take(spread_over(fractions, len(self.colours)), axis=0)


def has_palette(data_set: Dataset) -> bool:
    """Tell whether a data set describes a palette."""
    return "RedPaletteColorLookupTableDescriptor" in data_set


def read_palette(data_set: Dataset, *, signed: bool = False) -> Palette:
    """Return the palette of a data set; raises ``CannotProcess`` when it is missing or damaged.

    Entries of 16 bits are shown by their high byte. Some writers state 16 bits and fill 8: when
    no entry of any colour is above 255, the low byte is taken.
    """
    channels, bits = [], 8
    first = 0
    for colour in _COLOURS:
        descriptor = read_descriptor(data_set, f"{colour}PaletteColorLookupTableDescriptor", signed=signed)
        channels.append(_channel(data_set, colour, descriptor))
        bits, first = max(bits, descriptor.bits), descriptor.first
    length = min(len(channel) for channel in channels)
    table = np.stack([channel[:length] for channel in channels], axis=1)
    shift = bits - 8 if table.max() > 0xFF else 0
    return Palette(first, np.minimum(table >> shift, 0xFF).astype(np.uint8))


def _channel(data_set: Dataset, colour: str, descriptor: Descriptor) -> NDArray[np.uint16]:
    plain = f"{colour}PaletteColorLookupTableData"
    segmented = f"Segmented{plain}"
    if plain in data_set or segmented not in data_set:
        return read_entries(data_set, plain, descriptor)
    words = read_words(data_set, segmented)
    # With entries of 8 bits everything in the segments is octets.
    is_octets = descriptor.bits <= 8
    stream = words.astype("<u2").view(np.uint8).tolist() if is_octets else words.tolist()
    entries = _expanded(stream, descriptor.count, 4 if is_octets else 2)
    if len(entries) < descriptor.count:
        raise CannotProcess("a segmented palette has fewer entries than its descriptor says")
    return entries


@dataclass(frozen=True, slots=True)
class _Segment:
    """``length`` entries: those listed, or a line from the entry before to the only one listed."""

    length: int
    values: Sequence[int]
    is_linear: bool


def _expanded(stream: Sequence[int], count: int, offset_cells: int) -> NDArray[np.uint16]:
    """Return the entries of a segmented palette, never more than ``count``."""
    entries = np.zeros(count, np.uint16)
    filled = 0
    for segment in islice(_segments(stream, 0, None, offset_cells), max(count, _FEW_SEGMENTS)):
        length = min(segment.length, count - filled)
        if segment.is_linear:
            if not filled:
                raise CannotProcess("a segmented palette begins with a linear segment")
            start = float(entries[filled - 1])
            steps = np.arange(1, length + 1) / segment.length
            entries[filled : filled + length] = np.rint(start + (segment.values[0] - start) * steps)
        else:
            entries[filled : filled + length] = segment.values[:length]
        filled += length
        if filled == count:
            break
    return entries[:filled]


def _segments(
    stream: Sequence[int], position: int, wanted: int | None, offset_cells: int
) -> Iterator[_Segment]:
    """Yield the segments from a position on; with ``wanted`` those that an indirect one refers to."""
    count = 0
    while position < len(stream) and (wanted is None or count < wanted):
        if position + 2 > len(stream):
            return  # the pad byte
        kind, length = stream[position], stream[position + 1]
        count += 1
        position += 2
        needed = {_DISCRETE: length, _LINEAR: 1, _INDIRECT: offset_cells}.get(kind)
        if kind == _INDIRECT and wanted is not None:
            needed = None
        if needed is None or position + needed > len(stream):
            raise CannotProcess("a segmented palette has a damaged segment")
        values = stream[position : position + needed]
        position += needed
        if kind == _INDIRECT:
            yield from _segments(stream, _offset(values), length, offset_cells)
        else:
            yield _Segment(length, values, kind == _LINEAR)


def _offset(cells: Sequence[int]) -> int:
    # Bytes from the start of the element, the lowest cell first.
    if len(cells) == 2:
        return (cells[0] | cells[1] << 16) // 2
    return sum(cell << 8 * place for place, cell in enumerate(cells))
