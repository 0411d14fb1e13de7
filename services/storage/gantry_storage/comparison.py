"""Reading an object again: what it is now, against what its manifest says. Nobody's word is trusted."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass

from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.errors import NotFound, Unavailable
from gantry_objectstore.protocol import Buffer, ObjectStore


class Pace:
    """Lets so many objects and bytes a second through, no more; 0 is no limit."""

    def __init__(self, objects_per_second: float = 0.0, bytes_per_second: float = 0.0) -> None:
        self._seconds_an_object = 1 / objects_per_second if objects_per_second else 0.0
        self._seconds_a_byte = 1 / bytes_per_second if bytes_per_second else 0.0
        self._ready_at = time.monotonic()

    async def read(self, *, objects: int = 0, size: int = 0) -> None:
        """Wait until what was just read is due."""
        cost = objects * self._seconds_an_object + size * self._seconds_a_byte
        if not cost:
            return
        now = time.monotonic()
        self._ready_at = max(self._ready_at, now) + cost
        await asyncio.sleep(self._ready_at - now)


@dataclass(frozen=True, slots=True)
class Reading:
    """What an object is: its size in bytes and the SHA-256 of the data set and of what is before it.

    ``is_readable`` is false when the store gives everything else and not this object.
    """

    size: int
    data_set_digest: bytes
    meta_digest: bytes
    is_readable: bool = True

    def is_as(self, line: Reception) -> bool:
        """Whether it is what the manifest's line says; a line of an unanswered instance may say less."""
        return (
            self.is_readable
            and (self.size == line.size or not line.size)
            and line.data_set_digest in (b"", self.data_set_digest)
            and line.meta_digest in (b"", self.meta_digest)
        )

    def evidence(self, line: Reception) -> dict[str, object]:
        """Return what is to be known of the difference."""
        if not self.is_readable:
            return {"readable": False, "size": line.size, "digest": line.data_set_digest.hex()}
        return {
            "size": line.size,
            "found_size": self.size,
            "digest": line.data_set_digest.hex(),
            "found_digest": self.data_set_digest.hex(),
            "meta_is_whole": line.meta_digest in (b"", self.meta_digest),
        }


UNREADABLE = Reading(0, b"", b"", is_readable=False)


async def read_again(store: ObjectStore, line: Reception, pace: Pace) -> Reading | None:
    """Return what lies at the line's key now, ``None`` for nothing. Raises ``Unavailable``."""
    try:
        reading = await _read(store, line, pace)
    except NotFound:
        return None
    except Unavailable:
        # The store's trouble or the object's (a bad sector)? A store that says what time it is works.
        await store.now()
        try:
            reading = await _read(store, line, pace)
        except NotFound:
            return None
        except Unavailable:
            await store.now()
            return UNREADABLE
    await pace.read(objects=1)
    return reading


async def size_again(store: ObjectStore, line: Reception) -> Reading | None:
    """Return what lies at the line's key by its size alone, believing the digests. Raises ``Unavailable``."""
    try:
        info = await store.head(line.object_key)
    except NotFound:
        return None
    return Reading(info.size, line.data_set_digest, line.meta_digest)


async def exists(store: ObjectStore, key: str) -> bool:
    """Whether something lies at ``key``. Raises ``Unavailable``."""
    try:
        await store.head(key)
    except NotFound:
        return False
    return True


async def _read(store: ObjectStore, line: Reception, pace: Pace) -> Reading:
    meta, data_set = hashlib.sha256(), hashlib.sha256()
    size = 0
    async for piece in store.stream(line.object_key):
        cut = max(0, line.meta_length - size)
        meta.update(piece[:cut])
        await asyncio.to_thread(data_set.update, piece[cut:])
        size += len(piece)
        await pace.read(size=len(piece))
    return Reading(size, data_set.digest(), meta.digest())


def reading_of(buffers: Iterable[Buffer], meta_length: int) -> Reading:
    """Return what an object of these buffers would be; takes the CPU for as long as they are large."""
    meta, data_set = hashlib.sha256(), hashlib.sha256()
    size = 0
    for buffer in buffers:
        with memoryview(buffer) as view:
            cut = max(0, meta_length - size)
            meta.update(view[:cut])
            data_set.update(view[cut:])
            size += view.nbytes
    return Reading(size, data_set.digest(), meta.digest())
