"""The grayscale pipeline: stored values to display values (PS3.3 C.11, PS3.4 N.2).

Samples of up to 16 bits go through one table made for all their values, larger and floating
point ones through the same arithmetic a band of rows at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gantry_dicom.errors import BadRequest, CannotProcess
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from gantry_imaging.attributes import ImageAttributes
from gantry_imaging.luts import LookupTable, read_lut

LINEAR = "LINEAR"
LINEAR_EXACT = "LINEAR_EXACT"
SIGMOID = "SIGMOID"
FUNCTIONS = (LINEAR, LINEAR_EXACT, SIGMOID)

_WHITE = 255
_BAND_SAMPLES = 1 << 20
# exp() of more than this is white or black either way.
_STEEPEST = 700.0


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


@dataclass(frozen=True, slots=True)
class Rescale:
    """Modality values are ``slope`` times stored values plus ``intercept`` (PS3.3 C.11.1.1.2)."""

    slope: float
    intercept: float


@dataclass(frozen=True, slots=True)
class GrayscaleTransforms:
    """What leads from stored values to P-values, in this order; ``None`` is the identity.

    Without ``voi`` the values of the frame are spread over the whole scale.
    """

    modality: Rescale | LookupTable | None = None
    voi: Window | LookupTable | None = None
    presentation: LookupTable | None = None
    inverted: bool = False


def read_transforms(frame_header: Dataset, attributes: ImageAttributes) -> GrayscaleTransforms:
    """Return the transforms that a frame's own attributes describe; damaged tables count as absent."""
    modality = read_modality(frame_header, signed=attributes.signed)
    return GrayscaleTransforms(
        modality=modality,
        voi=read_voi(frame_header, signed=attributes.signed or can_be_negative(modality)),
        presentation=_sequence_lut(frame_header, "PresentationLUTSequence", signed=False),
        inverted=is_inverted(attributes, frame_header),
    )


def read_modality(data_set: Dataset, *, signed: bool) -> Rescale | LookupTable | None:
    """Return the Modality LUT or rescale of a data set, if there is one that says something."""
    table = _sequence_lut(data_set, "ModalityLUTSequence", signed=signed)
    if table is not None:
        return table
    slope = _first_number(data_set, "RescaleSlope")
    intercept = _first_number(data_set, "RescaleIntercept")
    if slope in (None, 0) and intercept is None:
        return None
    return Rescale(slope or 1.0, intercept or 0.0)


def read_voi(data_set: Dataset, *, signed: bool) -> Window | LookupTable | None:
    """Return the first VOI LUT, or else the first usable window, of a data set."""
    return _sequence_lut(data_set, "VOILUTSequence", signed=signed) or stored_window(data_set)


def can_be_negative(modality: Rescale | LookupTable | None) -> bool:
    """Tell whether modality values of unsigned samples can be below zero."""
    return isinstance(modality, Rescale) and (modality.intercept < 0 or modality.slope < 0)


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


def to_display(
    samples: NDArray[Any], attributes: ImageAttributes, frame_header: Dataset, window: Window | None
) -> NDArray[np.uint8]:
    """Return 8-bit display values of a grayscale frame, 255 the brightest.

    ``frame_header`` holds the transforms that apply to this frame at its top level. Without
    ``window`` the frame's own VOI LUT or window applies, and without those its range of values.
    """
    transforms = read_transforms(frame_header, attributes)
    if window is not None:
        transforms = replace(transforms, voi=window)
    return display_values(samples, attributes, transforms, frame_header)


def display_values(
    samples: NDArray[Any],
    attributes: ImageAttributes,
    transforms: GrayscaleTransforms,
    frame_header: Dataset,
) -> NDArray[np.uint8]:
    """Return 8-bit display values of a grayscale frame by given transforms, 255 the brightest."""
    if np.issubdtype(samples.dtype, np.floating) or attributes.bits_allocated > 16:
        if transforms.voi is None:
            transforms = replace(transforms, voi=_whole_range(samples, attributes, transforms, frame_header))
        return _in_bands(samples, transforms)
    stored = stored_values(attributes)
    if transforms.voi is None:
        used = samples
        if attributes.bits_stored < attributes.bits_allocated:
            used = _spread(stored, attributes, samples.dtype.itemsize).take(_cells(samples))
        transforms = replace(transforms, voi=_whole_range(used, attributes, transforms, frame_header))
    table = _spread(_shown(stored, transforms), attributes, samples.dtype.itemsize)
    return table.take(_cells(samples))


