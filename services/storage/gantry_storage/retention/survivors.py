"""A duplicate goes only when the object that stays in its place has just been read and is whole."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping

from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.errors import Conflict, NotFound
from gantry_objectstore.protocol import ObjectStore


async def refuse_doubtful(
    store: ObjectStore, lines: Mapping[str, Reception], survivors: Mapping[str, str]
) -> None:
    """Raise ``Conflict`` unless every object has a survivor that holds the very same data set.

    ``lines`` are the receptions by object key, ``survivors`` the keys of what is shown in their places.
    """
    for key, line in lines.items():
        survivor = survivors.get(key)
        if survivor is None or not line.data_set_digest:
            raise Conflict("an object was a duplicate, but nothing is shown in its place now")
        if await _digest(store, survivor, line) != line.data_set_digest:
            raise Conflict("the object that stands for a duplicate is not whole")


async def _digest(store: ObjectStore, key: str, line: Reception) -> bytes:
    """Return the digest of the survivor's data set: the same bytes, so its length is known from the end."""
    length = line.size - line.meta_length
    digest = hashlib.sha256()
    try:
        offset = (await store.head(key)).size - length
        if offset < 0:
            return b""
        async for piece in store.stream(key, offset, length):
            await asyncio.to_thread(digest.update, piece)
    except NotFound:
        return b""
    return digest.digest()
