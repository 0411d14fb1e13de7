"""Overlay planes: bits of their own and bits within the pixel data (PS3.3 C.9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from gantry_imaging.attributes import ImageAttributes

GROUPS = range(0x6000, 0x6020, 2)
_ROWS, _COLUMNS, _ORIGIN, _DATA = 0x0010, 0x0011, 0x0050, 0x3000
_FRAMES, _FRAME_ORIGIN = 0x0015, 0x0051
_BITS_ALLOCATED, _BIT_POSITION = 0x0100, 0x0102
_ACTIVATION_LAYER = 0x1001
_MAXIMUM_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """One plane over one frame: where its upper left bit lies on the image (from 0), and its bits."""

    group: int
    row: int
    column: int
    bits: NDArray[np.bool_]

    def on(self, rows: int, columns: int) -> NDArray[np.bool_]:
        """Return the plane on an image of that size; what lies beyond the image is left out."""
        mask = np.zeros((rows, columns), np.bool_)
        top, left = max(self.row, 0), max(self.column, 0)
        bottom = min(self.row + self.bits.shape[0], rows)
        right = min(self.column + self.bits.shape[1], columns)
        if top < bottom and left < right:
            mask[top:bottom, left:right] = self.bits[
                top - self.row : bottom - self.row, left - self.column : right - self.column
            ]
        return mask


def read_overlays(
    data_set: Dataset,
    frame_number: int = 1,
    samples: NDArray[Any] | None = None,
    attributes: ImageAttributes | None = None,
) -> Iterator[Overlay]:
    """Yield the planes of a data set that lie over a frame (from 1); damaged ones are left out.

    ``samples`` and ``attributes`` are those of the frame, for planes within the pixel data.
    """
    # Most objects have none; one look at the tags is faster than asking for each.
    tags = data_set.keys()
    present = {tag >> 16 for tag in tags if GROUPS.start << 16 <= tag < GROUPS.stop << 16}
    for group in sorted(present & set(GROUPS)):
        embedded = _number(data_set, group, _BITS_ALLOCATED, 1) > 1 and (group, _DATA) not in data_set
        if embedded and samples is not None and attributes is not None and samples.ndim == 2:
            position = _number(data_set, group, _BIT_POSITION, -1)
            inside = attributes.low_bits <= position < attributes.low_bits + attributes.bits_stored
            if 0 <= position < attributes.bits_allocated and not inside and samples.dtype.kind in "iu":
                yield Overlay(group, 0, 0, (samples >> position & 1).astype(np.bool_))
        elif (group, _DATA) in data_set:
            bits = _plane(data_set, group, frame_number)
            if bits is not None:
                row, column = _pair(data_set, group, _ORIGIN)
                yield Overlay(group, row - 1, column - 1, bits)


def active_groups(data_set: Dataset) -> frozenset[int]:
    """Return the groups that a presentation state activates (PS3.3 C.11.7)."""
    return frozenset(group for group in GROUPS if data_set.get((group, _ACTIVATION_LAYER)))


def _plane(data_set: Dataset, group: int, frame_number: int) -> NDArray[np.bool_] | None:
    rows, columns = _number(data_set, group, _ROWS), _number(data_set, group, _COLUMNS)
    data = data_set[group, _DATA].value
    if not 0 < rows * columns <= _MAXIMUM_PIXELS or rows < 0 or not isinstance(data, bytes):
        return None
    frames = max(_number(data_set, group, _FRAMES, 1), 1)
    number = 0
    if frames > 1 or (group, _FRAME_ORIGIN) in data_set:
        number = frame_number - max(_number(data_set, group, _FRAME_ORIGIN, 1), 1)
    if not 0 <= number < frames:
        return None
    size = rows * columns
    if data_set.original_encoding[1] is False and data_set[group, _DATA].VR == "OW":
        data = np.frombuffer(data[: len(data) & ~1], ">u2").astype("<u2").tobytes()
    first_byte = number * size // 8
    octets = np.frombuffer(data, np.uint8)[first_byte : (number + 1) * size // 8 + 1]
    bits = np.unpackbits(octets, bitorder="little")[number * size % 8 :][:size]
    return bits.astype(np.bool_).reshape(rows, columns) if len(bits) == size else None


def _number(data_set: Dataset, group: int, element: int, default: int = 0) -> int:
    found = data_set.get((group, element))
    try:
        return default if found is None else int(found.value)
    except (TypeError, ValueError):
        return default


def _pair(data_set: Dataset, group: int, element: int) -> tuple[int, int]:
    found = data_set.get((group, element))
    try:
        row, column = (int(number) for number in found.value) if found is not None else (1, 1)
    except (TypeError, ValueError):
        return 1, 1
    return row, column
