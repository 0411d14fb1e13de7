"""A frame as a presentation state shows it: covered, cut out, turned and written on (PS3.4 N.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from gantry_imaging.attributes import ImageAttributes
from gantry_imaging.geometry import MAXIMUM_SIDE, pixel_ratio, with_square_pixels
from gantry_imaging.graphics import Placement, Point, draw_annotations
from gantry_imaging.overlays import read_overlays
from gantry_imaging.presentation_states import DisplayedArea, Presentation
from gantry_imaging.shutters import covered, shutter_value

_TURNS = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
_WHITE = 255


def with_planes(
    image: Image.Image,
    samples: NDArray[Any],
    attributes: ImageAttributes,
    header: Dataset,
    frame_number: int,
    presentation: Presentation | None,
) -> Image.Image:
    """Return the picture of a frame with its shutters closed and its overlays on it, in white.

    Without a presentation state those of the image itself apply. With one its own do, and of the
    image's overlays those that it activates (PS3.3 C.11.7).
    """
    described_by = header if presentation is None else presentation.data_set
    mask = covered(described_by, attributes.rows, attributes.columns, frame_number)
    planes = [
        overlay
        for overlay in read_overlays(header, frame_number, samples, attributes)
        if presentation is None or overlay.group in presentation.overlay_groups
    ]
    if presentation is not None:
        own = read_overlays(presentation.data_set, frame_number)
        bitmap = presentation.data_set.get("ShutterOverlayGroup")
        planes += [
            overlay
            for overlay in own
            if overlay.group in presentation.overlay_groups and overlay.group != bitmap
        ]
    if mask is None and not planes:
        return image
    shown = np.array(image)
    if mask is not None:
        shown[mask] = shutter_value(described_by)
    for overlay in planes:
        shown[overlay.on(attributes.rows, attributes.columns)] = _WHITE
    return Image.fromarray(shown)


def presented(image: Image.Image, header: Dataset, presentation: Presentation | None) -> Image.Image:
    """Return the picture of a whole frame as it is displayed: square pixels, area, turns, graphics."""
    ratio = pixel_ratio(header)
    if presentation is None:
        return with_square_pixels(image, ratio)
    area = presentation.area or DisplayedArea(0, 0, image.width, image.height, None, 1.0)
    left, top = round(area.left), round(area.top)
    right, bottom = round(area.right), round(area.bottom)
    if not (0 < right - left <= MAXIMUM_SIDE and 0 < bottom - top <= MAXIMUM_SIDE):
        left, top, right, bottom = 0, 0, image.width, image.height
    box = (left, top, right, bottom)
    cut = image if box == (0, 0, *image.size) else image.crop(box)
    flat = _magnified(with_square_pixels(cut, area.ratio or ratio), area.magnification)
    shown = flat.transpose(_TURNS[presentation.rotation]) if presentation.rotation in _TURNS else flat
    if presentation.flipped:
        shown = shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if presentation.annotations:
        scale = (flat.width / cut.width, flat.height / cut.height)

        def to_picture(point: Point) -> Point:
            place = ((point[0] - left) * scale[0], (point[1] - top) * scale[1])
            return _turned(place, flat.size, presentation.rotation, flipped=presentation.flipped)

        # Never on the frame itself, which another part of the answer may show.
        shown = shown.copy()
        draw_annotations(shown, presentation.annotations, Placement(shown.width, shown.height, to_picture))
    return shown


def _magnified(image: Image.Image, factor: float) -> Image.Image:
    factor = min(factor, MAXIMUM_SIDE / max(image.size))
    if factor == 1:
        return image
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return image.resize(size, Image.Resampling.BILINEAR)


def _turned(place: Point, size: tuple[int, int], rotation: int, *, flipped: bool) -> Point:
    x, y = place
    width, height = size
    if rotation == 90:
        x, y, width = height - y, x, height
    elif rotation == 180:
        x, y = width - x, height - y
    elif rotation == 270:
        x, y, width = y, width - x, height
    return (width - x if flipped else x), y
