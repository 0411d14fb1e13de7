"""The grayscale pipeline: stored values to display values (PS3.3 C.11, PS3.4 N.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gantry_dicom.errors import BadRequest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from gantry_imaging.attributes import ImageAttributes

LINEAR = "LINEAR"
LINEAR_EXACT = "LINEAR_EXACT"
SIGMOID = "SIGMOID"
FUNCTIONS = (LINEAR, LINEAR_EXACT, SIGMOID)

_WHITE = 255.0


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window in modality units (PS3.3 C.11.2.1.2)."""

    center: float
    width: float
    function: str = LINEAR

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise BadRequest(f"a window function is one of {', '.join(FUNCTIONS)}")
        if not np.isfinite([self.center, self.width]).all():
            raise BadRequest("window centre and width must be finite numbers")
        if self.width < (1 if self.function == LINEAR else 0) or self.width == 0:
            raise BadRequest("the window width is too small for its function")


def to_display(
    samples: NDArray[Any], attributes: ImageAttributes, frame_header: Dataset, window: Window | None
) -> NDArray[np.uint8]:
    """Return 8-bit display values of a grayscale frame, 255 the brightest.

    ``frame_header`` holds the transforms that apply to this frame at its top level. Without
    ``window`` the frame's own VOI LUT or window applies, and without those its range of values.
    """
    values = _modality(samples, frame_header)
    if window is None and "VOILUTSequence" in frame_header:
        display = _stretch(np.asarray(apply_voi(values, frame_header), np.float32))
    else:
        chosen = (
            window or stored_window(frame_header) or _whole_range(samples, values, attributes, frame_header)
        )
        display = _windowed(values, chosen)
    eight_bit: NDArray[np.uint8] = np.clip(display + 0.5, 0, _WHITE).astype(np.uint8)
    return np.invert(eight_bit) if is_inverted(attributes, frame_header) else eight_bit


def is_inverted(attributes: ImageAttributes, frame_header: Dataset) -> bool:
    """Tell whether the smallest value is white.

    Once, after the window (PS3.3 C.7.6.3.1.2): MONOCHROME1, or a Presentation LUT Shape
    INVERSE. When MONOCHROME1 comes with the contradictory shape IDENTITY, the photometric
    interpretation decides, because viewers that know no presentation LUT go by it.
    """
    shape = str(frame_header.get("PresentationLUTShape", "") or "").strip()
    return attributes.photometric_interpretation == "MONOCHROME1" or shape == "INVERSE"


def stored_window(frame_header: Dataset) -> Window | None:
    """Return the first window of the header, unless it is none (a width of 0, text, missing)."""
    center = _first_number(frame_header, "WindowCenter")
    width = _first_number(frame_header, "WindowWidth")
    if center is None or width is None:
        return None
    function = str(frame_header.get("VOILUTFunction", "") or LINEAR).strip()
    try:
        return Window(center, width, function if function in FUNCTIONS else LINEAR)
    except BadRequest:
        return None


def _modality(samples: NDArray[Any], frame_header: Dataset) -> NDArray[Any]:
    if "ModalityLUTSequence" in frame_header:
        return apply_modality_lut(samples, frame_header)
    slope = _first_number(frame_header, "RescaleSlope")
    intercept = _first_number(frame_header, "RescaleIntercept")
    if slope in (None, 0) and intercept is None:
        return samples
    return samples.astype(np.float32) * np.float32(slope or 1) + np.float32(intercept or 0)


def _windowed(values: NDArray[Any], window: Window) -> NDArray[np.float32]:
    x = values.astype(np.float32)
    center, width = np.float32(window.center), np.float32(window.width)
    if window.function == SIGMOID:
        return np.asarray(_WHITE / (1 + np.exp(-4 * (x - center) / width)), np.float32)
    if window.function == LINEAR_EXACT:
        return np.asarray(((x - center) / width + 0.5) * _WHITE, np.float32)
    if width <= 1:
        return np.where(x <= center - 0.5, np.float32(0), np.float32(_WHITE))
    return np.asarray(((x - (center - 0.5)) / (width - 1) + 0.5) * _WHITE, np.float32)


def _whole_range(
    samples: NDArray[Any], values: NDArray[Any], attributes: ImageAttributes, frame_header: Dataset
) -> Window:
    if attributes.bits_allocated == 1 or (attributes.bits_stored <= 8 and not attributes.signed):
        low, high = 0.0, float((1 << attributes.bits_stored) - 1)
    else:
        shown = values[np.isfinite(values)] if np.issubdtype(values.dtype, np.floating) else values
        padding = frame_header.get("PixelPaddingValue")
        if isinstance(padding, int) and shown.shape == samples.shape:
            inside = samples != padding
            shown = shown[inside] if inside.any() else shown
        if shown.size == 0:
            return Window(0, 1, LINEAR_EXACT)
        low, high = float(shown.min()), float(shown.max())
    return Window((low + high) / 2, max(high - low, 1e-6), LINEAR_EXACT)


def _stretch(values: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros_like(values)
    return (values - low) * np.float32(_WHITE / (high - low))


def _first_number(frame_header: Dataset, keyword: str) -> float | None:
    value = frame_header.get(keyword)
    if value is None or value == "":
        return None
    try:
        first = value[0] if not isinstance(value, str) and hasattr(value, "__getitem__") else value
        number = float(first)
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None
