"""The query parameters of rendered resources (PS3.18 8.3.5), read and bounded."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gantry_dicom.errors import BadRequest
from gantry_imaging.annotations import ANNOTATIONS
from gantry_imaging.colour_profiles import NO_PROFILE, PROFILE_CHOICES
from gantry_imaging.geometry import MAXIMUM_SIDE, Region, Viewport
from gantry_imaging.grayscale import FUNCTIONS, Window
from gantry_imaging.picture_files import TYPES_WITH_PROFILE
from gantry_imaging.render import DEFAULT_QUALITY, RenderOptions

_QUALITY = re.compile(r"[1-9][0-9]?|100")
# PS3.18 8.3.5.1.4: the names in a query, and the defined terms of VOI LUT Function.
_FUNCTION_NAMES = {function.lower().replace("_", "-"): function for function in FUNCTIONS}
# A picture larger than this in all would take a worker's whole time.
_MAXIMUM_PIXELS = 32 << 20


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """How pictures were asked for, whatever media type they come in; ``warnings`` is what was left out."""

    quality: int
    window: Window | None
    viewport: Viewport | None
    icc_profile: str
    annotations: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def options(self, media_type: str) -> RenderOptions:
        """Return the options of one picture; raises ``BadRequest`` where the type has no ICC profile."""
        if self.icc_profile != NO_PROFILE and media_type not in TYPES_WITH_PROFILE:
            raise BadRequest(f"{media_type} pictures are given without an ICC profile")
        return RenderOptions(
            media_type=media_type,
            quality=self.quality,
            window=self.window,
            viewport=self.viewport,
            icc_profile=self.icc_profile,
            annotations=self.annotations,
        )


def parse_render_request(parameters: Mapping[str, str]) -> RenderRequest:
    """Return what the parameters ask for; raises ``BadRequest`` for one that makes no sense."""
    annotations, warnings = _annotations(parameters.get("annotation"))
    return RenderRequest(
        quality=_quality(parameters.get("quality")),
        window=_window(parameters.get("window")),
        viewport=_viewport(parameters.get("viewport")),
        icc_profile=_icc_profile(parameters.get("iccprofile")),
        annotations=annotations,
        warnings=warnings,
    )


def parse_thumbnail_viewport(text: str | None, default: Viewport) -> Viewport:
    """Return the size of a thumbnail, which has no source region (PS3.18 8.3.5.2); raises ``BadRequest``."""
    viewport = _viewport(text) or default
    if viewport.source is not None:
        raise BadRequest("the viewport of a thumbnail is a width and a height")
    return viewport


def _quality(text: str | None) -> int:
    if text is None:
        return DEFAULT_QUALITY
    if _QUALITY.fullmatch(text) is None:
        raise BadRequest("quality is a number from 1 to 100")
    return int(text)


def _window(text: str | None) -> Window | None:
    if text is None:
        return None
    try:
        center, width, function = text.split(",")
        return Window(float(center), float(width), _FUNCTION_NAMES[function.strip().lower()])
    except (ValueError, KeyError) as error:
        raise BadRequest("window is centre, width and linear, linear-exact or sigmoid") from error


def _icc_profile(text: str | None) -> str:
    choice = NO_PROFILE if text is None else text.strip().lower()
    if choice not in PROFILE_CHOICES:
        raise BadRequest(f"iccprofile is one of {', '.join(PROFILE_CHOICES)}")
    return choice


def _annotations(text: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the known keywords in a fixed order, and a warning when there are others."""
    asked = {word.strip().lower() for word in (text or "").split(",") if word.strip()}
    known = tuple(word for word in ANNOTATIONS if word in asked)
    if len(known) == len(asked):
        return known, ()
    return known, (f"annotations other than {' and '.join(ANNOTATIONS)} are not known and were left out",)


def _viewport(text: str | None) -> Viewport | None:
    if text is None:
        return None
    numbers = _numbers(text)
    if len(numbers) not in (2, 6) or None in numbers[:2]:
        raise BadRequest("viewport is width, height and optionally x, y, width and height of the source")
    width, height = (int(number or 0) for number in numbers[:2])
    if not (1 <= width <= MAXIMUM_SIDE and 1 <= height <= MAXIMUM_SIDE and width * height <= _MAXIMUM_PIXELS):
        raise BadRequest("the viewport is too small or too large")
    if len(numbers) == 2:
        return Viewport(width, height)
    x, y, source_width, source_height = numbers[2:]
    if 0 in (source_width, source_height) or (x or 0) < 0 or (y or 0) < 0:
        raise BadRequest("the source region of the viewport is empty or begins outside of the image")
    return Viewport(width, height, Region(x or 0.0, y or 0.0, source_width, source_height))


def _numbers(text: str) -> Sequence[float | None]:
    try:
        numbers = [float(item) if item.strip() else None for item in text.split(",")]
    except ValueError as error:
        raise BadRequest("viewport is a list of numbers") from error
    if not all(math.isfinite(number) for number in numbers if number is not None):
        raise BadRequest("viewport is a list of finite numbers")
    return numbers
