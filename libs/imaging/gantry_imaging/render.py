"""Rendered images: frames as pictures (PS3.18 8.3.5, 8.7.4; PS3.4 N.2).

The order is the pipeline's: grayscale or colour, shutters and overlays, what a presentation
state does to the shape, then the region and size asked for, and annotations on the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from gantry_imaging.annotations import annotated
from gantry_imaging.attributes import ImageAttributes
from gantry_imaging.colour import to_rgb
from gantry_imaging.colour_profiles import NO_PROFILE, with_profile
from gantry_imaging.functional_groups import frame_header
from gantry_imaging.geometry import Viewport, shown_in
from gantry_imaging.grayscale import Window, display_values, read_transforms, stored_values
from gantry_imaging.palette import has_palette, read_palette
from gantry_imaging.picture_files import JPEG, encode, encode_animation
from gantry_imaging.presentation_states import Presentation, read_presentation
from gantry_imaging.presenting import presented, with_planes

DEFAULT_QUALITY = 90
# Without any statement of speed, ten frames a second.
_DEFAULT_FRAME_MS = 100.0
_SLOWEST_FRAME_MS = 60_000.0


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How frames are to be shown."""

    media_type: str = JPEG
    quality: int = DEFAULT_QUALITY
    window: Window | None = None
    viewport: Viewport | None = None
    icc_profile: str = NO_PROFILE
    annotations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded frame: its samples, its number (from 1) and what the samples are.

    ``photometric`` is the photometric interpretation of the samples as decoded.
    """

    samples: NDArray[Any]
    number: int
    photometric: str


def render_frame(
    frame: Frame,
    attributes: ImageAttributes,
    header: Dataset,
    options: RenderOptions,
    state: Dataset | None = None,
) -> bytes:
    """Return a frame as a picture of ``options.media_type``, as presentation state ``state`` has it.

    Raises ``CannotProcess`` for a frame that cannot be shown and ``BadRequest`` for options that
    show nothing of it.
    """
    own_header = frame_header(header, frame.number)
    image, profile = with_profile(
        _shown(frame, attributes, own_header, options, state), own_header, options.icc_profile
    )
    return encode(image, options.media_type, options.quality, profile)


def render_animation(
    frames: Iterator[Frame],
    attributes: ImageAttributes,
    header: Dataset,
    options: RenderOptions,
    frame_ms: Sequence[float],
    state: Dataset | None = None,
) -> bytes:
    """Return frames as one animated GIF, each shown for its number of milliseconds."""
    images = [
        _shown(frame, attributes, frame_header(header, frame.number), options, state) for frame in frames
    ]
    return encode_animation(images, frame_ms)


def frame_durations(header: Dataset, count: int) -> list[float]:
    """Return how many milliseconds each frame of a multi-frame image is shown (PS3.3 C.7.6.5)."""
    times = _numbers(header, "FrameTimeVector")
    if len(times) == count > 1:
        # The first entry is the time before the first frame, which plays no part.
        steps = [*times[1:], times[-1]]
    else:
        rates = _numbers(header, "RecommendedDisplayFrameRate") or _numbers(header, "CineRate")
        fixed = _numbers(header, "FrameTime") or [1000 / rate for rate in rates if rate > 0]
        steps = [fixed[0] if fixed else _DEFAULT_FRAME_MS] * count
    return [min(step, _SLOWEST_FRAME_MS) if step > 0 else _DEFAULT_FRAME_MS for step in steps]


def picture(
    frame: Frame,
    attributes: ImageAttributes,
    header: Dataset,
    window: Window | None,
    presentation: Presentation | None = None,
) -> Image.Image:
    """Return the whole frame as an 8-bit grayscale or RGB image of its own size."""
    if attributes.samples_per_pixel > 1:
        return Image.fromarray(to_rgb(frame.samples, attributes, frame.photometric))
    if frame.photometric == "PALETTE COLOR":
        palette = read_palette(header, signed=attributes.signed)
        return Image.fromarray(palette.apply(_stored(frame.samples, attributes)))
    transforms = read_transforms(header, attributes) if presentation is None else presentation.transforms
    if window is not None:
        transforms = replace(transforms, voi=window)
    shown = display_values(frame.samples, attributes, transforms, header)
    if presentation is not None and presentation.palette is not None:
        return Image.fromarray(presentation.palette.apply_scaled(np.arange(256) / 255)[shown])
    if _has_supplemental_palette(header):
        return _with_supplemental_palette(shown, frame.samples, attributes, header)
    return Image.fromarray(shown)


def _shown(
    frame: Frame,
    attributes: ImageAttributes,
    header: Dataset,
    options: RenderOptions,
    state: Dataset | None,
) -> Image.Image:
    presentation = None
    if state is not None:
        sop_instance_uid = str(header.get("SOPInstanceUID", ""))
        presentation = read_presentation(state, attributes, sop_instance_uid, frame.number)
    image = picture(frame, attributes, header, options.window, presentation)
    image = with_planes(image, frame.samples, attributes, header, frame.number, presentation)
    image = presented(image, header, presentation)
    if options.viewport is not None:
        image = shown_in(image, options.viewport)
    return annotated(image, header, options.annotations)


def _has_supplemental_palette(header: Dataset) -> bool:
    # PS3.3 C.7.6.3.1.2 and C.8.16.2.1.1.1: colour beside monochrome, in the values of the palette.
    return has_palette(header) and str(header.get("PixelPresentation", "")).strip() in ("COLOR", "MIXED")


def _with_supplemental_palette(
    shown: NDArray[np.uint8], samples: NDArray[Any], attributes: ImageAttributes, header: Dataset
) -> Image.Image:
    palette = read_palette(header, signed=attributes.signed)
    stored = _stored(samples, attributes)
    coloured = stored >= palette.first
    colours = np.repeat(shown[..., np.newaxis], 3, axis=2)
    colours[coloured] = palette.apply(stored[coloured])
    return Image.fromarray(colours)


def _stored(samples: NDArray[Any], attributes: ImageAttributes) -> NDArray[Any]:
    """Return integer samples without the bits of their cells that are none of theirs."""
    if samples.dtype.kind not in "iu" or attributes.bits_allocated > 16:
        return samples
    cells = samples.astype(np.int64) >> attributes.low_bits
    return stored_values(attributes).take(cells & ((1 << attributes.bits_stored) - 1))


def _numbers(header: Dataset, keyword: str) -> list[float]:
    value = header.get(keyword)
    try:
        values = [value] if isinstance(value, int | float | str) else list(value or [])
        return [float(number) for number in values]
    except (TypeError, ValueError):
        return []
