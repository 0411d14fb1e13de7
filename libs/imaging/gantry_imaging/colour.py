"""Colour images of any photometric interpretation to 8-bit RGB (PS3.3 C.7.6.3.1.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from gantry_dicom.errors import CannotProcess
from numpy.typing import NDArray
from PIL import Image

from gantry_imaging.attributes import ImageAttributes

_JPEG_SYNTAXES = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55))
# The decoders of these undo the codestream's own component transform.
_DECODED_TO_RGB = frozenset({"YBR_RCT", "YBR_ICT", "XYB"})
_SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA


def to_rgb(samples: NDArray[Any], attributes: ImageAttributes, photometric: str) -> NDArray[np.uint8]:
    """Return a frame of three or four samples a pixel as (rows, columns, 3) of 8 bits, RGB.

    ``photometric`` is what the samples are, which may be other than the header's word. Raises
    ``CannotProcess`` for samples that make no colour.
    """
    eight_bit = _eight_bit(samples, attributes)
    if attributes.samples_per_pixel == 4:
        if photometric == "ARGB":
            return np.ascontiguousarray(eight_bit[..., 1:])
        if photometric == "CMYK":
            return np.asarray(Image.fromarray(eight_bit, "CMYK").convert("RGB"))
    if attributes.samples_per_pixel != 3:
        raise CannotProcess("an image with this number of samples a pixel cannot be shown")
    if photometric == "HSV":
        return np.asarray(Image.fromarray(eight_bit, "HSV").convert("RGB"))
    if not photometric.startswith("YBR") or photometric in _DECODED_TO_RGB:
        return eight_bit
    if photometric.startswith("YBR_PARTIAL"):
        eight_bit = _full_range(eight_bit)
    return np.asarray(Image.fromarray(eight_bit, "YCbCr").convert("RGB"))


def coded_photometric(attributes: ImageAttributes, frame: bytes, transfer_syntax_uid: str) -> str:
    """Return the photometric interpretation of a decoded frame.

    A JPEG stream that says for itself what its components are is believed before the header,
    because the wrong word in the header is common and every decoder goes by the stream.
    """
    if transfer_syntax_uid in _JPEG_SYNTAXES and attributes.samples_per_pixel == 3:
        return _jpeg_colours(frame) or attributes.photometric_interpretation
    return attributes.photometric_interpretation


def _jpeg_colours(frame: bytes) -> str | None:
    """Return ``RGB`` or ``YBR_FULL`` when a JPEG stream says so, by JFIF, Adobe marker or names."""
    position = frame.find(b"\xff\xd8") + 2
    while 2 <= position <= len(frame) - 4:
        marker = frame[position + 1]
        if frame[position] != 0xFF or marker == _START_OF_SCAN:
            return None
        length = int.from_bytes(frame[position + 2 : position + 4], "big")
        segment = frame[position + 4 : position + 2 + length]
        if marker == 0xE0 and segment.startswith(b"JFIF\0"):
            return "YBR_FULL"
        if marker == 0xEE and segment.startswith(b"Adobe") and len(segment) >= 12:
            return "YBR_FULL" if segment[11] == 1 else "RGB"
        if marker in _SOF_MARKERS:
            named = segment[6::3]
            return "RGB" if named == b"RGB" else None
        position += 2 + length
    return None


def _eight_bit(samples: NDArray[Any], attributes: ImageAttributes) -> NDArray[np.uint8]:
    if np.issubdtype(samples.dtype, np.floating):
        raise CannotProcess("a colour image of floating point samples cannot be shown")
    if samples.dtype == np.uint8 and attributes.bits_stored == 8:
        return np.ascontiguousarray(samples)
    stored = (samples >> attributes.low_bits) & ((1 << attributes.bits_stored) - 1)
    if attributes.bits_stored >= 8:
        return np.ascontiguousarray(stored >> (attributes.bits_stored - 8)).astype(np.uint8)
    most = (1 << attributes.bits_stored) - 1
    return np.ascontiguousarray(stored.astype(np.uint16) * 255 // most).astype(np.uint8)


def _full_range(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return YBR_PARTIAL samples (luma 16 to 235, chroma 16 to 240) over the whole of 8 bits."""
    levels = np.arange(256)
    luma = np.clip(np.rint((levels - 16) * (255 / 219)), 0, 255).astype(np.uint8)
    chroma = np.clip(np.rint((levels - 128) * (255 / 224) + 128), 0, 255).astype(np.uint8)
    full = np.empty_like(samples)
    full[..., 0] = luma[samples[..., 0]]
    full[..., 1:] = chroma[samples[..., 1:]]
    return full
