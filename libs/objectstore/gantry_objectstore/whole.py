"""A whole stored object as one buffer, without the memory of a large one."""

from __future__ import annotations

import asyncio
import mmap
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gantry_dicom.errors import CannotProcess

from gantry_objectstore.protocol import Buffer, ObjectStore

# Up to this size an object is read into memory, beyond it into an unlinked file that is mapped.
IN_MEMORY_BYTES = 32 * 1024 * 1024


@asynccontextmanager
async def whole_object(
    store: ObjectStore, key: str, size: int, *, in_memory: int = IN_MEMORY_BYTES
) -> AsyncIterator[Buffer]:
    """Give the object of ``size`` bytes at ``key`` as a buffer for the block.

    Raises ``NotFound``, ``Unavailable``, and ``CannotProcess`` when it is not of that size.
    """
    if size <= in_memory:
        data = await store.get(key)
        _check(len(data), size)
        yield data
        return
    with tempfile.TemporaryFile(prefix="gantry-object-") as file:
        written = 0
        async for piece in store.stream(key):
            await asyncio.to_thread(file.write, piece)
            written += len(piece)
        _check(written, size)
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            yield mapped
        finally:
            # An exception on its way still holds views of it; the mapping then goes with them.
            with suppress(BufferError):
                mapped.close()


def _check(found: int, expected: int) -> None:
    if found != expected:
        raise CannotProcess(f"the object has {found} bytes, not {expected}")
