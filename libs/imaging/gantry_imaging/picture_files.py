"""Pictures as files of the rendered media types (PS3.18 8.7.4), never more than 8 bits a channel."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from io import BytesIO

import imagecodecs
import numpy as np
from isal import isal_zlib
from PIL import Image

JPEG = "image/jpeg"
PNG = "image/png"
GIF = "image/gif"
JP2 = "image/jp2"
JXL = "image/jxl"
RENDERED_TYPES = (JPEG, PNG, GIF, JP2, JXL)
# Those that hold an ICC profile the way their readers expect.
TYPES_WITH_PROFILE = frozenset({JPEG, PNG})

# isal's fastest level deflates a noisy image twenty times as fast as zlib's, and no worse.
_PNG_LEVEL = 1
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# ISO/IEC 15948 11.2.2: colour types of grayscale and truecolour, by Pillow's mode.
_PNG_COLOUR_TYPES = {"L": 0, "RGB": 2}
_PNG_FILTER_SUB = 1
# Below this many hundredths of a second a frame browsers take 10.
_SHORTEST_FRAME_MS = 20


def encode(image: Image.Image, media_type: str, quality: int, profile: bytes | None = None) -> bytes:
    """Return a grayscale or RGB picture as a file; ``quality`` of 1 to 100 counts where there is loss."""
    if media_type == JPEG and profile is None:
        # Baseline: 8 bits and Huffman tables of the standard.
        return bytes(imagecodecs.jpeg8_encode(np.asarray(image), level=quality))
    if media_type == PNG:
        return _png(image, profile)
    if media_type == JP2:
        level = _decibels(quality)
        return bytes(imagecodecs.jpeg2k_encode(np.asarray(image), level=level, codecformat="jp2"))
    if media_type == JXL:
        return bytes(imagecodecs.jpegxl_encode(np.asarray(image), level=quality, numthreads=1))
    out = BytesIO()
    if media_type == JPEG:
        image.save(out, "JPEG", quality=quality, icc_profile=profile)
    else:
        image.save(out, "GIF")
    return out.getvalue()


def encode_animation(images: Sequence[Image.Image], frame_ms: Sequence[float]) -> bytes:
    """Return pictures as one GIF that plays forever, each for its own number of milliseconds."""
    durations = [max(round(duration / 10) * 10, _SHORTEST_FRAME_MS) for duration in frame_ms]
    out = BytesIO()
    first, *others = [
        image if image.mode == "L" else image.quantize(method=Image.Quantize.FASTOCTREE) for image in images
    ]
    first.save(out, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
    return out.getvalue()


def _png(image: Image.Image, profile: bytes | None) -> bytes:
    pixels = np.atleast_3d(np.asarray(image))
    rows, columns, channels = pixels.shape
    lines = np.empty((rows, 1 + columns * channels), np.uint8)
    lines[:, 0] = _PNG_FILTER_SUB
    differences = lines[:, 1:].reshape(rows, columns, channels)
    differences[:, :1] = pixels[:, :1]
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=differences[:, 1:])
    head = struct.pack(">IIBBBBB", columns, rows, 8, _PNG_COLOUR_TYPES[image.mode], 0, 0, 0)
    chunks = [_chunk(b"IHDR", head)]
    if profile is not None:
        chunks.append(_chunk(b"iCCP", b"ICC profile\0\0" + isal_zlib.compress(profile, _PNG_LEVEL)))
    chunks += [_chunk(b"IDAT", isal_zlib.compress(lines, _PNG_LEVEL)), _chunk(b"IEND", b"")]
    return _PNG_SIGNATURE + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = isal_zlib.crc32(data, isal_zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def _decibels(quality: int) -> int:
    """Return a peak signal-to-noise ratio for a quality; 100 is without loss (0)."""
    return 0 if quality == 100 else 25 + quality * 3 // 10
