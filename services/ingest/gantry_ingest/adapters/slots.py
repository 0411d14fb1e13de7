"""How many associations each worker of one listener has, in memory they share."""

from __future__ import annotations

import mmap
import os
import struct

_COUNT = struct.Struct("=i")


class AssociationSlots:
    """One counter a worker; each writes its own and reads all.

    The memory is an unlinked file whose descriptor the workers inherit.
    """

    def __init__(self, descriptor: int, workers: int) -> None:
        self._memory = mmap.mmap(descriptor, workers * _COUNT.size)
        self._workers = workers

    @staticmethod
    def create(workers: int) -> int:
        """Return the descriptor of new shared memory for ``workers`` counters."""
        descriptor = os.memfd_create("association-slots", 0)
        os.ftruncate(descriptor, workers * _COUNT.size)
        os.set_inheritable(descriptor, True)
        return descriptor

    def publish(self, worker: int, count: int) -> None:
        """Record that ``worker`` has ``count`` associations."""
        _COUNT.pack_into(self._memory, worker * _COUNT.size, count)

    def total(self) -> int:
        """Return the number of associations of all workers."""
        return sum(_COUNT.unpack_from(self._memory, n * _COUNT.size)[0] for n in range(self._workers))
