"""Where else the bytes of an object may lie: other receptions, what was put aside, a replica.

A copy is one when its size and digests are those of the manifest's line, whatever it is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.errors import CannotProcess, NotFound, Unavailable
from gantry_index.findings import set_aside_copies
from gantry_index.object_rows import objects_of_content, rows_of
from gantry_index.pools import IndexPool
from gantry_objectstore.errors import BadKey, BadSeal, OutOfRange
from gantry_objectstore.protocol import Buffer, ObjectStore
from gantry_objectstore.records import read_manifest
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.whole import whole_object
from gantry_telemetry.logs import get_logger

from gantry_storage.comparison import Reading, reading_of

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a copy may be, and what to call it; ``meta_length`` are its bytes before the data set."""

    store: ObjectStore
    key: str
    origin: str
    meta_length: int


@dataclass(frozen=True, slots=True)
class Copy:
    """The bytes of an object, proven, and where they came from."""

    data: Sequence[Buffer]
    origin: str


class SpareCopies:
    """Finds copies; ``replica`` is a store with the same keys, if there is one."""

    def __init__(self, store: ObjectStore, pool: IndexPool, replica: ObjectStore | None) -> None:
        self._store = store
        self._pool = pool
        self._replica = replica

    @asynccontextmanager
    async def of(self, partition: str, line: Reception, lying: Reading | None) -> AsyncIterator[Copy | None]:
        """Give a copy of the line's object for the block, or ``None``. Raises ``Unavailable``.

        ``lying`` is what lies at its key now: another object's bytes may have changed places with it.
        """
        silent = False
        for place in await self._places(partition, line, lying):
            async with AsyncExitStack() as stack:
                try:
                    data = await self._proven(place, line, stack)
                except Unavailable as error:
                    if place.store is self._store:
                        raise
                    log.warning("replica_not_asked", reason=error.detail)
                    silent = True
                    continue
                if data is not None:
                    yield Copy(data, place.origin)
                    return
        if silent:
            raise Unavailable("the replica does not answer, and there is no other copy")
        yield None

    async def manifest(self, key: str, sealer: Sealer) -> bytes:
        """Return the bytes of a manifest from the replica. Raises ``CannotProcess``, ``Unavailable``."""
        if self._replica is None:
            raise CannotProcess("there is no replica to take the manifest from")
        try:
            await read_manifest(self._replica, key, sealer)
            return await self._replica.get(key)
        except (NotFound, BadSeal) as error:
            raise CannotProcess("the replica has no whole manifest of this name") from error

    async def _places(self, partition: str, line: Reception, lying: Reading | None) -> list[Place]:
        places = []
        if self._replica is not None:
            places.append(Place(self._replica, line.object_key, "the replica", line.meta_length))
        try:
            places += await self._places_of_index(partition, line, lying)
        except Unavailable as error:
            if not places:
                raise
            log.warning("copies_not_looked_up", reason=error.detail)
        return places

    async def _places_of_index(self, partition: str, line: Reception, lying: Reading | None) -> list[Place]:
        own, digest = line.object_key, line.data_set_digest
        keys = await objects_of_content(self._pool, partition, line.sop_instance_uid, digest, own)
        if lying is not None and lying.data_set_digest:
            # Two objects in each other's place: whose bytes lie here may have ours.
            keys += await objects_of_content(self._pool, partition, "", lying.data_set_digest, own)
        rows = await rows_of(self._pool, keys)
        places = [
            Place(self._store, key, "another reception", length)
            for key in dict.fromkeys(keys)
            # What lies in the wrong place has its own File Meta, which may be of another length.
            for length in dict.fromkeys((rows[key].meta_length, line.meta_length))
            if key in rows
        ]
        aside = await set_aside_copies(self._pool, partition, digest.hex())
        return places + [Place(self._store, key, "bytes put aside", line.meta_length) for key in aside]

    async def _proven(self, place: Place, line: Reception, stack: AsyncExitStack) -> Sequence[Buffer] | None:
        """Return what lies at ``place`` as the line's object, or ``None`` when it is not.

        The buffers last as long as ``stack``.
        """
        size = line.size - line.meta_length + place.meta_length
        try:
            whole = await stack.enter_async_context(whole_object(place.store, place.key, size))
        except (NotFound, BadKey, CannotProcess):
            return None
        parts: list[Buffer] = [whole]
        if await self._is_as(parts, line):
            return parts
        meta = await self._own_meta(line)
        if meta is None:
            return None
        # The same data set, received with another File Meta: ours is still there.
        parts = [meta, memoryview(whole)[place.meta_length :]]
        return parts if await self._is_as(parts, line) else None

    async def _own_meta(self, line: Reception) -> bytes | None:
        try:
            return await self._store.get_range(line.object_key, 0, line.meta_length)
        except (NotFound, OutOfRange):
            return None

    async def _is_as(self, parts: Sequence[Buffer], line: Reception) -> bool:
        return (await asyncio.to_thread(reading_of, parts, line.meta_length)).is_as(line)
