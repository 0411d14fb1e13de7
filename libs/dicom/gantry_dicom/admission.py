"""The values that go into the admission gate and come out of it; import them from ``gate``."""

from __future__ import annotations

from dataclasses import dataclass

from gantry_dicom.elements import DEFAULT_MAX_DEPTH
from gantry_dicom.header import DataSetHeader


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Bounds of the gate."""

    # Bytes a deflated data set may inflate to.
    max_inflated_bytes: int = 256 * 1024 * 1024
    # Bytes outside the pixel data, which are carried in memory.
    max_header_bytes: int = 256 * 1024 * 1024
    # Sequences inside sequences.
    max_depth: int = DEFAULT_MAX_DEPTH


DEFAULT_LIMITS = GateLimits()


@dataclass(frozen=True, slots=True)
class Expected:
    """What the protocol said the object is (C-STORE command set, STOW-RS path)."""

    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None
    study_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """An object that passed the gate.

    ``meta`` holds the bytes to store before the data set instead of ``buffer[:data_set_offset]``;
    None means that the buffer is stored as it is. ``meta_length`` is the number of bytes before
    the data set in the stored object, ``frame_table`` the packed table with offsets in it.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    meta: bytes | None
    meta_length: int
    data_set_offset: int
    header: DataSetHeader
    frame_table: bytes
    warnings: tuple[str, ...] = ()
