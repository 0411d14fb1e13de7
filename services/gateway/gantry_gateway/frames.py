"""One frame of a stored instance: as stored, as native samples, or as a picture."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from gantry_dicom.deflated import inflate
from gantry_dicom.errors import BadRequest
from gantry_dicom.frames import FrameTable
from gantry_dicom.gate import GateLimits
from gantry_dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from gantry_imaging.render import RenderOptions
from gantry_index.records import StoredInstance
from gantry_objectstore.store import ObjectStore

from gantry_gateway.adapters.byte_cache import ByteCache
from gantry_gateway.adapters.pixel_workers import PixelWorkers
from gantry_gateway.instance_parts import decoded_bytes
from gantry_gateway.outgoing import WHOLE_BYTES, Made, Part, StreamedPart, WholePart
from gantry_gateway.pixel_jobs import decode_to_native, render
from gantry_gateway.representations import Delivery

_FRAME_LIST = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})*")
# Preamble and a File Meta group that says no more than the transfer syntax of an inflated data set.
_EXPLICIT_META = bytes(128) + b"DICM\x02\x00\x10\x00UI\x14\x00" + EXPLICIT_VR_LITTLE_ENDIAN.encode() + b"\x00"


@dataclass(frozen=True, slots=True)
class FrameReader:
    """Reads frames by range and has them decoded and rendered in workers."""

    store: ObjectStore
    workers: PixelWorkers
    cache: ByteCache
    limits: GateLimits

    def part(
        self,
        instance: StoredInstance,
        table: FrameTable,
        number: int,
        delivery: Delivery,
        content_type: str,
        location: str = "",
    ) -> Part:
        """Return frame ``number`` (from 1) as a part of an answer; raises ``NotFound``."""
        ranges = table.ranges(number)
        stored = sum(length for _, length in ranges)
        if delivery is Delivery.EXPLICIT_LITTLE_ENDIAN and table.kind == "encapsulated":

            async def decode() -> Made:
                return Made(await self.native(instance, table, number), content_type)

            return WholePart(content_type, decode, decoded_bytes(instance, frames=1), location=location)
        if stored > WHOLE_BYTES and (table.kind == "encapsulated" or _lies_as_sent(table, number)):

            def stream() -> AsyncIterator[bytes]:
                return self._stream(instance.object_key, ranges)

            return StreamedPart(content_type, stream, stored, location)

        async def read() -> Made:
            return Made(await self.stored(instance, table, number), content_type)

        length = stored if table.kind == "encapsulated" else (table.frame_bits + 7) // 8
        return WholePart(content_type, read, weight=stored, length=length, location=location)

    async def stored(self, instance: StoredInstance, table: FrameTable, number: int) -> bytes:
        """Return frame ``number`` (from 1): its codestream, or its samples as little endian has them.

        Raises ``NotFound``.
        """
        ranges = table.ranges(number)
        if table.kind == "deflated":
            data_set = await self.inflated(instance)
            pieces = [data_set[offset : offset + length] for offset, length in ranges]
        else:
            pieces = await self.store.get_ranges(instance.object_key, ranges)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return data if table.kind == "encapsulated" else table.native_frame(number, data)

    async def native(self, instance: StoredInstance, table: FrameTable, number: int) -> bytes:
        """Return frame ``number`` as Explicit VR Little Endian pixel data.

        Raises ``NotFound``, and ``CannotProcess`` when the frame cannot be decoded.
        """
        if table.kind != "encapsulated":
            return await self.stored(instance, table, number)

        async def decode() -> bytes:
            header = await self._header(instance, table)
            frame = await self.stored(instance, table, number)
            return await self.workers.run(decode_to_native, header, frame, instance.transfer_syntax_uid)

        return await self.cache.get(("native", instance.store_id, instance.object_key, number), decode)

    def picture_part(
        self, instance: StoredInstance, table: FrameTable, number: int, options: RenderOptions
    ) -> Part:
        """Return frame ``number`` rendered, as a part of an answer."""

        async def make() -> Made:
            return Made(await self.picture(instance, table, number, options), options.media_type)

        return WholePart(options.media_type, make, weight=decoded_bytes(instance, frames=1))

    async def picture(
        self, instance: StoredInstance, table: FrameTable, number: int, options: RenderOptions
    ) -> bytes:
        """Return frame ``number`` rendered; raises ``NotFound``, ``CannotProcess`` and ``BadRequest``."""

        async def make() -> bytes:
            frame = await self.stored(instance, table, number)
            coded = table.kind == "encapsulated"
            return await self.workers.run(
                render,
                await self._header(instance, table),
                frame,
                instance.transfer_syntax_uid if coded else EXPLICIT_VR_LITTLE_ENDIAN,
                table.pixel_data_tag,
                number,
                options,
            )

        key = ("picture", instance.store_id, instance.object_key, number, options)
        return await self.cache.get(key, make)

    async def inflated(self, instance: StoredInstance) -> bytes:
        """Return the inflated data set of a deflated object; raises ``Refused`` when damaged."""

        async def make() -> bytes:
            stored = await self.store.get(instance.object_key)
            maximum = self.limits.max_inflated_bytes
            return await asyncio.to_thread(inflate, stored, instance.meta_length, maximum)

        return await self.cache.get(("inflated", instance.store_id, instance.object_key), make)

    async def _header(self, instance: StoredInstance, table: FrameTable) -> bytes:
        """Return the bytes before the pixels of an image, as a Part 10 file without them."""
        if table.kind == "deflated":
            return _EXPLICIT_META + (await self.inflated(instance))[: table.value_offset]
        return await self.store.get_range(instance.object_key, 0, table.value_offset)

    async def _stream(self, object_key: str, ranges: Sequence[tuple[int, int]]) -> AsyncIterator[bytes]:
        for batch in _batches(ranges):
            if len(batch) == 1:
                async for chunk in self.store.stream(object_key, *batch[0]):
                    yield chunk
            else:
                yield b"".join(await self.store.get_ranges(object_key, batch))


def parse_frame_list(text: str) -> list[int]:
    """Return the frame numbers of ``{frames}`` in a path (PS3.18 10.1); raises ``BadRequest``."""
    numbers = [int(item) for item in text.split(",")] if _FRAME_LIST.fullmatch(text) else [0]
    if 0 in numbers:
        raise BadRequest("the frame list is a list of numbers from 1, separated by commas")
    return numbers


def _lies_as_sent(table: FrameTable, number: int) -> bool:
    """Whether the stored bytes of a native frame are those of an answer: whole bytes, unswapped."""
    bits = table.bits(number)
    return table.kind == "native" and table.swap_unit == 1 and bits.bit_length == 8 * bits.length


def _batches(ranges: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Group fragments so that many small ones cost one read; large ones are for themselves."""
    batches: list[list[tuple[int, int]]] = []
    size = WHOLE_BYTES + 1
    for offset, length in ranges:
        size += length
        if size > WHOLE_BYTES:
            batches.append([])
            size = length
        batches[-1].append((offset, length))
    return batches
