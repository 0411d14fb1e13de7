"""Amendments that are not in the index yet: asked of the indexer until they are.

The notes under ``w/`` are to amendments what the journal is to receptions: short-lived, few,
and enough to find everything that may still have to be done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime

from gantry.amendment.v1.amendment_pb2 import Amendment
from gantry_dicom.errors import NotFound
from gantry_objectstore.amendments import read_amendment
from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import (
    AMENDMENT_PREFIX,
    WAITING_PREFIX,
    AmendmentKey,
    amendment_key,
    parse_amendment_key,
    parse_waiting_key,
)
from gantry_objectstore.protocol import ObjectInfo, ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_telemetry.logs import get_logger

from gantry_storage.instruments import AMENDMENTS, AMENDMENTS_WAITING, BROKEN

log = get_logger(__name__)

# Seconds in which whoever wrote an amendment is the one to ask for it.
FIRST_ASKED_BY_WRITER = 10.0
POLL_SECONDS = 0.2
# Of a replay: studies under way at a time, and seconds after which the indexer is asked again.
WINDOW = 64
ASK_AGAIN_SECONDS = 30.0

# Whether the index has a study's amendments up to a revision: partition, scope, revision.
IsApplied = Callable[[str, str, int], Awaitable[bool]]
# Whether something waits to be indexed again for an amendment at this place.
IsWaiting = Callable[[AmendmentKey, Amendment], Awaitable[bool]]
# Sends the task for the amendment at a key; tells whether Redis took it.
SendAmendment = Callable[[str], Awaitable[bool]]


class Amendments:
    """Sees to it that every amendment reaches the index."""

    def __init__(
        self,
        store: ObjectStore,
        sealer: Sealer,
        is_applied: IsApplied,
        is_waiting: IsWaiting,
        send: SendAmendment,
        *,
        leave_alone: float,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._is_applied = is_applied
        self._is_waiting = is_waiting
        self._send = send
        self._leave_alone = leave_alone

    async def sweep(self) -> int:
        """Ask for what waits and forget what is done; returns how many notes stay. Raises ``Unavailable``."""
        now = await self._store.now()
        notes = [info async for info in self._store.list(WAITING_PREFIX)]
        staying = 0
        for note in sorted(notes, key=lambda info: info.key):
            if await self._is_done(note, (now - note.last_modified).total_seconds()):
                await self._store.delete(note.key)
            else:
                staying += 1
        AMENDMENTS_WAITING.set(staying)
        return staying

    async def replay(self, partition: str | None = None, until: datetime | None = None) -> int:
        """Ask for every amendment there is and wait until the index has them; returns their number.

        For an index that is older than the bucket, or new: it must know what is hidden before
        it is told of receptions. With ``until`` only what was decided before that moment.
        Raises ``Unavailable``.
        """
        newest: dict[tuple[str, str], AmendmentKey] = {}
        async for place in self._all(partition):
            known = newest.get((place.partition, place.scope))
            if known is None or known.revision < place.revision:
                newest[place.partition, place.scope] = place
        if until is not None:
            found = [await self._newest_before(place, until) for place in newest.values()]
            newest = {(place.partition, place.scope): place for place in found if place is not None}
        places = [place for place in newest.values() if await self._is_believed(place)]
        for first in range(0, len(places), WINDOW):
            await self._wait_for(places[first : first + WINDOW])
        return len(places)

    async def _wait_for(self, places: Sequence[AmendmentKey]) -> None:
        asked_at = float("-inf")
        while missing := [
            place
            for place in places
            if not await self._is_applied(place.partition, place.scope, place.revision)
        ]:
            if time.monotonic() - asked_at > ASK_AGAIN_SECONDS:
                asked_at = time.monotonic()
                for place in missing:
                    await self._ask(place)
            await asyncio.sleep(POLL_SECONDS)

    async def _newest_before(self, place: AmendmentKey, until: datetime) -> AmendmentKey | None:
        """Return the last of a study's amendments that was made before ``until``."""
        limit = until.timestamp() * 1_000_000
        for revision in range(place.revision, 0, -1):
            key = amendment_key(place.partition, place.scope, revision)
            try:
                amendment = await read_amendment(self._store, key, self._sealer)
            except (NotFound, BadSeal):
                BROKEN.labels("amendment").inc()
                log.exception("amendment_refused", object_key=key)
                continue
            if amendment.made_at_us < limit:
                return AmendmentKey(place.partition, place.scope, revision)
        return None

    async def _is_believed(self, place: AmendmentKey) -> bool:
        for revision in range(1, place.revision + 1):
            key = amendment_key(place.partition, place.scope, revision)
            try:
                await read_amendment(self._store, key, self._sealer)
            except (NotFound, BadSeal):
                # The indexer would refuse it, and with it what comes after.
                BROKEN.labels("amendment").inc()
                log.exception("amendment_refused", object_key=key)
                return False
        return True

    async def _all(self, partition: str | None) -> AsyncIterator[AmendmentKey]:
        names = [partition] if partition else sorted(await self._store.list_folders(AMENDMENT_PREFIX))
        for name in names:
            async for info in self._store.list(f"{AMENDMENT_PREFIX}{name}/"):
                try:
                    yield parse_amendment_key(info.key)
                except BadKey:
                    BROKEN.labels("amendment-key").inc()
                    log.exception("amendment_key_refused")

    async def _is_done(self, note: ObjectInfo, age: float) -> bool:
        try:
            place = parse_waiting_key(note.key)
        except BadKey:
            BROKEN.labels("amendment-key").inc()
            log.exception("amendment_key_refused")
            return False
        key = amendment_key(place.partition, place.scope, place.revision)
        try:
            amendment = await read_amendment(self._store, key, self._sealer)
        except NotFound:
            # Its writer died in between, or is about to put it.
            return age > self._leave_alone
        except BadSeal:
            BROKEN.labels("amendment").inc()
            log.exception("amendment_refused")
            return False
        if await self._is_applied(
            place.partition, place.scope, place.revision
        ) and not await self._is_waiting(place, amendment):
            return True
        if age > FIRST_ASKED_BY_WRITER:
            await self._ask(place)
        return False

    async def _ask(self, place: AmendmentKey) -> None:
        sent = await self._send(amendment_key(place.partition, place.scope, place.revision))
        AMENDMENTS.labels("asked" if sent else "not-sent").inc()
