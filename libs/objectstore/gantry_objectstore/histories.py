"""What the bucket itself says of a study: its amendments, and the manifests' lines of its objects."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gantry.amendment.v1.amendment_pb2 import Amendment
from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.errors import NotFound, Unavailable

from gantry_objectstore.amendments import read_amendment
from gantry_objectstore.keys import amendment_folder, manifest_key, parse_object_key
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.records import read_manifest
from gantry_objectstore.sealing import Sealer

# Manifests read at a time.
_PARALLEL = 8


async def read_history(store: ObjectStore, sealer: Sealer, partition: str, scope: str) -> list[Amendment]:
    """Return the amendments of a scope, oldest first. Raises ``Unavailable`` and ``BadSeal``."""
    keys = sorted([info.key async for info in store.list(amendment_folder(partition, scope))])
    return [await read_amendment(store, key, sealer) for key in keys]


async def read_lines(
    store: ObjectStore, sealer: Sealer, partition: str, object_keys: Sequence[str]
) -> dict[str, Reception]:
    """Return how each object was received. Raises ``BadSeal``, and ``Unavailable`` while a batch is open."""
    batches = sorted({parse_object_key(key).batch for key in object_keys})
    slots = asyncio.Semaphore(_PARALLEL)

    async def lines_of(batch: str) -> list[Reception]:
        async with slots:
            try:
                manifest = await read_manifest(store, manifest_key(partition, batch), sealer)
            except NotFound:
                raise Unavailable("an object was received just now: its batch is not closed yet") from None
            return list(manifest.receptions)

    wanted = set(object_keys)
    found = await asyncio.gather(*(lines_of(batch) for batch in batches))
    return {line.object_key: line for lines in found for line in lines if line.object_key in wanted}
