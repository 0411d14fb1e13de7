"""Stored instances in another transfer syntax, by a worker process, from a file into a file."""

from __future__ import annotations

import asyncio
import mmap
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gantry_dicom.errors import CannotProcess, OutOfResources
from gantry_imaging.whole import rewrite
from gantry_imaging.workers import PixelWorkers
from gantry_index.records import StoredInstance
from gantry_objectstore.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Transcoder:
    """Transcodes whole instances; ``at_a_time`` of them lie on the disk at once."""

    store: ObjectStore
    workers: PixelWorkers
    folder: str | None
    at_a_time: asyncio.Semaphore

    @asynccontextmanager
    async def transcoded(self, instance: StoredInstance, target: str) -> AsyncIterator[mmap.mmap]:
        """Lend the data set of ``instance`` in ``target``.

        Raises ``CannotProcess`` when it cannot be made, ``OutOfResources`` without room on the disk,
        and what the store raises.
        """
        async with self.at_a_time:
            source, made = self._open(), self._open()
            try:
                await self._fetch(instance, source)
                await self.workers.run(rewrite, _path(source), _path(made), target)
                size = os.fstat(made).st_size
                if not size:
                    raise CannotProcess("nothing is left of the instance in the transfer syntax")
                with mmap.mmap(made, size, access=mmap.ACCESS_READ) as data:
                    yield data
            finally:
                os.close(source)
                os.close(made)

    def _open(self) -> int:
        # Without a name, so that nothing is left of it when we die.
        try:
            descriptor, name = tempfile.mkstemp(prefix="gantry-transcode-", dir=self.folder)
            Path(name).unlink()
        except OSError as error:
            raise OutOfResources("there is no room to transcode an instance") from error
        return descriptor

    async def _fetch(self, instance: StoredInstance, descriptor: int) -> None:
        async for piece in self.store.stream(instance.object_key):
            view = memoryview(piece)
            try:
                while view:
                    view = view[os.write(descriptor, view) :]
            except OSError as error:
                raise OutOfResources("there is no room to transcode an instance") from error


def _path(descriptor: int) -> str:
    """Return the path by which another process of ours finds an open file."""
    return f"/proc/{os.getpid()}/fd/{descriptor}"
