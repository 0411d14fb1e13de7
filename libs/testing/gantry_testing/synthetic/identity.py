"""Pixels that say which frame they are.

A frame drawn here carries, in its upper left corner, a code of 16 x 12 square cells: 192
bits that name the study, series, instance, frame number and sample, guarded by a CRC. The
rest of the frame is a fixed phantom to whose every row an offset is added that follows from
the same 192 bits. So a frame is a function of its identity, and ``read_identity`` checks the
whole of it: it reads the code, draws the frame that the code promises and compares.

What shows: another frame, study or instance (the numbers), a swapped plane or wrong planar
configuration (the sample number), a wrong sign or byte order (the two levels of the code are
neither of them after such a mistake), rows or tiles mixed from two frames, shifted, mirrored
or cut (the comparison).
"""

from __future__ import annotations

import functools
import hashlib
import struct
import zlib
from dataclasses import dataclass, replace

import numpy as np
from gantry_dicom.errors import CannotProcess

from gantry_testing.synthetic.plans import PixelPlan, Pixels, SampleKind

CODE_COLUMNS = 16
CODE_ROWS = 12
_MAGIC = 0xA7
_PAYLOAD = struct.Struct(">BBBBIIII")

# Low and high level of the code: no level is another one with its bytes swapped, its sign
# misread or its bits inverted.
_LEVELS: dict[SampleKind, tuple[float, float]] = {
    SampleKind.BIT: (0, 1),
    SampleKind.UNSIGNED_8: (18, 233),
    SampleKind.UNSIGNED_16: (0x0102, 0x0305),
    SampleKind.SIGNED_16: (-513, 0x0305),
    SampleKind.UNSIGNED_32: (0x01020304, 0x0A0B0C0D),
    SampleKind.FLOAT_32: (0.25, 1.5),
    SampleKind.FLOAT_64: (0.25, 1.5),
}
_KINDS = tuple(SampleKind)
# Lossy codecs: how far a cell's mean may be off, in parts of the distance of the levels, and how far
# the mean of a row, in parts of the frame's range.
_CELL_TOLERANCE = 0.25
_FRAME_TOLERANCE = 0.07


class IdentityMismatch(CannotProcess):
    """The pixels are not those of any one frame that was drawn."""


@dataclass(frozen=True, slots=True)
class FrameIdentity:
    """Which frame it is: 32-bit digests of the three UIDs, and the frame number from 1."""

    study: int
    series: int
    instance: int
    frame: int

    @classmethod
    def of(cls, study_uid: str, series_uid: str, sop_uid: str, frame: int = 1) -> FrameIdentity:
        """Return the identity of a frame of the instance with these UIDs."""
        return cls(_digest(study_uid), _digest(series_uid), _digest(sop_uid), frame)


def _digest(uid: str) -> int:
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big")


def draw_frame(identity: FrameIdentity, plan: PixelPlan) -> Pixels:
    """Return the frame of ``identity``: (rows, columns) or (rows, columns, samples).

    Raises ``ValueError`` when a frame is too small for the code (16 columns, 12 rows).
    """
    if plan.columns < CODE_COLUMNS or plan.rows < CODE_ROWS:
        raise ValueError(f"{plan.rows} rows and {plan.columns} columns have no room for the code")
    planes = [_draw_plane(identity, plan, sample) for sample in range(plan.samples)]
    return planes[0] if plan.samples == 1 else np.stack(planes, axis=-1)


def read_identity(pixels: Pixels, *, bits_stored: int | None = None, lossy: bool = False) -> FrameIdentity:
    """Return whose frame ``pixels`` is, after comparing every sample with what it should be.

    ``pixels`` is (rows, columns) or (rows, columns, samples) as decoded. ``bits_stored``,
    when given, must be what the frame was drawn with. ``lossy`` allows for what JPEG does
    to a frame; it needs frames of at least 256 columns.
    Raises ``IdentityMismatch`` and says what is wrong.
    """
    planes = [pixels] if pixels.ndim == 2 else [pixels[..., n] for n in range(pixels.shape[-1])]
    read = [_read_code(plane, lossy=lossy) for plane in planes]
    identity, plan, _ = read[0]
    for n, (other, other_plan, sample) in enumerate(read):
        if sample != n:
            raise IdentityMismatch(f"plane {n} holds sample {sample}")
        if other != identity or other_plan != plan:
            raise IdentityMismatch(f"plane {n} is of {other}, plane 0 of {identity}")
    if plan.samples != len(planes):
        raise IdentityMismatch(f"{len(planes)} planes of a frame of {plan.samples} samples")
    if bits_stored is not None and bits_stored != plan.bits_stored:
        raise IdentityMismatch(f"drawn with {plan.bits_stored} bits stored, not {bits_stored}")
    _compare(pixels, draw_frame(identity, plan), plan, lossy=lossy)
    return identity


def _payload(identity: FrameIdentity, plan: PixelPlan, sample: int) -> bytes:
    kind = _KINDS.index(plan.kind) << 4 | plan.samples
    body = _PAYLOAD.pack(
        _MAGIC,
        kind,
        plan.bits_stored,
        sample,
        identity.study,
        identity.series,
        identity.instance,
        identity.frame,
    )
    return body + zlib.crc32(body).to_bytes(4, "big")


