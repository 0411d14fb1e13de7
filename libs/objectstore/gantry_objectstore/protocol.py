"""The one seam to where bytes rest: what every object store does."""

from __future__ import annotations

import mmap
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview | mmap.mmap
# What is put: one buffer, or several that lie one after the other in the object.
Data: TypeAlias = Buffer | Sequence[Buffer]

# Up to this size an object goes in one request; beyond it in parts.
MAX_SINGLE_PUT_BYTES = 16 * 1024 * 1024
STREAM_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """Key, size in bytes, and the time of the last write by the store's own clock (UTC)."""

    key: str
    size: int
    last_modified: datetime


class ObjectStore(Protocol):
    """Objects under keys. Every method raises ``Unavailable`` when the store is in trouble.

    A missing key raises ``NotFound``, a malformed one ``BadKey``. A put that returned is as
    durable as the store makes it; a put that raised or was cancelled may still have happened.
    """

    async def put(self, key: str, data: Data, *, create: bool = False) -> None:
        """Store an object of known bytes, whole or not at all.

        With ``create`` an object that is there already stays and ``Conflict`` is raised: for small
        sequence objects only. Received objects have keys nobody else writes and need no condition.
        """
        ...

    async def put_large(self, key: str, source: AsyncIterable[Buffer]) -> int:
        """Store what ``source`` gives, in bounded memory, whole or not at all; return its size."""
        ...

    async def get(self, key: str) -> bytes:
        """Return the whole object."""
        ...

    async def get_prefix(self, key: str, length: int) -> bytes:
        """Return the first ``length`` bytes, or the whole object when it is shorter."""
        ...

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``. Raises ``OutOfRange``."""
        ...

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of every ``(offset, length)``, in order. Raises ``OutOfRange``."""
        ...

    def stream(
        self, key: str, offset: int = 0, length: int | None = None, chunk: int = STREAM_CHUNK_BYTES
    ) -> AsyncIterator[bytes]:
        """Yield ``length`` bytes (or all) from ``offset`` in pieces of up to ``chunk``, in bounded memory."""
        ...

    async def head(self, key: str) -> ObjectInfo:
        """Return what is known without reading the object."""
        ...

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield what lies under ``prefix``, which is empty or whole segments ending in ``/``.

        Every object whose put returned before the listing began is in it, once. The order is
        the server's own: SeaweedFS goes folder by folder, S3 by the bytes of the whole key.
        """
        ...

    async def list_folders(self, prefix: str) -> Sequence[str]:
        """Return the names of the next segment under ``prefix`` that have something below them."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object; one that is not there is fine."""
        ...

    async def now(self) -> datetime:
        """Return the store's own time (UTC), comparable with its ``last_modified``."""
        ...

    async def close(self) -> None:
        """Release threads and connections."""
        ...


def parts_of(data: Data) -> list[memoryview]:
    """Return the non-empty buffers of ``data`` as flat views of bytes."""
    buffers = [data] if isinstance(data, bytes | bytearray | memoryview | mmap.mmap) else data
    return [view for view in (memoryview(buffer).cast("B") for buffer in buffers) if view.nbytes]