def stored_values(attributes: ImageAttributes) -> NDArray[np.int32]:
    """Return every value that a sample can have, in the order of its bits."""
    values = np.arange(1 << attributes.bits_stored, dtype=np.int32)
    if attributes.signed:
        values[len(values) // 2 :] -= len(values)
    return values


def _spread(by_value: NDArray[Any], attributes: ImageAttributes, cell_bytes: int) -> NDArray[Any]:
    """Return a table by sample as one by whole cell: bits outside of the sample change nothing."""
    repeated = np.repeat(by_value, 1 << attributes.low_bits) if attributes.low_bits else by_value
    return np.tile(repeated, max((1 << 8 * cell_bytes) // len(repeated), 1))


def _cells(samples: NDArray[Any]) -> NDArray[Any]:
    return samples.view(f"{'<>'[samples.dtype.byteorder == '>']}u{samples.dtype.itemsize}")


def _in_bands(samples: NDArray[Any], transforms: GrayscaleTransforms) -> NDArray[np.uint8]:
    shown = np.empty(samples.shape, np.uint8)
    rows = max(_BAND_SAMPLES // samples.shape[1], 1)
    for start in range(0, len(samples), rows):
        # What is no number is shown as the least.
        band = np.nan_to_num(samples[start : start + rows], nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        shown[start : start + rows] = _shown(band, transforms)
    return shown


def _shown(stored: NDArray[Any], transforms: GrayscaleTransforms) -> NDArray[np.uint8]:
    fractions = _voi(_modality(stored, transforms.modality), transforms.voi)
    if transforms.presentation is not None:
        table = transforms.presentation
        fractions = table.apply_scaled(fractions) / table.maximum
    if transforms.inverted:
        fractions = 1 - fractions
    # Floor of half a step more: exact halves go up, whichever way round the scale is.
    eight_bit: NDArray[np.uint8] = np.floor(np.clip(fractions, 0, 1) * _WHITE + 0.5).astype(np.uint8)
    return eight_bit


def _modality(stored: NDArray[Any], modality: Rescale | LookupTable | None) -> NDArray[Any]:
    if modality is None:
        return stored.astype(np.float64)
    if isinstance(modality, LookupTable):
        return modality.apply(stored).astype(np.float64)
    return stored * modality.slope + modality.intercept


def _voi(values: NDArray[Any], voi: Window | LookupTable | None) -> NDArray[np.float64]:
    """Return fractions of the whole scale; those beyond 0 and 1 are for the caller to clip."""
    if voi is None:
        return np.zeros(values.shape)
    if isinstance(voi, LookupTable):
        return voi.apply(values) / voi.maximum
    if voi.function == SIGMOID:
        exponent = np.clip(-4 * (values - voi.center) / voi.width, -_STEEPEST, _STEEPEST)
        return np.asarray(1 / (1 + np.exp(exponent)))
    if voi.function == LINEAR_EXACT:
        return np.asarray(np.clip((values - voi.center) / voi.width + 0.5, 0, 1))
    if voi.width <= 1:
        return np.where(values <= voi.center - 0.5, 0.0, 1.0)
    return np.asarray(np.clip((values - (voi.center - 0.5)) / (voi.width - 1) + 0.5, 0, 1))


def _whole_range(
    samples: NDArray[Any],
    attributes: ImageAttributes,
    transforms: GrayscaleTransforms,
    frame_header: Dataset,
) -> Window:
    fractional = _first_number(frame_header, "MaximumFractionalValue")
    if isinstance(transforms.modality, LookupTable):
        low, high = 0.0, float(transforms.modality.maximum)
        return Window((low + high) / 2, high - low, LINEAR_EXACT)
    if fractional and str(frame_header.get("SegmentationType", "")) == "FRACTIONAL":
        ends = np.array([0.0, fractional])
    elif attributes.bits_allocated == 1 or (attributes.bits_stored <= 8 and not attributes.signed):
        ends = np.array([0.0, float((1 << attributes.bits_stored) - 1)])
    else:
        shown = _without_padding(samples, frame_header)
        if shown.size == 0:
            return Window(0, 1, LINEAR_EXACT)
        ends = np.array([float(shown.min()), float(shown.max())])
    low, high = sorted(_modality(ends, transforms.modality).tolist())
    return Window((low + high) / 2, max(high - low, 1e-6), LINEAR_EXACT)


def _without_padding(samples: NDArray[Any], frame_header: Dataset) -> NDArray[Any]:
    """Return the samples that are neither padding (PS3.3 C.7.5.1.1.2) nor no numbers."""
    shown = samples[np.isfinite(samples)] if np.issubdtype(samples.dtype, np.floating) else samples
    padding = _first_number(frame_header, "PixelPaddingValue")
    if padding is None:
        return shown
    limit = _first_number(frame_header, "PixelPaddingRangeLimit")
    low, high = sorted((padding, padding if limit is None else limit))
    inside = shown[(shown < low) | (shown > high)]
    return inside if inside.size else shown


def _sequence_lut(data_set: Dataset, keyword: str, *, signed: bool) -> LookupTable | None:
    items = data_set.get(keyword)
    if not items:
        return None
    try:
        return read_lut(items[0], signed=signed)
    except CannotProcess:
        return None


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
