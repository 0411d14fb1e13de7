"""The header of an instance: out of the message, or read again from the stored object."""

from __future__ import annotations

import asyncio

from gantry.index.v1.index_pb2 import IndexRequest
from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.gate import DataSetHeader, header_from_prefix, header_of
from gantry_dicom.header import header_from_parts
from gantry_objectstore.store import ObjectStore
from gantry_objectstore.whole import whole_object

# Holds the header of nearly every image; native pixels behind it need not be read.
PREFIX_BYTES = 64 * 1024


def header_in_message(request: IndexRequest) -> tuple[DataSetHeader, bytes]:
    """Return header and packed frame table that came with a request. Raises ``CannotProcess``."""
    sent, reception = request.header, request.reception
    table = sent.pixel_layout.frame_table
    header = header_from_parts(
        sent.before_pixel_data,
        sent.after_pixel_data,
        table,
        reception.transfer_syntax_uid,
        reception.meta_length,
    )
    return header, table


async def read_header(store: ObjectStore, reception: Reception) -> tuple[DataSetHeader, bytes]:
    """Return header and packed frame table of a stored object, reading as little as will do.

    Raises ``NotFound``, ``Unavailable``, and ``Refused`` when the gate would not have it.
    """
    if reception.size > PREFIX_BYTES:
        prefix = await store.get_prefix(reception.object_key, PREFIX_BYTES)
        found = await asyncio.to_thread(header_from_prefix, prefix, reception.size)
        if found is not None:
            return found
    async with whole_object(store, reception.object_key, reception.size) as buffer:
        return await asyncio.to_thread(header_of, buffer)
