"""Whole instances on their way out: multipart bodies, read ahead of the socket."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from gantry_dicom.errors import NotFound, TooLarge
from gantry_dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from gantry_index.records import StoredInstance
from gantry_objectstore.store import ObjectStore

from gantry_gateway.adapters.pixel_workers import PixelWorkers
from gantry_gateway.multipart import closing, new_boundary, part_head
from gantry_gateway.pixel_jobs import transcode_to_explicit
from gantry_gateway.representations import Delivery

# Instances up to this size are read whole and ahead; larger ones are streamed.
_WHOLE_BYTES = 4 << 20
# How much a response reads ahead of its socket, in bytes and in objects.
_AHEAD_BYTES = 8 << 20
_AHEAD_OBJECTS = 8
# Larger objects are not transcoded whole: their frames can be had one by one.
_TRANSCODE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An instance and how it goes out."""

    instance: StoredInstance
    delivery: Delivery

    @property
    def syntax(self) -> str:
        """The transfer syntax in which it arrives."""
        if self.delivery is Delivery.EXPLICIT_LITTLE_ENDIAN:
            return EXPLICIT_VR_LITTLE_ENDIAN
        return self.instance.transfer_syntax_uid

    @property
    def is_whole(self) -> bool:
        """Whether it is made or read whole, rather than streamed."""
        return self.delivery is not Delivery.AS_STORED or self.instance.size <= _WHOLE_BYTES


@dataclass(frozen=True, slots=True)
class InstanceBody:
    """The body of an answer with whole instances."""

    store: ObjectStore
    workers: PixelWorkers
    outgoing: Sequence[Outgoing]
    boundary: str

    @classmethod
    def of(cls, store: ObjectStore, workers: PixelWorkers, outgoing: Sequence[Outgoing]) -> InstanceBody:
        """Return the body of ``outgoing`` with a boundary of its own."""
        return cls(store, workers, outgoing, new_boundary())

    @property
    def content_type(self) -> str:
        """The Content-Type of the multipart body."""
        return f'multipart/related; type="application/dicom"; boundary={self.boundary}'

    @property
    def length(self) -> int | None:
        """Bytes of the multipart body; ``None`` when something has to be transcoded first."""
        sizes = self._sizes()
        if sizes is None:
            return None
        heads = sum(len(self._head(number)) for number in range(len(self.outgoing)))
        return heads + sizes + len(closing(self.boundary))

    @property
    def single_length(self) -> int | None:
        """Bytes of the only instance, if known before it is made."""
        return self._sizes()

    async def single(self) -> AsyncIterator[bytes]:
        """Yield the only instance."""
        (item,) = self.outgoing
        if item.is_whole:
            yield await self._whole(item)
            return
        async for chunk in self.store.stream(item.instance.object_key):
            yield chunk

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the multipart body.

        Raises ``NotFound`` or ``Unavailable`` before the first byte if the first object is
        in trouble; one that fails in the middle ends the iteration with an error, so that
        the connection breaks off and a torn body never looks whole.
        """
        ahead: deque[asyncio.Task[bytes] | None] = deque()
        ahead_bytes = 0
        following = 0
        try:
            for number, item in enumerate(self.outgoing):
                while following < len(self.outgoing) and len(ahead) < _AHEAD_OBJECTS:
                    coming = self.outgoing[following]
                    if ahead and ahead_bytes + coming.instance.size > _AHEAD_BYTES:
                        break
                    ahead.append(asyncio.ensure_future(self._whole(coming)) if coming.is_whole else None)
                    ahead_bytes += coming.instance.size
                    following += 1
                reading = ahead.popleft()
                ahead_bytes -= item.instance.size
                if reading is not None:
                    data = await reading
                    yield self._head(number)
                    yield data
                    continue
                head = self._head(number)
                async for chunk in self.store.stream(item.instance.object_key):
                    yield head + chunk if head else chunk
                    head = b""
            yield closing(self.boundary)
        finally:
            for task in ahead:
                if task is not None:
                    task.cancel()

    async def _whole(self, item: Outgoing) -> bytes:
        if item.delivery is not Delivery.AS_STORED and item.instance.size > _TRANSCODE_BYTES:
            raise TooLarge("the instance is too large to be transcoded whole; ask for transfer-syntax=*")
        data = await self.store.get(item.instance.object_key)
        if len(data) != item.instance.size:
            raise NotFound("an object is not the size it was stored with")
        if item.delivery is Delivery.AS_STORED:
            return data
        return await self.workers.run(transcode_to_explicit, data, item.instance.transfer_syntax_uid)

    def _sizes(self) -> int | None:
        if any(item.delivery is not Delivery.AS_STORED for item in self.outgoing):
            return None
        return sum(item.instance.size for item in self.outgoing)

    def _head(self, number: int) -> bytes:
        syntax = self.outgoing[number].syntax
        headers = {"Content-Type": f"application/dicom; transfer-syntax={syntax}"}
        return part_head(self.boundary, headers, first=number == 0)
