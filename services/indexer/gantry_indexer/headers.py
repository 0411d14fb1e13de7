"""The header of an instance: out of the message, or read again from the stored object."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

from gantry.index.v1.index_pb2 import IndexRequest
from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.gate import DataSetHeader, admit, header_from_prefix, header_of
from gantry_dicom.header import header_from_parts
from gantry_objectstore.store import Buffer, ObjectStore
from gantry_objectstore.whole import whole_object

# Holds the header of nearly every image; native pixels behind it need not be read.
PREFIX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Material:
    """A request with what was read again from the store, when the message had no header."""

    request: IndexRequest
    reread: tuple[DataSetHeader, bytes] | None = None


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


def is_complete(reception: Reception) -> bool:
    """Whether the line says what its object is; one of an unanswered instance may not."""
    return bool(reception.data_set_digest) and reception.size > 0


async def read_material(store: ObjectStore, request: IndexRequest) -> Material:
    """Return the request with header and frame table of its stored object, reading as little as will do.

    What the line lacks is filled in from the object. Raises ``NotFound``, ``Unavailable``,
    and ``Refused`` when the gate would not have the object.
    """
    reception = request.reception
    if not is_complete(reception):
        return await _examine(store, request)
    if reception.size > PREFIX_BYTES:
        prefix = await store.get_prefix(reception.object_key, PREFIX_BYTES)
        found = await asyncio.to_thread(header_from_prefix, prefix, reception.size)
        if found is not None:
            return Material(request, found)
    async with whole_object(store, reception.object_key, reception.size) as buffer:
        return Material(request, await asyncio.to_thread(header_of, buffer))


async def _examine(store: ObjectStore, request: IndexRequest) -> Material:
    filled = IndexRequest()
    filled.CopyFrom(request)
    key = request.reception.object_key
    info = await store.head(key)
    async with whole_object(store, key, info.size) as buffer:
        found = await asyncio.to_thread(_describe, buffer, filled.reception)
    return Material(filled, found)


def _describe(buffer: Buffer, reception: Reception) -> tuple[DataSetHeader, bytes]:
    admission = admit(buffer)
    start = admission.data_set_offset
    with memoryview(buffer) as view:
        reception.size = view.nbytes
        reception.data_set_digest = hashlib.sha256(view[start:]).digest()
        reception.meta_digest = hashlib.sha256(view[:start]).digest()
    reception.meta_length = start
    reception.transfer_syntax_uid = admission.transfer_syntax_uid
    reception.sop_class_uid = admission.sop_class_uid
    reception.study_instance_uid = admission.study_instance_uid
    reception.series_instance_uid = admission.series_instance_uid
    reception.sop_instance_uid = admission.sop_instance_uid
    return admission.header, admission.frame_table
