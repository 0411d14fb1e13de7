"""Bulk data values: found without reading the pixels, and given whole or as a stream."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from gantry_dicom.bulk import BulkValue, find_bulk
from gantry_dicom.elements import walk
from gantry_dicom.frames import FrameTable
from gantry_dicom.header import DataSetHeader
from gantry_index.records import StoredInstance

from gantry_gateway.frames import FrameReader
from gantry_gateway.outgoing import WHOLE_BYTES, Made, Part, StreamedPart, WholePart
from gantry_gateway.representations import OCTET_STREAM

_ENCAPSULATED_DOCUMENT = 0x00420011
_MIME_TYPE_OF_ENCAPSULATED_DOCUMENT = 0x00420012
_PLAIN_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+")


@dataclass(frozen=True, slots=True)
class FoundValue:
    """A value of an instance and what it is."""

    value: BulkValue
    media_type: str
    instance: StoredInstance
    frames: FrameReader

    def part(self, content_type: str, location: str) -> Part:
        """Return the value as a part of an answer."""
        value, key, store = self.value, self.instance.object_key, self.frames.store
        if value.length > WHOLE_BYTES and value.swap_unit == 1 and not value.deflated:

            def stream(first: int, count: int) -> AsyncIterator[bytes]:
                return store.stream(key, value.offset + first, count)

            return StreamedPart(content_type, stream, value.length, location)
        data = value.data

        async def make() -> Made:
            return Made(await self._pixels() if data is None else data, content_type)

        return WholePart(content_type, make, value.length, value.length, location)

    async def _pixels(self) -> bytes:
        value = self.value
        if value.deflated:
            data_set = await self.frames.inflated(self.instance)
            data = data_set[value.offset : value.offset + value.length]
        else:
            data = await self.frames.store.get_range(self.instance.object_key, value.offset, value.length)
        return swapped(data, value.swap_unit)


def pixel_value(frames: FrameReader, instance: StoredInstance, table: FrameTable) -> FoundValue:
    """Return the value of native pixel data, which the frame table places without a look at the object."""
    value = BulkValue(
        tag=table.pixel_data_tag,
        vr=table.pixel_data_vr,
        offset=table.value_offset,
        length=table.value_length,
        data=None,
        deflated=table.kind == "deflated",
        swap_unit=table.swap_unit,
    )
    return FoundValue(value, OCTET_STREAM, instance, frames)


@dataclass(frozen=True, slots=True)
class BulkReader:
    """Finds values anywhere in an object, also behind the pixels."""

    frames: FrameReader

    async def find(self, instance: StoredInstance, table: FrameTable, path: str) -> FoundValue:
        """Return the value at ``path``; raises ``BadRequest`` and ``NotFound``."""
        header = await self.frames.headers.read(instance, table)
        value = find_bulk(header, path)
        if value.data is None:
            # The table knows how wide a sample is, which the element alone does not say.
            value = replace(value, swap_unit=table.swap_unit)
        return FoundValue(value, _media_type(header, value), instance, self.frames)


def _media_type(header: DataSetHeader, value: BulkValue) -> str:
    """Return the media type of an encapsulated document, by its own attribute; else octets.

    The attribute is what a sender wrote: only a plain type and subtype is believed.
    """
    if value.tag != _ENCAPSULATED_DOCUMENT:
        return OCTET_STREAM
    for element in walk(header.before_pixel_data, 0, len(header.before_pixel_data), header.encoding):
        if element.tag == _MIME_TYPE_OF_ENCAPSULATED_DOCUMENT:
            start = element.value_offset
            raw = bytes(header.before_pixel_data[start : start + element.length])
            text = raw.decode("ascii", "replace").strip(" \0").lower()
            return text if _PLAIN_MEDIA_TYPE.fullmatch(text) else OCTET_STREAM
    return OCTET_STREAM


def swapped(data: bytes, unit: int) -> bytes:
    """Return ``data`` with the bytes of each ``unit`` reversed; a rest at the end stays."""
    if unit == 1:
        return data
    whole = len(data) - len(data) % unit
    out = bytearray(data)
    for position in range(unit):
        out[position:whole:unit] = data[unit - 1 - position : whole : unit]
    return bytes(out)
