"""How the pixels of an instance are laid out, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]
"""One frame: (rows, columns) or (rows, columns, samples)."""


class SampleKind(Enum):
    """Type of one sample as it is stored."""

    BIT = "bit"
    UNSIGNED_8 = "u8"
    UNSIGNED_16 = "u16"
    SIGNED_16 = "s16"
    UNSIGNED_32 = "u32"
    FLOAT_32 = "f32"
    FLOAT_64 = "f64"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy type of a decoded sample (bits are unpacked to bytes)."""
        return _DTYPES[self]

    @property
    def bits_allocated(self) -> int:
        """Bits Allocated (0028,0100)."""
        return 1 if self is SampleKind.BIT else self.dtype.itemsize * 8


_DTYPES: dict[SampleKind, np.dtype[Any]] = {
    SampleKind.BIT: np.dtype(np.uint8),
    SampleKind.UNSIGNED_8: np.dtype(np.uint8),
    SampleKind.UNSIGNED_16: np.dtype(np.uint16),
    SampleKind.SIGNED_16: np.dtype(np.int16),
    SampleKind.UNSIGNED_32: np.dtype(np.uint32),
    SampleKind.FLOAT_32: np.dtype(np.float32),
    SampleKind.FLOAT_64: np.dtype(np.float64),
}


@dataclass(frozen=True, slots=True)
class PixelPlan:
    """The attributes of the Image Pixel module (PS3.3 C.7.6.3) that decide the bytes."""

    rows: int
    columns: int
    kind: SampleKind = SampleKind.UNSIGNED_16
    bits_stored: int = 12
    samples: int = 1
    photometric: str = "MONOCHROME2"
    planar: int = 0

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame without padding."""
        return self.rows * self.columns * self.samples * self.kind.bits_allocated

    @property
    def signed(self) -> bool:
        """Pixel Representation (0028,0103)."""
        return self.kind is SampleKind.SIGNED_16


def native_frame(data: bytes, plan: PixelPlan, *, little_endian: bool = True) -> Pixels:
    """Return the frame in ``data``, the bytes of one native frame (PS3.5 8.1).

    1-bit frames are expected to start on a byte. Raises ``ValueError`` when the number of
    bytes is not that of one frame.
    """
    expected = (plan.frame_bits + 7) // 8
    if len(data) != expected:
        raise ValueError(f"a frame has {expected} bytes, not {len(data)}")
    if plan.kind is SampleKind.BIT:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return bits[: plan.rows * plan.columns].reshape(plan.rows, plan.columns)
    dtype = plan.kind.dtype.newbyteorder("<" if little_endian else ">")
    flat = np.frombuffer(data, dtype).astype(plan.kind.dtype)
    if plan.samples == 1:
        return flat.reshape(plan.rows, plan.columns)
    if plan.planar == 1:
        return flat.reshape(plan.samples, plan.rows, plan.columns).transpose(1, 2, 0)
    return flat.reshape(plan.rows, plan.columns, plan.samples)


def native_bytes(frames: list[Pixels], plan: PixelPlan, *, little_endian: bool = True) -> bytes:
    """Return the value of native Pixel Data, without the pad byte (PS3.5 8.1.1)."""
    if plan.kind is SampleKind.BIT:
        flat = np.concatenate([frame.reshape(-1) for frame in frames])
        return np.packbits(flat, bitorder="little").tobytes()
    parts: list[bytes] = []
    for frame in frames:
        ordered = frame.transpose(2, 0, 1) if plan.samples > 1 and plan.planar == 1 else frame
        if not little_endian:
            ordered = ordered.astype(plan.kind.dtype.newbyteorder(">"))
        parts.append(ordered.tobytes())
    return b"".join(parts)
