"""How many associations each title has asked for in this minute, over all workers of one listener."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

# Titles share an entry only by chance; the limit is then a little tighter for both.
_ENTRIES = 1024
_MINUTE = 60.0
# An entry is a minute and a count in it.
RATES_BYTES = _ENTRIES * 8


class AssociationRates:
    """Counts in memory that the workers share. Two that count at the same instant may lose one."""

    def __init__(self, memory: memoryview, clock: Callable[[], float] = time.time) -> None:
        """``memory`` holds ``RATES_BYTES``."""
        self._memory = memory.cast("B").cast("Q")
        self._clock = clock

    def count(self, calling_ae_title: str) -> int:
        """Count a request and return how many ``calling_ae_title`` has made in this minute."""
        digest = hashlib.blake2b(calling_ae_title.encode(), digest_size=8).digest()
        n = int.from_bytes(digest) % _ENTRIES
        minute = int(self._clock() / _MINUTE) & 0xFFFF_FFFF
        entry = self._memory[n]
        count = (entry & 0xFFFF_FFFF) + 1 if entry >> 32 == minute else 1
        self._memory[n] = minute << 32 | count
        return count
