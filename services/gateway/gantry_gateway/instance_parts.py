"""Whole instances as parts of an answer: as stored, or in another transfer syntax frame by frame."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from gantry_dicom.errors import CannotProcess, NotFound
from gantry_dicom.frames import FrameTable
from gantry_dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
)
from gantry_imaging.transcode import Outline, fragment_head
from gantry_index.records import StoredInstance
from gantry_objectstore.store import ObjectStore

from gantry_gateway.bulk_values import swapped
from gantry_gateway.frames import FrameReader, decoded_bytes
from gantry_gateway.outgoing import WHOLE_BYTES, Made, Part, StreamedPart, WholePart, made_ahead
from gantry_gateway.representations import ANY_SYNTAX, DICOM, target_syntax
from gantry_gateway.transcode_jobs import outline

# Transcoded objects up to this are made whole before they are sent, so that one that cannot be
# made is still given as stored; of larger ones the first frame tells.
_MADE_WHOLE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class InstanceParts:
    """Makes parts of stored instances in the best transfer syntax wished for that they can have."""

    frames: FrameReader
    # As ``InstanceChoice`` has them: groups that weigh the same, best first.
    wishes: Sequence[Sequence[str | None]]

    @property
    def _store(self) -> ObjectStore:
        return self.frames.store

    def of(self, instance: StoredInstance) -> Part | None:
        """Return the part, or ``None`` when the instance cannot be given as asked."""
        table = FrameTable.unpack(instance.frame_table)
        stored = instance.transfer_syntax_uid
        for group in self.wishes:
            targets = {target: wished for wished in group if (target := target_syntax(stored, table, wished))}
            if stored in targets:
                return self._as_stored(instance)
            for target, wished in targets.items():
                return self._transcoded(instance, table, target, is_wished=wished is not None)
        return None

    def _as_stored(self, instance: StoredInstance) -> Part:
        content_type = _labelled(instance.transfer_syntax_uid)
        if instance.size > WHOLE_BYTES:

            def stream(first: int, count: int) -> AsyncIterator[bytes]:
                return self._store.stream(instance.object_key, first, count)

            return StreamedPart(content_type, stream, instance.size)

        async def read() -> Made:
            return Made(await self._read(instance), content_type)

        return WholePart(content_type, read, weight=instance.size, length=instance.size)

    async def _read(self, instance: StoredInstance) -> bytes:
        data = await self._store.get(instance.object_key)
        if len(data) != instance.size:
            raise NotFound("an object is not the size it was stored with")
        return data

    def _transcoded(
        self, instance: StoredInstance, table: FrameTable, target: str, *, is_wished: bool
    ) -> Part:
        weight = max(instance.size, decoded_bytes(instance))

        async def make() -> Made:
            pieces = self._pieces(instance, table, target)
            try:
                if weight <= _MADE_WHOLE_BYTES:
                    data = b"".join([piece async for piece in pieces])
                    return Made(data, _labelled(target))
                # File Meta, the data set up to the pixels, and the first frame.
                beginning = [await anext(pieces, b"") for _ in range(3)]
            except CannotProcess:
                await pieces.aclose()
                as_stored = target_syntax(instance.transfer_syntax_uid, table, ANY_SYNTAX)
                if is_wished or as_stored != instance.transfer_syntax_uid:
                    raise
                # One damaged codestream must not tear the answer of a whole study.
                return Made(self._store.stream(instance.object_key), _labelled(instance.transfer_syntax_uid))
            return Made(_continued(beginning, pieces), _labelled(target))

        return WholePart(_labelled(target), make, min(weight, _MADE_WHOLE_BYTES))

    async def _pieces(
        self, instance: StoredInstance, table: FrameTable, target: str
    ) -> AsyncGenerator[bytes, None]:
        """Yield the object in ``target``: its header, then its pixels in runs of a few frames."""
        headers = self.frames.headers
        header, meta = await asyncio.gather(headers.read(instance, table), headers.meta(instance))
        made = await self.frames.workers.run(outline, meta, header, table.count, target)
        body = self._body(instance, table, target, made)
        if target != DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            yield made.meta
            async with aclosing(body):
                async for piece in body:
                    yield piece
            return
        yield made.meta
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        size = 0
        async with aclosing(body):
            async for piece in body:
                deflated = await asyncio.to_thread(deflater.compress, piece)
                size += len(deflated)
                yield deflated
        rest = deflater.flush()
        yield rest + bytes((size + len(rest)) % 2)

    async def _body(
        self, instance: StoredInstance, table: FrameTable, target: str, made: Outline
    ) -> AsyncGenerator[bytes, None]:
        yield made.head
        if table.kind == "encapsulated" or made.fragmented:
            frame_target = target if made.fragmented else EXPLICIT_VR_LITTLE_ENDIAN
            frames = made_ahead(self._frame_makers(instance, table, frame_target))
            async with aclosing(frames):
                if made.fragmented:
                    async for frame in frames:
                        yield fragment_head(len(frame)) + frame
                else:
                    frame_bits = 1 if table.bits_allocated == 1 else 8
                    frame_bits *= (instance.rows or 0) * (instance.columns or 0)
                    async for piece in _side_by_side(frames, frame_bits):
                        yield piece
        elif table.kind != "none":
            async for piece in self._native_pixels(instance, table):
                yield piece
        yield made.tail

    def _frame_makers(
        self, instance: StoredInstance, table: FrameTable, target: str
    ) -> Iterator[tuple[int, Callable[[], Awaitable[bytes]]]]:
        weight = decoded_bytes(instance, frames=1)
        for number in range(1, table.count + 1):
            yield weight, partial(self.frames.in_syntax, instance, table, number, target, keep=False)

    async def _native_pixels(self, instance: StoredInstance, table: FrameTable) -> AsyncIterator[bytes]:
        """Yield native pixel data in little endian order."""
        offset, length = table.bulk_range
        if table.kind == "deflated":
            yield (await self.frames.inflated(instance))[offset : offset + length]
            return
        rest = b""
        async for chunk in self._store.stream(instance.object_key, offset, length):
            data = rest + chunk
            whole = len(data) - len(data) % table.swap_unit
            rest = data[whole:]
            yield swapped(data[:whole], table.swap_unit)
        yield rest


async def _side_by_side(frames: AsyncIterator[bytes], frame_bits: int) -> AsyncIterator[bytes]:
    """Yield native frames without a gap: one-bit frames may begin within a byte (PS3.5 8.1.1)."""
    held = held_bits = 0
    async for frame in frames:
        if not frame_bits % 8:
            yield frame
            continue
        held |= int.from_bytes(frame, "little") << held_bits
        whole, held_bits = divmod(held_bits + frame_bits, 8)
        yield (held & (1 << 8 * whole) - 1).to_bytes(whole, "little")
        held >>= 8 * whole
    if held_bits:
        yield held.to_bytes(1, "little")


async def _continued(beginning: list[bytes], rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        for piece in beginning:
            yield piece
        async for piece in rest:
            yield piece


def _labelled(transfer_syntax_uid: str) -> str:
    return f"{DICOM}; transfer-syntax={transfer_syntax_uid}"
