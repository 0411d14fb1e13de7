"""Takes amendments in: permanent in the object store first, then asked of the indexer."""

from __future__ import annotations

import asyncio
import time

from celery import Celery
from gantry.amendment.v1.amendment_pb2 import AMENDMENT_KIND_HIDE, Amendment
from gantry_dicom.errors import Unavailable
from gantry_index.reader import IndexReader
from gantry_messaging.celery_app import make_app, send
from gantry_messaging.names import AMEND_QUEUE
from gantry_objectstore.amendments import read_amendment, write_amendment
from gantry_objectstore.keys import amendment_folder, amendment_scope, parse_amendment_key
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_telemetry.logs import get_logger

from gantry_reception.held import HoldCheck

log = get_logger(__name__)

# Seconds between looks at whether the index has it.
POLL_SECONDS = 0.03


class Amender:
    """Writes amendments and waits a while for the index; one a process."""

    def __init__(
        self,
        store: ObjectStore,
        sealer: Sealer,
        index: IndexReader,
        redis_url: str,
        *,
        wait_seconds: float = 5.0,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._holds = HoldCheck(store, sealer, index)
        self._index = index
        self._redis_url = redis_url
        self._wait_seconds = wait_seconds
        self._tasks: Celery | None = None

    async def amend(self, amendment: Amendment) -> bool:
        """Give ``amendment`` its revision and make it permanent; tell whether the index has it by now.

        With ``False`` it will be applied, later: a sweep asks the indexer again. Raises
        ``Conflict`` and ``Unavailable`` (see ``write_amendment``), and ``Held`` for a deletion of
        what a legal hold covers.
        """
        if amendment.kind == AMENDMENT_KIND_HIDE:
            keys = [reception.object_key for reception in amendment.receptions]
            await self._holds.refuse_held(amendment.partition, amendment.study_instance_uid, keys)
        key = await write_amendment(self._store, amendment, self._sealer)
        if self._tasks is None:
            self._tasks = make_app(self._redis_url, [AMEND_QUEUE])
        return await send(self._tasks, AMEND_QUEUE, key) and await self._is_applied(key)

    async def history(self, partition: str, study_uid: str) -> list[Amendment]:
        """Return the amendments of a study, oldest first, from the object store.

        Raises ``Unavailable`` and ``BadSeal``.
        """
        return await self.history_of(partition, amendment_scope(study_uid))

    async def history_of(self, partition: str, scope: str) -> list[Amendment]:
        """Return the amendments of a study or patient by its scope; see ``history``."""
        folder = amendment_folder(partition, scope)
        keys = sorted([info.key async for info in self._store.list(folder)])
        return [await read_amendment(self._store, key, self._sealer) for key in keys]

    async def _is_applied(self, key: str) -> bool:
        place = parse_amendment_key(key)
        give_up_at = time.monotonic() + self._wait_seconds
        while time.monotonic() < give_up_at:
            try:
                applied = await self._index.applied_revision(place.partition, place.scope)
                if applied >= place.revision and not await self._index.is_renewing(
                    place.partition, place.scope
                ):
                    return True
            except Unavailable as error:
                log.warning("amendment_not_confirmed", reason=error.detail)
                return False
            await asyncio.sleep(POLL_SECONDS)
        return False
