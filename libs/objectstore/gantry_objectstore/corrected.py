"""Corrected objects: a header of their own, and behind it the rest of the received object.

The key of a corrected header says how it goes on, so whoever reads an instance by its key, whole, in
ranges or as a stream, reads it corrected and need not know; the pixels are in the bucket once.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator, Sequence
from datetime import datetime

from gantry_objectstore.keys import HEADER_PREFIX, parse_header_key
from gantry_objectstore.protocol import STREAM_CHUNK_BYTES, Buffer, Data, ObjectInfo, ObjectStore


class CorrectedObjects:
    """An object store in which keys of corrected headers stand for the whole corrected objects.

    Everything else is as in ``store``. Puts and deletes are of the header alone.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, key: str, data: Data, *, create: bool = False) -> None:
        """See ``ObjectStore``."""
        await self._store.put(key, data, create=create)

    async def put_large(self, key: str, source: AsyncIterable[Buffer]) -> int:
        """See ``ObjectStore``."""
        return await self._store.put_large(key, source)

    async def get(self, key: str) -> bytes:
        """See ``ObjectStore``."""
        if not key.startswith(HEADER_PREFIX):
            return await self._store.get(key)
        return b"".join([piece async for piece in self.stream(key)])

    async def get_prefix(self, key: str, length: int) -> bytes:
        """See ``ObjectStore``."""
        if not key.startswith(HEADER_PREFIX):
            return await self._store.get_prefix(key, length)
        found = bytearray()
        async for piece in self.stream(key):
            found += piece
            if len(found) >= length:
                break
        return bytes(found[:length])

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See ``ObjectStore``."""
        return (await self.get_ranges(key, [(offset, length)]))[0]

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> builtins.list[bytes]:
        """See ``ObjectStore``."""
        if not key.startswith(HEADER_PREFIX):
            return await self._store.get_ranges(key, ranges)
        place = parse_header_key(key)
        cuts = [list(_cut(offset, length, place.length, place.rest)) for offset, length in ranges]
        in_header = [span for cut in cuts for is_header, span in cut if is_header]
        in_rest = [span for cut in cuts for is_header, span in cut if not is_header]
        header, rest = await asyncio.gather(
            self._store.get_ranges(key, in_header) if in_header else _nothing(),
            self._store.get_ranges(place.object_key, in_rest) if in_rest else _nothing(),
        )
        from_header, from_rest = iter(header), iter(rest)
        return [b"".join(next(from_header if here else from_rest) for here, _ in cut) for cut in cuts]

    def stream(
        self, key: str, offset: int = 0, length: int | None = None, chunk: int = STREAM_CHUNK_BYTES
    ) -> AsyncIterator[bytes]:
        """See ``ObjectStore``."""
        if not key.startswith(HEADER_PREFIX):
            return self._store.stream(key, offset, length, chunk)
        return self._stream(key, offset, length, chunk)

    async def _stream(
        self, key: str, offset: int, length: int | None, chunk: int
    ) -> AsyncGenerator[bytes, None]:
        place = parse_header_key(key)
        taken = place.length - offset if length is None else min(length, place.length - offset)
        if taken > 0:
            yield await self._store.get_range(key, offset, taken)
        left = None if length is None else length - max(taken, 0)
        if left == 0:
            return
        start = place.rest + max(offset - place.length, 0)
        if left is None and (await self._store.head(place.object_key)).size == start:
            return
        # Not closed by hand when we are: it ends with the reference to it, as the store's own do.
        async for piece in self._store.stream(place.object_key, start, left, chunk):
            yield piece

    async def head(self, key: str) -> ObjectInfo:
        """See ``ObjectStore``; the size is that of the whole, the time that of the header."""
        if not key.startswith(HEADER_PREFIX):
            return await self._store.head(key)
        place = parse_header_key(key)
        header, received = await asyncio.gather(self._store.head(key), self._store.head(place.object_key))
        return ObjectInfo(key, header.size + received.size - place.rest, header.last_modified)

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See ``ObjectStore``; of corrected headers the sizes are their own."""
        return self._store.list(prefix)

    async def list_folders(self, prefix: str) -> Sequence[str]:
        """See ``ObjectStore``."""
        return await self._store.list_folders(prefix)

    async def delete(self, key: str) -> None:
        """See ``ObjectStore``."""
        await self._store.delete(key)

    async def now(self) -> datetime:
        """See ``ObjectStore``."""
        return await self._store.now()

    async def close(self) -> None:
        """See ``ObjectStore``."""
        await self._store.close()


def _cut(offset: int, length: int, header: int, rest: int) -> Iterator[tuple[bool, tuple[int, int]]]:
    """Yield the one or two ranges that ``offset`` and ``length`` come to, and whether of the header."""
    taken = min(length, header - offset)
    if taken > 0:
        yield True, (offset, taken)
        offset, length = header, length - taken
    if length or taken <= 0:
        yield False, (rest + offset - header, length)


async def _nothing() -> list[bytes]:
    return []
