"""Received parts on their way to the gate: in memory while small, in an unlinked file when large."""

from __future__ import annotations

import mmap
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from gantry_dicom.errors import OutOfResources
from gantry_objectstore.budget import ByteBudget
from gantry_objectstore.store import Buffer

from gantry_reception.instruments import SPOOLED
from gantry_reception.settings import SpoolSettings

# Budgets are taken in steps, so that a part does not settle accounts with every chunk.
STEP_BYTES = 256 * 1024


class Spool:
    """What the parts of a process share: the bounds on memory and disk. Safe for threads."""

    def __init__(self, settings: SpoolSettings | None = None) -> None:
        self.settings = settings or SpoolSettings()
        self.memory = ByteBudget(self.settings.memory_bytes)
        self.disk = ByteBudget(self.settings.disk_bytes)

    def part(self, expected: int = 0) -> SpooledPart:
        """Return an empty part. Raises ``OutOfResources`` when ``expected`` bytes have no room now."""
        return SpooledPart(self, expected)


class SpooledPart:
    """A part that grows by ``write`` and is then read as one buffer; close it when done.

    Used by one thread at a time. When there is no room, ``write`` raises ``OutOfResources``: the
    sender is refused early instead of the process dying late.
    """

    def __init__(self, spool: Spool, expected: int = 0) -> None:
        self._spool = spool
        self._memory = bytearray()
        self._file: int | None = None
        self._map: mmap.mmap | None = None
        self._reserved = 0
        self._budget = spool.memory
        self.size = 0
        if expected > spool.settings.part_memory_bytes:
            self._spill()
        if expected:
            self._reserve(expected)

    def write(self, chunk: Buffer) -> None:
        """Append ``chunk``. Raises ``OutOfResources``."""
        size = self.size + len(chunk)
        if self._file is None and size > self._spool.settings.part_memory_bytes:
            self._spill()
        self._reserve(size)
        if self._file is None:
            self._memory += chunk
        else:
            _write(self._file, chunk)
        self.size = size

    def buffer(self) -> Buffer:
        """Return everything written, to be read until ``close``; nothing can be written after."""
        if self._map is not None:
            return self._map
        if self._file is None or not self.size:
            SPOOLED.labels("memory").inc()
            return memoryview(self._memory).toreadonly()
        SPOOLED.labels("disk").inc()
        self._map = mmap.mmap(self._file, self.size, access=mmap.ACCESS_READ)
        return self._map

    def close(self) -> None:
        """Forget the part and give its room back; safe to repeat."""
        self._budget.give(self._reserved)
        self._reserved = 0
        # Whoever still reads it (an upload that was cancelled) keeps the bytes alive until done.
        self._memory = bytearray()
        if self._map is not None:
            with suppress(BufferError):
                self._map.close()
            self._map = None
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reserve(self, size: int) -> None:
        missing = size - self._reserved
        if missing > 0:
            steps = -(-missing // STEP_BYTES) * STEP_BYTES
            self._budget.take(steps)
            self._reserved += steps

    def _spill(self) -> None:
        """Go on in a file that has no name, so that nothing is left of it when we die."""
        disk = self._spool.disk
        steps = -(-self.size // STEP_BYTES) * STEP_BYTES
        disk.take(steps)
        try:
            descriptor, name = tempfile.mkstemp(prefix="gantry-spool-", dir=self._spool.settings.folder)
            Path(name).unlink()
        except OSError as error:
            disk.give(steps)
            raise OutOfResources("there is no room to receive the object") from error
        self._budget.give(self._reserved)
        self._budget, self._reserved, self._file = disk, steps, descriptor
        _write(descriptor, self._memory)
        self._memory = bytearray()


def _write(descriptor: int, chunk: Buffer) -> None:
    view = memoryview(chunk)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        raise OutOfResources("there is no room to receive the object") from error
