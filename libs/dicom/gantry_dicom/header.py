"""The parts of a data set that the index reads: everything but the pixels."""

from __future__ import annotations

from dataclasses import dataclass

from gantry_dicom.elements import Encoding


@dataclass(frozen=True, slots=True)
class DataSetHeader:
    """The elements before and after the pixel data element, in their own encoding.

    ``before_pixel_data`` ends where the header of the first top-level pixel data element
    (7FE0,0008), (7FE0,0009) or (7FE0,0010) begins, ``after_pixel_data`` starts where the next
    element begins; each is a run of whole elements for ``elements.walk``. Without pixel data
    everything is in ``before_pixel_data``. Offsets are absolute in the stored object, or for
    a deflated data set in the inflated data set.
    """

    encoding: Encoding
    before_pixel_data: bytes
    after_pixel_data: bytes
    pixel_data_vr: str | None = None
    pixel_data_tag: int | None = None
    # Range of the pixel data value; for encapsulated pixel data the whole series of fragments.
    pixel_data_offset: int = 0
    pixel_data_length: int = 0
    encapsulated: bool = False
    # Where before_pixel_data and after_pixel_data begin.
    before_offset: int = 0
    after_offset: int = 0
    deflated: bool = False
