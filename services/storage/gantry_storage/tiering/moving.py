"""Moves a study to another store, or back: copied, read again, said in the bucket, and then let go of.

Until the grace of a move is over its objects lie in both stores, so whoever was reading goes on, and
a mistake costs nothing. Nothing is let go of before the other copy has been looked at once more.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gantry.amendment.v1.amendment_pb2 import AMENDMENT_KIND_RELOCATE, AmendedReception, Amendment
from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.errors import BadRequest, CannotProcess, Conflict, GantryError, NotFound, Unavailable
from gantry_index.pools import IndexPool
from gantry_index.tiers import PlacedObject, note_looked_at, placed_objects
from gantry_objectstore.amendments import MAX_RECEPTIONS, write_amendment
from gantry_objectstore.destruction import destroy
from gantry_objectstore.histories import read_history, read_lines
from gantry_objectstore.keys import AmendmentKey, parse_amendment_key
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.retention_keys import MOVING_PREFIX, moving_key, parse_moving_key
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.tombstones import locations, tombstones
from gantry_telemetry.logs import get_logger
from gantry_telemetry.metrics import counter, gauge

from gantry_storage.retention.purging import Orderer, SendAmendment

log = get_logger(__name__)

MOVED = counter("gantry_tier_moved_objects", "Objects moved to a store", ["tier"])
MOVED_BYTES = counter("gantry_tier_moved_bytes", "Bytes of objects moved to a store", ["tier"])
MOVES_OPEN = gauge("gantry_tier_moves_open", "Moves whose objects still lie in the store that they left")

_NOTE = b"moved\n"
_PARALLEL = 4


@dataclass(frozen=True, slots=True)
class Move:
    """What was moved."""

    objects: int
    bytes: int


class Mover:
    """Moves studies between stores. Every method raises ``Unavailable`` when something is down."""

    def __init__(
        self,
        store: ObjectStore,
        stores: Mapping[str, ObjectStore],
        sealer: Sealer,
        pool: IndexPool,
        send: SendAmendment,
        grace: timedelta,
    ) -> None:
        self._store = store
        self._stores = stores
        self._sealer = sealer
        self._pool = pool
        self._send = send
        self._grace = grace
        # Two moves of one study at once would leave it in whichever store was named last.
        self._turn = asyncio.Lock()

    @property
    def first(self) -> str:
        """The id of the store into which everything is received."""
        return next(iter(self._stores))

    async def move(self, partition: str, study_uid: str, store_id: str, orderer: Orderer) -> Move:
        """Move what is shown of a study; what lies there already stays as it is.

        Raises ``NotFound``, ``BadRequest`` for a store that is not there, and ``CannotProcess`` when
        an object is not whole: it stays where it is.
        """
        if store_id not in self._stores:
            raise BadRequest(f"there is no store {store_id}")
        async with self._turn:
            return await self._move(partition, study_uid, store_id, orderer)

    async def _move(self, partition: str, study_uid: str, store_id: str, orderer: Orderer) -> Move:
        shown = await placed_objects(self._pool, partition, study_uid)
        if not shown:
            raise NotFound("nothing of the study is shown")
        moving = [one for one in shown if one.store_id != store_id]
        lines = await read_lines(self._store, self._sealer, partition, [one.object_key for one in moving])
        slots = asyncio.Semaphore(_PARALLEL)

        async def copy(one: PlacedObject) -> None:
            async with slots:
                await self._copy(lines[one.object_key], one.store_id, store_id)

        await asyncio.gather(*map(copy, moving))
        for first in range(0, len(moving), MAX_RECEPTIONS):
            await self._say(partition, study_uid, store_id, orderer, moving[first : first + MAX_RECEPTIONS])
        size = sum(lines[one.object_key].size for one in moving)
        MOVED.labels(store_id).inc(len(moving))
        MOVED_BYTES.labels(store_id).inc(size)
        log.info("study_moved", partition=partition, study_instance_uid=study_uid, store_id=store_id)
        return Move(len(moving), size)

    async def recall(self, partition: str, study_uid: str, orderer: Orderer) -> Move:
        """Bring a study back to the first store; it counts as looked at today."""
        await note_looked_at(self._pool, [(partition, study_uid)], datetime.now(UTC).date())
        return await self.move(partition, study_uid, self.first, orderer)

    async def let_go(self) -> int:
        """Delete what moves have left behind, when their grace is over; return how many still wait."""
        staying = 0
        for info in [info async for info in self._store.list(MOVING_PREFIX)]:
            age = await self._store.now() - info.last_modified
            is_over = False
            if age >= self._grace:
                try:
                    async with self._turn:
                        is_over = await self._let_go_of(parse_moving_key(info.key))
                except Unavailable:
                    raise
                except GantryError as error:
                    log.warning("move_waits", reason=error.detail)
            if is_over:
                await self._store.delete(info.key)
            else:
                staying += 1
        MOVES_OPEN.set(staying)
        return staying

    async def _copy(self, line: Reception, source_id: str, target_id: str) -> None:
        key, target = line.object_key, self._stores[target_id]
        source = self._stores.get(source_id)
        if source is None:
            raise BadRequest(f"there is no store {source_id}, where an object lies")
        if await _is_whole(target, line):
            return  # left there by an earlier move, or copied before this process died
        if not await _is_whole(source, line):
            raise CannotProcess("an object is not whole, and stays where it is")
        await target.put_large(key, source.stream(key))
        if not await _is_whole(target, line):
            await target.delete(key)
            raise Unavailable("a store has not kept what it was given")

    async def _say(
        self,
        partition: str,
        study_uid: str,
        store_id: str,
        orderer: Orderer,
        moved: Sequence[PlacedObject],
    ) -> None:
        amendment = Amendment(
            partition=partition,
            study_instance_uid=study_uid,
            kind=AMENDMENT_KIND_RELOCATE,
            principal=orderer.principal,
            reason=orderer.reason,
            made_at_us=time.time_ns() // 1000,
            store_id=store_id,
            receptions=[
                AmendedReception(
                    object_key=one.object_key,
                    series_instance_uid=one.series_uid,
                    sop_instance_uid=one.sop_uid,
                )
                for one in moved
            ],
        )
        key = await write_amendment(self._store, amendment, self._sealer)
        place = parse_amendment_key(key)
        # Died in between: both copies stay, which costs room and nothing else.
        await self._store.put(moving_key(place.partition, place.scope, place.revision), _NOTE)
        await self._send(key)

    async def _let_go_of(self, place: AmendmentKey) -> bool:
        """Delete the copies that a move left behind; tell whether none is left. Raises ``Held``."""
        history = await read_history(self._store, self._sealer, place.partition, place.scope)
        move = next((each for each in history if each.revision == place.revision), None)
        if move is None:
            raise Conflict("a note names a move that is not there")
        purged = tombstones(history).purged
        where = locations(history)
        keys = [one.object_key for one in move.receptions if one.object_key not in purged]
        lines = await read_lines(self._store, self._sealer, place.partition, keys)
        for key in keys:
            kept = self._stores.get(where[key])
            if kept is None or not await _is_whole(kept, lines[key]):
                raise CannotProcess("the copy that is to stay is not whole")
            # Reading takes its time. Whoever has moved it meanwhile counts on another copy.
            now = locations(await read_history(self._store, self._sealer, place.partition, place.scope))
            if now[key] != where[key]:
                raise CannotProcess("the study was moved again meanwhile")
            for store_id, store in self._stores.items():
                if store_id != where[key]:
                    await destroy(store, key)
        return True


async def _is_whole(store: ObjectStore, line: Reception) -> bool:
    """Whether a store has the object with the bytes that were received, by reading them."""
    meta, data_set, size = hashlib.sha256(), hashlib.sha256(), 0
    try:
        async for piece in store.stream(line.object_key):
            cut = max(0, line.meta_length - size)
            meta.update(piece[:cut])
            await asyncio.to_thread(data_set.update, piece[cut:])
            size += len(piece)
    except NotFound:
        return False
    return (
        size == line.size
        and line.data_set_digest in (b"", data_set.digest())
        and line.meta_digest in (b"", meta.digest())
    )
