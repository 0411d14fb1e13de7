"""In memory that the workers of a listener share: who serves, has which associations, and how often."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Collection

from gantry_ingest.adapters.rates import RATES_BYTES, AssociationRates

_ENTRY_BYTES = 8


class AssociationSlots:
    """A row of entries a worker, one entry an association; each writes its own row and reads all.

    An entry stands for a calling AE title; 0 is free. The memory is an unlinked file whose
    descriptor the workers inherit. The peers of one association are counted right after it is
    entered, so that of two that come at once in two workers both see both. A row has room for one
    more than may be let in: whoever is one too many must be seen, also where one worker has all.
    """

    def __init__(self, descriptor: int, workers: int, most: int) -> None:
        """``most`` associations may be let in."""
        self._entries = most + 1
        size = workers * self._entries * _ENTRY_BYTES
        shared = memoryview(mmap.mmap(descriptor, size + RATES_BYTES + workers))
        self._memory = shared[:size].cast("Q")
        self.rates = AssociationRates(shared[size : size + RATES_BYTES])
        self._serving = shared[size + RATES_BYTES :]

    @staticmethod
    def create(workers: int, most: int) -> int:
        """Return the descriptor of new shared memory for ``workers`` that let ``most`` in between them."""
        descriptor = os.memfd_create("association-slots", 0)
        os.ftruncate(descriptor, workers * (most + 1) * _ENTRY_BYTES + RATES_BYTES + workers)
        os.set_inheritable(descriptor, True)
        return descriptor

    def publish(self, worker: int, calling_ae_titles: Collection[str]) -> None:
        """Record which associations ``worker`` has; more than the one too many are left out."""
        entries = [_entry(title) for title in calling_ae_titles][: self._entries]
        row = worker * self._entries
        for n, entry in enumerate(entries + [0] * (self._entries - len(entries))):
            self._memory[row + n] = entry

    def set_serving(self, worker: int, *, serving: bool) -> None:
        """Record whether ``worker`` takes connections."""
        self._serving[worker] = serving

    def serving(self, worker: int) -> bool:
        """Tell whether ``worker`` takes connections, or did when it died."""
        return bool(self._serving[worker])

    def total(self) -> int:
        """Return the number of associations of all workers."""
        return sum(self.counts())

    def counts(self) -> list[int]:
        """Return the number of associations of each worker."""
        entries = self._memory.tolist()
        rows = (entries[n : n + self._entries] for n in range(0, len(entries), self._entries))
        return [self._entries - row.count(0) for row in rows]

    def of_title(self, calling_ae_title: str) -> int:
        """Return how many of them ``calling_ae_title`` has."""
        return self._memory.tolist().count(_entry(calling_ae_title))


def _entry(calling_ae_title: str) -> int:
    digest = hashlib.blake2b(calling_ae_title.encode(), digest_size=_ENTRY_BYTES).digest()
    return int.from_bytes(digest, "little") or 1
