"""One frame of a stored instance: as stored, as native samples, or as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gantry_dicom.deflated import inflate
from gantry_dicom.errors import NotFound
from gantry_dicom.frames import FrameTable
from gantry_dicom.gate import GateLimits
from gantry_dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
)
from gantry_imaging.render import RenderOptions
from gantry_index.records import StoredInstance
from gantry_objectstore.store import ObjectStore

from gantry_gateway.adapters.byte_cache import ByteCache
from gantry_gateway.adapters.pixel_workers import PixelWorkers
from gantry_gateway.pixel_jobs import decode_to_native, render

# Smaller than any pixel data element's own header: what a header read stops short of.
_EMPTY_PREAMBLE = bytes(128) + b"DICM"


@dataclass(frozen=True, slots=True)
class FrameBytes:
    """A frame's bytes and the transfer syntax they are in."""

    data: bytes
    transfer_syntax_uid: str
    # Where a native frame that does not begin on a byte begins in the first one.
    bit_offset: int = 0


@dataclass(frozen=True, slots=True)
class FrameReader:
    """Reads frames by range and has them decoded and rendered in workers."""

    store: ObjectStore
    workers: PixelWorkers
    cache: ByteCache
    limits: GateLimits

    async def stored(self, instance: StoredInstance, table: FrameTable, number: int) -> FrameBytes:
        """Return frame ``number`` (from 1) in the bytes as stored; raises ``NotFound``."""
        if table.kind == "none":
            raise NotFound("the instance has no frames")
        if table.kind == "encapsulated":
            parts = await self.store.get_ranges(instance.object_key, table.ranges(number))
            return FrameBytes(parts[0] if len(parts) == 1 else b"".join(parts), instance.transfer_syntax_uid)
        bits = table.bits(number)
        if table.kind == "deflated":
            data_set = await self.inflated(instance)
            data = data_set[bits.offset : bits.offset + bits.length]
        else:
            data = await self.store.get_range(instance.object_key, bits.offset, bits.length)
        return FrameBytes(data, _native_syntax(table), bits.bit_offset)

    async def native(self, instance: StoredInstance, table: FrameTable, number: int) -> bytes:
        """Return frame ``number`` as Explicit VR Little Endian pixel data.

        Raises ``NotFound``, and ``CannotProcess`` when the frame cannot be decoded.
        """
        if table.kind in ("native", "deflated") and _is_little_endian(table):
            frame = await self.stored(instance, table, number)
            return frame.data if _is_whole(table, number) else _realigned(frame, table, number)
        return await self.cache.get(
            ("native", instance.store_id, instance.object_key, number),
            lambda: self._decode(instance, table, number),
        )

    async def picture(
        self, instance: StoredInstance, table: FrameTable, number: int, options: RenderOptions
    ) -> bytes:
        """Return frame ``number`` rendered; raises ``NotFound`` and ``CannotProcess``."""
        return await self.cache.get(
            ("picture", instance.store_id, instance.object_key, number, options),
            lambda: self._render(instance, table, number, options),
        )

    async def header(self, instance: StoredInstance, table: FrameTable) -> bytes:
        """Return the object's bytes before its pixels, as a Part 10 file without them."""
        if table.kind == "deflated" or instance.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            data_set = await self.inflated(instance)
            end = table.value_offset if table.kind == "deflated" else len(data_set)
            return _EMPTY_PREAMBLE + _EXPLICIT_META + data_set[:end]
        if table.kind == "none":
            return await self.store.get(instance.object_key)
        return await self.store.get_range(instance.object_key, 0, table.value_offset)

    async def _decode(self, instance: StoredInstance, table: FrameTable, number: int) -> bytes:
        header, frame = await self.header(instance, table), await self.stored(instance, table, number)
        return await self.workers.run(
            decode_to_native,
            header,
            frame.data,
            frame.transfer_syntax_uid,
            frame.bit_offset,
            table.pixel_data_tag,
        )

    async def _render(
        self, instance: StoredInstance, table: FrameTable, number: int, options: RenderOptions
    ) -> bytes:
        header, frame = await self.header(instance, table), await self.stored(instance, table, number)
        return await self.workers.run(
            render,
            header,
            frame.data,
            frame.transfer_syntax_uid,
            frame.bit_offset,
            table.pixel_data_tag,
            number,
            options,
        )

    async def inflated(self, instance: StoredInstance) -> bytes:
        """Return the inflated data set of a deflated object; raises ``Refused`` when damaged."""

        async def make() -> bytes:
            stored = await self.store.get(instance.object_key)
            return inflate(stored, instance.meta_length, self.limits.max_inflated_bytes)

        return await self.cache.get(("inflated", instance.store_id, instance.object_key), make)


# File Meta group that says no more than the transfer syntax of the inflated data set.
_EXPLICIT_META = b"\x02\x00\x10\x00UI\x14\x00" + EXPLICIT_VR_LITTLE_ENDIAN.encode() + b"\x00"


def _is_little_endian(table: FrameTable) -> bool:
    return table.encoding is None or table.encoding.little_endian


def _native_syntax(table: FrameTable) -> str:
    # The bytes of native pixels are alike in implicit, explicit and deflated data sets.
    return EXPLICIT_VR_LITTLE_ENDIAN if _is_little_endian(table) else EXPLICIT_VR_BIG_ENDIAN


def _is_whole(table: FrameTable, number: int) -> bool:
    bits = table.bits(number)
    return bits.bit_offset == 0 and bits.bit_length % 8 == 0


def _realigned(frame: FrameBytes, table: FrameTable, number: int) -> bytes:
    """Shift a frame of single bits to the start of a byte; unused high bits are 0 (PS3.5 8.1.1)."""
    bits = table.bits(number)
    value = int.from_bytes(frame.data, "little") >> bits.bit_offset
    value &= (1 << bits.bit_length) - 1
    return value.to_bytes((bits.bit_length + 7) // 8, "little")


def parse_frame_list(text: str) -> Sequence[int]:
    """Return the frame numbers of ``{frames}`` in a path (PS3.18 10.1); raises ``ValueError``."""
    numbers = [int(item) for item in text.split(",")]
    if any(number < 1 for number in numbers):
        raise ValueError("frame numbers begin at 1")
    return numbers
