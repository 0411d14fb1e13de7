"""Rendered images: one frame as JPEG, PNG or GIF (PS3.18 8.3.5, 8.7.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from gantry_dicom.errors import BadRequest, CannotProcess
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from gantry_imaging.attributes import ImageAttributes
from gantry_imaging.grayscale import Window, to_display

JPEG = "image/jpeg"
PNG = "image/png"
GIF = "image/gif"
_PILLOW_FORMATS: Mapping[str, str] = {JPEG: "JPEG", PNG: "PNG", GIF: "GIF"}
RENDERED_TYPES = tuple(_PILLOW_FORMATS)

_DEFAULT_QUALITY = 90
# Functional groups whose items carry transforms of a frame (PS3.3 C.7.6.16.2).
_TRANSFORM_GROUPS = (
    "PixelValueTransformationSequence",
    "FrameVOILUTSequence",
    "RealWorldValueMappingSequence",
)
_MAXIMUM_SIDE = 8192


@dataclass(frozen=True, slots=True)
class Viewport:
    """Size of the picture and the part of the frame that it shows (PS3.18 8.3.5.1.3).

    ``source`` is (x, y, width, height) in pixels of the frame; a negative width or height
    mirrors. The aspect ratio is kept: the picture fits into ``width`` x ``height``.
    """

    width: int
    height: int
    source: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How a frame is to be shown."""

    media_type: str = JPEG
    quality: int = _DEFAULT_QUALITY
    window: Window | None = None
    viewport: Viewport | None = None


def frame_header(header: Dataset, frame_number: int) -> Dataset:
    """Return ``header`` with the functional groups of a frame (from 1) at its top level."""
    groups: list[Dataset] = list(header.get("SharedFunctionalGroupsSequence") or [])
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    if frame_number <= len(per_frame):
        groups.append(per_frame[frame_number - 1])
    if not groups:
        return header
    flat = Dataset()
    flat.update(header)
    for group in groups:
        for keyword in _TRANSFORM_GROUPS:
            for item in group.get(keyword) or []:
                flat.update(item)
    return flat


def render_frame(
    samples: NDArray[Any],
    attributes: ImageAttributes,
    header: Dataset,
    frame_number: int,
    options: RenderOptions,
) -> bytes:
    """Return one frame as a picture of ``options.media_type``; raises ``CannotProcess``."""
    image = picture(samples, attributes, frame_header(header, frame_number), options.window)
    if options.viewport is not None:
        image = _show(image, options.viewport)
    out = BytesIO()
    if options.media_type == JPEG:
        image.save(out, "JPEG", quality=options.quality)
    else:
        image.save(out, _PILLOW_FORMATS[options.media_type])
    return out.getvalue()


def picture(
    samples: NDArray[Any], attributes: ImageAttributes, header: Dataset, window: Window | None
) -> Image.Image:
    """Return the frame as an 8-bit grayscale or RGB image of its own size."""
    photometric = attributes.photometric_interpretation
    if attributes.samples_per_pixel == 1 and photometric == "PALETTE COLOR":
        return Image.fromarray(_palette(samples, header), "RGB")
    if attributes.samples_per_pixel == 1:
        return Image.fromarray(to_display(samples, attributes, header, window), "L")
    if attributes.samples_per_pixel != 3:
        raise CannotProcess("an image with this number of samples a pixel cannot be shown")
    colours = _eight_bit(samples, attributes)
    if photometric.startswith("YBR") and photometric not in ("YBR_RCT", "YBR_ICT"):
        return Image.fromarray(colours, "YCbCr").convert("RGB")
    return Image.fromarray(colours, "RGB")


def _palette(samples: NDArray[Any], header: Dataset) -> NDArray[np.uint8]:
    try:
        colours = apply_color_lut(samples, header)
    except Exception as error:
        # Missing or malformed palettes make pydicom raise whatever its parts raise.
        raise CannotProcess("the image's palette is missing or damaged") from error
    if colours.dtype == np.uint8:
        return np.ascontiguousarray(colours[..., :3])
    bits = int(header.RedPaletteColorLookupTableDescriptor[2])
    return np.ascontiguousarray(colours[..., :3] >> max(bits - 8, 0)).astype(np.uint8)


def _eight_bit(samples: NDArray[Any], attributes: ImageAttributes) -> NDArray[np.uint8]:
    if samples.dtype == np.uint8:
        return np.ascontiguousarray(samples)
    if np.issubdtype(samples.dtype, np.floating):
        raise CannotProcess("a colour image of floating point samples cannot be shown")
    return np.ascontiguousarray(samples >> max(attributes.bits_stored - 8, 0)).astype(np.uint8)


def _show(image: Image.Image, viewport: Viewport) -> Image.Image:
    if viewport.source is not None:
        x, y, width, height = viewport.source
        # What lies outside the frame is left out: a picture is never larger than its frame asks for.
        left, right = (round(min(max(edge, 0), image.width)) for edge in sorted((x, x + width)))
        upper, lower = (round(min(max(edge, 0), image.height)) for edge in sorted((y, y + height)))
        if left == right or upper == lower:
            raise BadRequest("the viewport shows nothing of the frame")
        image = image.crop((left, upper, right, lower))
        if width < 0:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if height < 0:
            image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    scale = min(viewport.width / image.width, viewport.height / image.height)
    size = (
        min(max(1, round(image.width * scale)), _MAXIMUM_SIDE),
        min(max(1, round(image.height * scale)), _MAXIMUM_SIDE),
    )
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)
