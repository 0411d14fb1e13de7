"""The shape of a picture: pixels made square, the part that is asked for, the size that it is shown in."""

from __future__ import annotations

from dataclasses import dataclass

from gantry_dicom.errors import BadRequest
from PIL import Image
from pydicom.dataset import Dataset

# No side of a picture is longer, whatever a request or a presentation state asks for.
MAXIMUM_SIDE = 8192
# Spacings closer to each other than this make pixels that look square.
_SQUARE_ENOUGH = 0.01
# An aspect ratio beyond this is a slip of whoever wrote it.
_LARGEST_RATIO = 20.0
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a picture: its upper left corner and its size, in pixels (PS3.18 8.3.5.1.3).

    A width or height of ``None`` reaches to the edge of the picture; a negative one means its
    absolute value, and a picture that is mirrored.
    """

    x: float = 0.0
    y: float = 0.0
    width: float | None = None
    height: float | None = None


@dataclass(frozen=True, slots=True)
class Viewport:
    """The size that a picture has to fit into, keeping its shape, and the part that it shows."""

    width: int
    height: int
    source: Region | None = None


def pixel_ratio(header: Dataset) -> float:
    """Return how much higher than wide a pixel is, 1 when nothing says so (PS3.3 C.7.6.3.1.7).

    Tiles of a slide are left as they are, because they are put together by their pixels.
    """
    if "TotalPixelMatrixColumns" in header:
        return 1.0
    ratio = _ratio(header, "PixelAspectRatio")
    for keyword in _SPACINGS:
        ratio = ratio or _ratio(header, keyword)
    if ratio is None or abs(ratio - 1) < _SQUARE_ENOUGH or not 1 / _LARGEST_RATIO < ratio < _LARGEST_RATIO:
        return 1.0
    return ratio


def with_square_pixels(image: Image.Image, ratio: float) -> Image.Image:
    """Return the picture with its shorter pixel side stretched to the longer one."""
    if ratio == 1:
        return image
    width, height = image.width, image.height
    size = (width, round(height * ratio)) if ratio > 1 else (round(width / ratio), height)
    return image.resize(_bounded(size), Image.Resampling.BILINEAR)


def shown_in(image: Image.Image, viewport: Viewport) -> Image.Image:
    """Return the part asked for in the size asked for; raises ``BadRequest`` when it shows nothing."""
    if viewport.source is not None:
        image = _part(image, viewport.source)
    scale = min(viewport.width / image.width, viewport.height / image.height)
    size = _bounded((round(image.width * scale), round(image.height * scale)))
    if size == image.size:
        return image
    # Shrinking begins with means of whole pixels, which looks the same and is much faster.
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)


def _part(image: Image.Image, region: Region) -> Image.Image:
    width = image.width - region.x if region.width is None else abs(region.width)
    height = image.height - region.y if region.height is None else abs(region.height)
    # What lies outside the picture is left out: it is never larger than its frame asks for.
    left, right = (round(min(max(edge, 0), image.width)) for edge in (region.x, region.x + width))
    upper, lower = (round(min(max(edge, 0), image.height)) for edge in (region.y, region.y + height))
    if left >= right or upper >= lower:
        raise BadRequest("the viewport shows nothing of the frame")
    image = image.crop((left, upper, right, lower))
    if region.width is not None and region.width < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if region.height is not None and region.height < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image


def _bounded(size: tuple[int, int]) -> tuple[int, int]:
    width, height = (min(max(1, side), MAXIMUM_SIDE) for side in size)
    return width, height


def _ratio(header: Dataset, keyword: str) -> float | None:
    try:
        vertical, horizontal = (float(number) for number in header.get(keyword))
        return vertical / horizontal if vertical > 0 and horizontal > 0 else None
    except (TypeError, ValueError):
        return None
