"""Display shutters: what of an image is covered (PS3.3 C.7.6.11, C.7.6.15)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from gantry_imaging.overlays import read_overlays

_MOST_VERTICES = 10_000


def covered(data_set: Dataset, rows: int, columns: int, frame_number: int) -> NDArray[np.bool_] | None:
    """Return which pixels of a frame the shutters of a data set cover; ``None`` when there are none."""
    value = data_set.get("ShutterShape")
    shapes = {str(shape).strip() for shape in ([value] if isinstance(value, str) else value or [])}
    mask = np.zeros((rows, columns), np.bool_)
    try:
        if "RECTANGULAR" in shapes:
            mask |= _outside_rectangle(data_set, rows, columns)
        if "CIRCULAR" in shapes:
            mask |= _outside_circle(data_set, rows, columns)
        if "POLYGONAL" in shapes:
            mask |= _outside_polygon(data_set, rows, columns)
    except (KeyError, TypeError, ValueError):
        # A shutter that is not there whole hides nothing.
        pass
    if "BITMAP" in shapes:
        group = data_set.get("ShutterOverlayGroup")
        for overlay in read_overlays(data_set, frame_number):
            if overlay.group == group:
                mask |= overlay.on(rows, columns)
    return mask if mask.any() else None


def shutter_value(data_set: Dataset) -> int:
    """Return the brightness of what is covered, of 255; black unless the data set says otherwise."""
    value = data_set.get("ShutterPresentationValue")
    return min(max(int(value), 0), 0xFFFF) >> 8 if isinstance(value, int) else 0


def _outside_rectangle(data_set: Dataset, rows: int, columns: int) -> NDArray[np.bool_]:
    left, right, upper, lower = (
        int(data_set[f"Shutter{edge}Edge"].value)
        for edge in ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
    )
    outside = np.ones((rows, columns), np.bool_)
    outside[max(upper - 1, 0) : max(lower, 0), max(left - 1, 0) : max(right, 0)] = False
    return outside


def _outside_circle(data_set: Dataset, rows: int, columns: int) -> NDArray[np.bool_]:
    row, column = (int(number) for number in data_set["CenterOfCircularShutter"].value)
    radius = int(data_set["RadiusOfCircularShutter"].value)
    y = np.arange(1, rows + 1)[:, None] - row
    x = np.arange(1, columns + 1)[None, :] - column
    return np.asarray(y * y + x * x > radius * radius)


def _outside_polygon(data_set: Dataset, rows: int, columns: int) -> NDArray[np.bool_]:
    value = data_set["VerticesOfThePolygonalShutter"].value
    numbers = [int(number) for number in value] if isinstance(value, MultiValue | list) else []
    corners = [(column - 1, row - 1) for row, column in zip(numbers[::2], numbers[1::2], strict=True)]
    if not 3 <= len(corners) <= _MOST_VERTICES:
        return np.zeros((rows, columns), np.bool_)
    shown = Image.new("1", (columns, rows))
    ImageDraw.Draw(shown).polygon(corners, fill=1, outline=1)
    return ~np.asarray(shown, np.bool_)
