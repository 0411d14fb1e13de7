"""An amendment, read from the store and applied to the index; the task ``amend.v1``."""

from __future__ import annotations

from gantry.amendment.v1.amendment_pb2 import Amendment
from gantry_dicom.errors import CannotProcess, NotFound, Unavailable
from gantry_index.amendments import applied_revision, apply_amendment, waiting_receptions
from gantry_index.pools import IndexPool
from gantry_objectstore.amendments import read_amendment
from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import AmendmentKey, amendment_key, parse_amendment_key
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import ObjectStore
from gantry_telemetry.logs import get_logger

from gantry_indexer.isolating import Next
from gantry_indexer.renewing import Renewing
from gantry_indexer.replaying import Replaying

log = get_logger(__name__)

# Restored instances indexed at a time.
CHUNK = 100


class Amending:
    """Applies amendments in the order of their revisions; repeating it changes nothing."""

    def __init__(
        self,
        pool: IndexPool,
        store: ObjectStore,
        sealer: Sealer,
        replaying: Replaying,
        renewing: Renewing,
    ) -> None:
        self._pool = pool
        self._store = store
        self._sealer = sealer
        self._replaying = replaying
        self._renewing = renewing

    async def amend(self, key: str) -> Next:
        """Apply the amendment at ``key`` and those before it, then derive what they are about again."""
        try:
            return await self._amend(parse_amendment_key(key))
        except (NotFound, BadKey, BadSeal):
            # The task came through Redis; the record decides.
            log.exception("amendment_refused")
            return Next.DONE
        except CannotProcess:
            # Made by a newer release: its worker will know it.
            log.exception("amendment_not_understood")
            return Next.LATER
        except Unavailable as error:
            log.warning("amendment_paused", reason=error.detail)
            return Next.LATER

    async def _amend(self, place: AmendmentKey) -> Next:
        amendment: Amendment | None = None
        applied = await applied_revision(self._pool, place.partition, place.scope)
        for revision in range(min(applied + 1, place.revision), place.revision + 1):
            key = amendment_key(place.partition, place.scope, revision)
            amendment = await read_amendment(self._store, key, self._sealer)
            await apply_amendment(self._pool, amendment, place.scope)
        if amendment is None:
            return Next.DONE
        study_uid = amendment.study_instance_uid
        lines = await waiting_receptions(self._pool, place.partition, study_uid)
        for first in range(0, len(lines), CHUNK):
            outcome = await self._replaying.index(place.partition, lines[first : first + CHUNK])
            if outcome is not Next.DONE:
                return outcome
        await self._renewing.renew_all(place.partition, place.scope)
        return Next.DONE
