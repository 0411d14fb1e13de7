"""Holds, set on the objects themselves where the bucket has object lock: a second, independent guard.

What a hold covers grows: each turn locks what was received since the last. Whatever was locked when
this process died is locked again, which changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gantry.retention.v1.retention_pb2 import (
    HOLD_SCOPE_PARTITION,
    HOLD_SCOPE_PATIENT,
    Hold,
)
from gantry_index.held_objects import held_object_keys
from gantry_index.pools import IndexPool
from gantry_objectstore.destruction import has_object_lock, set_legal_hold
from gantry_objectstore.holds import HoldLedger
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_telemetry.logs import get_logger

from gantry_storage.retention.instruments import LOCKED

log = get_logger(__name__)

# Receptions become visible in the index this much later than they were decided, at most.
_OVERLAP = timedelta(minutes=5)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class HoldLocks:
    """Keeps the bucket's legal holds as the ledger says. Raises ``Unavailable`` and ``BadSeal``."""

    def __init__(self, store: ObjectStore, sealer: Sealer, pool: IndexPool) -> None:
        self._store = store
        self._pool = pool
        self._ledger = HoldLedger(store, sealer)
        self._locked_until: dict[str, datetime] = {}

    async def run_once(self) -> int:
        """Lock what is held and unlock what is not any more; return on how many objects something was set."""
        if not await has_object_lock(self._store):
            return 0
        changed = 0
        for partition in await self._ledger.partitions():
            states = [state async for state in self._ledger.all(partition)]
            lifted = [state.hold for state in states if state.lift is not None]
            for hold in lifted:
                if not await self._ledger.unlocked(hold):
                    changed += await self._set(hold, _BEGINNING, on=False)
                    await self._ledger.note_unlocked(hold)
                    # Another hold may cover some of it.
                    self._locked_until.clear()
            for state in states:
                if state.lift is None:
                    changed += await self._lock(state.hold)
        return changed

    async def _lock(self, hold: Hold) -> int:
        begun = datetime.now(UTC)
        since = self._locked_until.get(hold.hold, _BEGINNING)
        changed = await self._set(hold, since, on=True)
        self._locked_until[hold.hold] = begun - _OVERLAP
        return changed

    async def _set(self, hold: Hold, since: datetime, *, on: bool) -> int:
        study = hold.study_instance_uid or None
        patient = hold.patient_id if hold.scope == HOLD_SCOPE_PATIENT else None
        if hold.scope == HOLD_SCOPE_PARTITION:
            study = patient = None
        changed = 0
        async for keys in held_object_keys(self._pool, hold.partition, study, patient, since):
            changed += await set_legal_hold(self._store, keys, on=on)
        LOCKED.labels("set" if on else "taken-away").inc(changed)
        return changed
