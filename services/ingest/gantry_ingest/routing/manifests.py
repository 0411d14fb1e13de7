"""New manifests, found by looking: they are permanent, so nothing that came can be missed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from gantry.reception.v1.reception_pb2 import Manifest
from gantry_dicom.errors import NotFound
from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import (
    MANIFEST_PREFIX,
    batch_time,
    manifest_day_folder,
    parse_manifest_key,
)
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.records import read_manifest
from gantry_objectstore.sealing import Sealer
from gantry_telemetry.logs import get_logger

log = get_logger(__name__)


class ManifestWatcher:
    """Reads each manifest of the last ``look_back`` once; one that a sweeper writes late, too."""

    def __init__(self, store: ObjectStore, sealer: Sealer, look_back: timedelta) -> None:
        self._store = store
        self._sealer = sealer
        self._look_back = look_back
        self._seen: set[str] = set()

    async def new(self) -> AsyncIterator[Manifest]:
        """Yield the manifests that were not there at the last look. Raises ``Unavailable``."""
        since = await self._store.now() - self._look_back
        listed = {key async for key in self._keys(since)}
        self._seen &= listed
        for key in sorted(listed - self._seen):
            try:
                manifest = await read_manifest(self._store, key, self._sealer)
            except NotFound:
                continue
            except (BadKey, BadSeal):
                log.exception("manifest_refused")
                self._seen.add(key)
                continue
            yield manifest
            self._seen.add(key)

    async def _keys(self, since: datetime) -> AsyncIterator[str]:
        for partition in await self._store.list_folders(MANIFEST_PREFIX):
            for day in await self._store.list_folders(f"{MANIFEST_PREFIX}{partition}/"):
                if day < since.date().isoformat():
                    continue
                async for info in self._store.list(manifest_day_folder(partition, day)):
                    if _is_since(info.key, since):
                        yield info.key


def _is_since(key: str, since: datetime) -> bool:
    try:
        return batch_time(parse_manifest_key(key).batch) >= since
    except BadKey:
        return False
