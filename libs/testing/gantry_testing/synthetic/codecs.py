"""One frame to and from a codestream, by imagecodecs alone, without the product's code."""

from __future__ import annotations

import itertools
import struct
from dataclasses import replace

import imagecodecs
import numpy as np
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from gantry_testing.synthetic.plans import PixelPlan, Pixels, SampleKind

LOSSY = frozenset({JPEGBaseline8Bit, JPEG2000, HTJ2K, JPEGLSNearLossless})
COMPRESSED: tuple[str, ...] = (
    RLELossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
    HTJ2KLossless,
    HTJ2K,
)


def supports(transfer_syntax_uid: str, plan: PixelPlan) -> bool:
    """Tell whether frames of ``plan`` can be encoded in this compressed transfer syntax."""
    if plan.kind not in {SampleKind.UNSIGNED_8, SampleKind.UNSIGNED_16, SampleKind.SIGNED_16}:
        return transfer_syntax_uid == RLELossless and plan.kind is SampleKind.UNSIGNED_32
    match transfer_syntax_uid:
        case _ if transfer_syntax_uid == JPEGBaseline8Bit:
            return plan.kind is SampleKind.UNSIGNED_8
        case _ if transfer_syntax_uid == JPEGLosslessSV1:
            return plan.samples == 1
        case _ if transfer_syntax_uid == JPEGLSNearLossless:
            return plan.kind is SampleKind.UNSIGNED_8
    return transfer_syntax_uid in COMPRESSED


def compressed_plan(plan: PixelPlan, transfer_syntax_uid: str) -> PixelPlan:
    """Return ``plan`` with what the transfer syntax prescribes for its description (PS3.5 8.2)."""
    if transfer_syntax_uid not in COMPRESSED:
        return plan
    if transfer_syntax_uid in {JPEGLSLossless, JPEGLSNearLossless, JPEGLosslessSV1}:
        # The encoders used here write the cell's width as precision.
        plan = replace(plan, bits_stored=plan.kind.bits_allocated)
    if plan.samples == 1:
        return plan
    photometrics: dict[str, str] = {
        JPEGBaseline8Bit: "YBR_FULL_422",
        JPEG2000Lossless: "YBR_RCT",
        HTJ2KLossless: "YBR_RCT",
        JPEG2000: "YBR_ICT",
        HTJ2K: "YBR_ICT",
    }
    photometric = photometrics.get(transfer_syntax_uid, plan.photometric)
    return replace(plan, photometric=photometric, planar=1 if transfer_syntax_uid == RLELossless else 0)


def encode_frame(pixels: Pixels, plan: PixelPlan, transfer_syntax_uid: str) -> bytes:
    """Return the codestream of one frame. Raises ``ValueError`` for a syntax not made here."""
    pixels = np.ascontiguousarray(pixels)
    match transfer_syntax_uid:
        case _ if transfer_syntax_uid == RLELossless:
            return _encode_rle(pixels)
        case _ if transfer_syntax_uid == JPEGBaseline8Bit:
            subsampling = "422" if plan.samples == 3 else None
            return bytes(imagecodecs.jpeg8_encode(pixels, level=95, subsampling=subsampling))
        case _ if transfer_syntax_uid == JPEGLosslessSV1:
            return bytes(imagecodecs.ljpeg_encode(_unsigned(pixels)))
        case _ if transfer_syntax_uid == JPEGLSLossless:
            return bytes(imagecodecs.jpegls_encode(_unsigned(pixels)))
        case _ if transfer_syntax_uid == JPEGLSNearLossless:
            return bytes(imagecodecs.jpegls_encode(pixels, level=2))
        case _ if transfer_syntax_uid == JPEG2000Lossless:
            return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True))
        case _ if transfer_syntax_uid == JPEG2000:
            return bytes(imagecodecs.jpeg2k_encode(pixels, level=80, codecformat="j2k", reversible=False))
        case _ if transfer_syntax_uid == HTJ2KLossless:
            return bytes(imagecodecs.htj2k_encode(pixels, reversible=True))
        case _ if transfer_syntax_uid == HTJ2K:
            return bytes(imagecodecs.htj2k_encode(pixels, level=0.001, reversible=False))
    raise ValueError(f"no encoder for {transfer_syntax_uid}")


def decode_frame(data: bytes, plan: PixelPlan, transfer_syntax_uid: str) -> Pixels:
    """Return the frame in one codestream, as RGB where it is colour."""
    match transfer_syntax_uid:
        case _ if transfer_syntax_uid == RLELossless:
            return _decode_rle(data, plan)
        case _ if transfer_syntax_uid == JPEGBaseline8Bit:
            return np.asarray(imagecodecs.jpeg8_decode(data))
        case _ if transfer_syntax_uid == JPEGLosslessSV1:
            return _signed_as(np.asarray(imagecodecs.jpegsof3_decode(data)), plan)
        case _ if transfer_syntax_uid in {JPEGLSLossless, JPEGLSNearLossless}:
            return _signed_as(np.asarray(imagecodecs.jpegls_decode(data)), plan)
        case _ if transfer_syntax_uid in {JPEG2000, JPEG2000Lossless}:
            return np.asarray(imagecodecs.jpeg2k_decode(data))
        case _ if transfer_syntax_uid in {HTJ2K, HTJ2KLossless}:
            return np.asarray(imagecodecs.htj2k_decode(data))
    raise ValueError(f"no decoder for {transfer_syntax_uid}")


def _unsigned(pixels: Pixels) -> Pixels:
    # JPEG and JPEG-LS know no sign: the cell's bits are coded as they are.
    return pixels.view(np.uint16) if pixels.dtype == np.int16 else pixels


def _signed_as(pixels: Pixels, plan: PixelPlan) -> Pixels:
    return pixels.view(np.int16) if plan.signed else pixels


def _segments(pixels: Pixels) -> list[Pixels]:
    """Return the byte planes of PS3.5 G.2: by sample, most significant byte first."""
    samples = pixels.reshape(pixels.shape[0] * pixels.shape[1], -1)
    size = pixels.dtype.itemsize
    planes = samples.astype(pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(len(samples), -1, size)
    return [planes[:, sample, byte] for sample in range(planes.shape[1]) for byte in range(size)]


def _encode_rle(pixels: Pixels) -> bytes:
    columns = pixels.shape[1]
    segments = []
    for plane in _segments(pixels):
        rows = plane.reshape(-1, columns)
        packed = b"".join(bytes(imagecodecs.packbits_encode(row.tobytes())) for row in rows)
        segments.append(packed + b"\0" * (len(packed) % 2))
    offsets = [64]
    for segment in segments[:-1]:
        offsets.append(offsets[-1] + len(segment))
    header = struct.pack("<16L", len(segments), *offsets, *([0] * (15 - len(offsets))))
    return header + b"".join(segments)


def _decode_rle(data: bytes, plan: PixelPlan) -> Pixels:
    count, *offsets = struct.unpack("<16L", data[:64])
    bounds = [*offsets[:count], len(data)]
    size = plan.rows * plan.columns
    planes = [
        np.frombuffer(bytes(imagecodecs.packbits_decode(data[a:b]))[:size], np.uint8)
        for a, b in itertools.pairwise(bounds)
    ]
    cells = np.stack(planes, axis=-1).reshape(size, plan.samples, plan.kind.dtype.itemsize)
    samples = np.ascontiguousarray(cells).view(plan.kind.dtype.newbyteorder(">")).astype(plan.kind.dtype)
    shape = (plan.rows, plan.columns) if plan.samples == 1 else (plan.rows, plan.columns, plan.samples)
    return samples.reshape(shape)
