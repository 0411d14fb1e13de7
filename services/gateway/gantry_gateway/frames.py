"""One frame of a stored instance: as stored, as native samples, or in another transfer syntax."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import orjson
from gantry_dicom.deflated import inflate
from gantry_dicom.errors import BadRequest
from gantry_dicom.frames import FrameTable, Range
from gantry_dicom.gate import GateLimits
from gantry_dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from gantry_imaging.attributes import ImageAttributes
from gantry_index.records import StoredInstance
from gantry_objectstore.store import ObjectStore

from gantry_gateway.adapters.byte_cache import ByteCache
from gantry_gateway.adapters.pixel_workers import PixelWorkers
from gantry_gateway.outgoing import WHOLE_BYTES, Made, Part, StreamedPart, WholePart
from gantry_gateway.stored_headers import HeaderReader
from gantry_gateway.transcode_jobs import describe_pixels, frame_to_codestream, frame_to_native

_FRAME_LIST = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})*")
# Preamble and a File Meta group that says no more than the transfer syntax of an inflated data set.
_EXPLICIT_META = bytes(128) + b"DICM\x02\x00\x10\x00UI\x14\x00" + EXPLICIT_VR_LITTLE_ENDIAN.encode() + b"\x00"


@dataclass(frozen=True, slots=True)
class FrameReader:
    """Reads frames by range and has them decoded, encoded and rendered in workers."""

    store: ObjectStore
    workers: PixelWorkers
    cache: ByteCache
    limits: GateLimits

    @property
    def headers(self) -> HeaderReader:
        """Reads what stands around the pixels."""
        return HeaderReader(self.store, self.limits)

    def part(
        self,
        instance: StoredInstance,
        table: FrameTable,
        number: int,
        target: str,
        content_type: str,
        location: str = "",
    ) -> Part:
        """Return frame ``number`` (from 1) as a part of an answer; raises ``NotFound``.

        ``target`` is the transfer syntax of the frame: the stored one for compressed frames as
        they are, Explicit VR Little Endian for native samples, or another to encode them in.
        """
        ranges = table.ranges(number)
        stored = sum(length for _, length in ranges)
        encapsulated = table.kind == "encapsulated"
        as_stored = target == (instance.transfer_syntax_uid if encapsulated else EXPLICIT_VR_LITTLE_ENDIAN)
        if not as_stored:

            async def transcode() -> Made:
                return Made(await self.in_syntax(instance, table, number, target), content_type)

            return WholePart(content_type, transcode, decoded_bytes(instance, frames=1), location=location)
        if stored > WHOLE_BYTES and (encapsulated or _lies_as_sent(table, number)):

            def stream(first: int, count: int) -> AsyncIterator[bytes]:
                return self._stream(instance.object_key, _cut(ranges, first, count))

            return StreamedPart(content_type, stream, stored, location)

        async def read() -> Made:
            return Made(await self.stored(instance, table, number), content_type)

        length = stored if encapsulated else (table.frame_bits + 7) // 8
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

    async def in_syntax(
        self, instance: StoredInstance, table: FrameTable, number: int, target: str, *, keep: bool = True
    ) -> bytes:
        """Return frame ``number`` in transfer syntax ``target``, kept for the next caller.

        Without ``keep`` it is made for this one alone. Raises ``NotFound``, and ``CannotProcess``
        when the frame cannot be decoded or encoded.
        """
        encapsulated = table.kind == "encapsulated"
        source = instance.transfer_syntax_uid if encapsulated else EXPLICIT_VR_LITTLE_ENDIAN
        if target == source:
            return await self.stored(instance, table, number)

        async def transcode() -> bytes:
            frame = await self.stored(instance, table, number)
            attributes = await self.attributes(instance, table)
            if target == EXPLICIT_VR_LITTLE_ENDIAN:
                return await self.workers.run(frame_to_native, attributes, frame, source)
            return await self.workers.run(frame_to_codestream, attributes, frame, source, target)

        if not keep:
            return await transcode()
        key = ("frame", instance.store_id, instance.object_key, number, target)
        return await self.cache.get(key, transcode)

    async def attributes(self, instance: StoredInstance, table: FrameTable) -> ImageAttributes:
        """Return the pixel description of an image; raises ``CannotProcess``."""

        async def read() -> bytes:
            header = await self.headers.read(instance, table)
            return orjson.dumps(await self.workers.run(describe_pixels, header))

        key = ("attributes", instance.store_id, instance.object_key)
        return ImageAttributes(**orjson.loads(await self.cache.get(key, read)))

    async def inflated(self, instance: StoredInstance) -> bytes:
        """Return the inflated data set of a deflated object; raises ``Refused`` when damaged."""

        async def make() -> bytes:
            stored = await self.store.get(instance.object_key)
            maximum = self.limits.max_inflated_bytes
            return await asyncio.to_thread(inflate, stored, instance.meta_length, maximum)

        return await self.cache.get(("inflated", instance.store_id, instance.object_key), make)

    async def header(self, instance: StoredInstance, table: FrameTable) -> bytes:
        """Return the bytes before the pixels of an image, as a Part 10 file without them."""
        if table.kind == "deflated":
            return _EXPLICIT_META + (await self.inflated(instance))[: table.value_offset]
        return await self.store.get_range(instance.object_key, 0, table.value_offset)

    async def _stream(self, object_key: str, ranges: Sequence[Range]) -> AsyncIterator[bytes]:
        for batch in _batches(ranges):
            if len(batch) == 1:
                async for chunk in self.store.stream(object_key, *batch[0]):
                    yield chunk
            else:
                yield b"".join(await self.store.get_ranges(object_key, batch))


def decoded_bytes(instance: StoredInstance, frames: int | None = None) -> int:
    """Return about how many bytes the pixels of an instance, or some frames of it, decode to.

    The index does not keep Samples per Pixel: what has one byte a sample may be colour.
    """
    sample_bytes = -(-FrameTable.unpack(instance.frame_table).bits_allocated // 8)
    pixel_bytes = sample_bytes if sample_bytes > 1 else 3
    count = frames or instance.number_of_frames or 1
    return (instance.rows or 0) * (instance.columns or 0) * count * pixel_bytes


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


def _cut(ranges: Sequence[Range], first: int, count: int) -> list[Range]:
    """Return the ranges of ``count`` bytes from byte ``first`` of what ``ranges`` hold together."""
    found = []
    for offset, length in ranges:
        skipped = min(first, length)
        taken = min(length - skipped, count)
        if taken:
            found.append(Range(offset + skipped, taken))
        first, count = first - skipped, count - taken
    return found


def _batches(ranges: Sequence[Range]) -> list[list[Range]]:
    """Group fragments so that many small ones cost one read; large ones are for themselves."""
    batches: list[list[Range]] = []
    size = WHOLE_BYTES + 1
    for one in ranges:
        size += one.length
        if size > WHOLE_BYTES:
            batches.append([])
            size = one.length
        batches[-1].append(one)
    return batches
