"""The parts of a data set that the index reads: everything but the pixels."""

from __future__ import annotations

from dataclasses import dataclass

from gantry_dicom.elements import Encoding
from gantry_dicom.errors import CannotProcess
from gantry_dicom.frames import FrameTable
from gantry_dicom.transfer_syntaxes import lookup


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


def header_from_parts(
    before_pixel_data: bytes,
    after_pixel_data: bytes,
    frame_table: bytes,
    transfer_syntax_uid: str,
    meta_length: int,
) -> DataSetHeader:
    """Return the header that was sent or stored in parts, as ``gantry.index.v1.Header`` does.

    ``meta_length`` is the number of bytes before the data set in the stored object. Raises
    ``CannotProcess`` when the parts do not say how the data set is encoded.
    """
    table = FrameTable.unpack(frame_table)
    syntax = lookup(transfer_syntax_uid)
    encoding = table.encoding or (syntax.encoding if syntax is not None else None)
    if encoding is None:
        raise CannotProcess("the encoding of the data set is not known")
    deflated = syntax is not None and syntax.deflated
    before_offset = 0 if deflated else meta_length
    if table.kind == "none":
        return DataSetHeader(
            encoding=encoding,
            before_pixel_data=before_pixel_data,
            after_pixel_data=after_pixel_data,
            before_offset=before_offset,
            after_offset=before_offset + len(before_pixel_data),
            deflated=deflated,
        )
    encapsulated = table.kind == "encapsulated"
    delimiter = 8 if encapsulated else 0
    return DataSetHeader(
        encoding=encoding,
        before_pixel_data=before_pixel_data,
        after_pixel_data=after_pixel_data,
        pixel_data_vr=table.pixel_data_vr,
        pixel_data_tag=table.pixel_data_tag,
        pixel_data_offset=table.value_offset,
        pixel_data_length=table.value_length,
        encapsulated=encapsulated,
        before_offset=before_offset,
        after_offset=table.value_offset + table.value_length + delimiter,
        deflated=deflated,
    )