def _draw_plane(identity: FrameIdentity, plan: PixelPlan, sample: int) -> Pixels:
    payload = _payload(identity, plan, sample)
    offsets = np.frombuffer(hashlib.shake_128(payload).digest(plan.rows), np.uint8)
    base = _phantom(plan.rows, plan.columns, plan.kind, plan.bits_stored, sample)
    plane: Pixels
    if plan.kind is SampleKind.BIT:
        plane = base ^ (offsets & 1)[:, None]
    else:
        plane = base + (offsets & 15).astype(base.dtype)[:, None]
    cell = _cell(plan.rows, plan.columns)
    bits = np.unpackbits(np.frombuffer(payload, np.uint8)).reshape(CODE_ROWS, CODE_COLUMNS)
    low, high = _LEVELS[plan.kind]
    code = np.where(bits, np.array(high, base.dtype), np.array(low, base.dtype))
    plane[: CODE_ROWS * cell, : CODE_COLUMNS * cell] = code.repeat(cell, axis=0).repeat(cell, axis=1)
    return plane


def _cell(rows: int, columns: int) -> int:
    """Return the side of a cell: the code covers at most half of the width and of the height if it can."""
    return max(1, min(8, columns // (2 * CODE_COLUMNS), rows // (2 * CODE_ROWS)))


@functools.lru_cache(maxsize=64)
def _phantom(rows: int, columns: int, kind: SampleKind, bits_stored: int, sample: int) -> Pixels:
    """Return a body in section without any symmetry, scaled to the kind's range less the offsets'."""
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    y, x = y / rows - 0.5, x / columns - 0.5
    picture = np.zeros((rows, columns), np.float32)
    picture[(x / 0.44) ** 2 + (y / 0.36) ** 2 < 1] = 0.35
    for n in range(7):
        angle = 1.1 * n + 0.7 * sample
        inside = (x - 0.26 * np.cos(angle)) ** 2 + (y - 0.2 * np.sin(1.3 * angle)) ** 2 < (
            0.03 + 0.012 * n
        ) ** 2
        picture[inside] = 0.1 + 0.12 * n
    picture += 0.05 * (x + 0.5) + 0.1 * (y + 0.5)
    picture /= picture.max()
    match kind:
        case SampleKind.BIT:
            return np.asarray(picture > 0.35, np.uint8)
        case SampleKind.SIGNED_16:
            scale, start = 2.0**bits_stored - 17, -(2.0 ** (bits_stored - 1))
        case SampleKind.FLOAT_32 | SampleKind.FLOAT_64:
            scale, start = 100.0, 0.0
        case _:
            scale, start = 2.0**bits_stored - 17, 0.0
    return np.asarray(picture.astype(np.float64) * scale + start, kind.dtype)


def _read_code(plane: Pixels, *, lossy: bool) -> tuple[FrameIdentity, PixelPlan, int]:
    rows, columns = plane.shape
    cell = _cell(rows, columns)
    if rows < CODE_ROWS or columns < CODE_COLUMNS:
        raise IdentityMismatch(f"{rows} rows and {columns} columns are too few for the code")
    code = plane[: CODE_ROWS * cell, : CODE_COLUMNS * cell].astype(np.float64)
    cells = code.reshape(CODE_ROWS, cell, CODE_COLUMNS, cell)
    means = cells.mean(axis=(1, 3))
    for kind in (k for k in _KINDS if k.dtype == plane.dtype.newbyteorder("=")):
        low, high = _LEVELS[kind]
        allowed = (high - low) * _CELL_TOLERANCE if lossy else 0.0
        bits = means > (low + high) / 2
        if np.abs(means - np.where(bits, high, low)).max() > allowed:
            continue
        payload = np.packbits(bits.reshape(-1)).tobytes()
        if payload[0] != _MAGIC or zlib.crc32(payload[:-4]) != int.from_bytes(payload[-4:], "big"):
            raise IdentityMismatch("the code's cells are legible but its checksum is wrong")
        _, packed, bits_stored, sample, study, series, instance, frame = _PAYLOAD.unpack(payload[:-4])
        if _KINDS[packed >> 4] is not kind:
            raise IdentityMismatch(f"drawn as {_KINDS[packed >> 4].value}, decoded as {kind.value}")
        plan = PixelPlan(rows, columns, kind, bits_stored, packed & 15)
        return FrameIdentity(study, series, instance, frame), plan, sample
    raise IdentityMismatch("no code: levels of another type, sign, byte order or picture")


def _compare(pixels: Pixels, expected: Pixels, plan: PixelPlan, *, lossy: bool) -> None:
    if lossy:
        difference = np.abs(pixels.astype(np.float64) - expected.astype(np.float64))
        # By rows, so that one strip of another frame is not averaged away.
        worst = difference.reshape(plan.rows, -1).mean(axis=1).max()
        if worst > float(np.ptp(expected.astype(np.float64))) * _FRAME_TOLERANCE:
            raise IdentityMismatch(f"rows differ by {worst:.1f} on average, more than a lossy codec does")
        return
    wrong = np.argwhere(pixels != expected)
    if len(wrong):
        where = tuple(int(n) for n in wrong[0])
        raise IdentityMismatch(f"{len(wrong)} samples differ, the first at {where}")


def same_instance(first: FrameIdentity, second: FrameIdentity) -> bool:
    """Tell whether two frames belong to one instance."""
    return replace(first, frame=0) == replace(second, frame=0)
