"""Which holds forbid to delete objects: by the studies they are or were in, and by whose they are."""

from __future__ import annotations

from collections.abc import Sequence

from gantry.retention.v1.retention_pb2 import Hold
from gantry_index.reader import IndexReader
from gantry_objectstore.histories import read_history
from gantry_objectstore.holds import Held, HoldLedger, Patient
from gantry_objectstore.keys import amendment_scope
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer

from gantry_reception.patients import patients_named


class HoldCheck:
    """Asks before anything is deleted. Every method raises ``Unavailable``."""

    def __init__(self, store: ObjectStore, sealer: Sealer, index: IndexReader) -> None:
        self._store = store
        self._sealer = sealer
        self._index = index
        self._ledger = HoldLedger(store, sealer)

    async def standing(self, partition: str, study_uid: str, object_keys: Sequence[str]) -> list[Hold]:
        """Return the holds on objects of a study.

        Without ``object_keys`` only what the index says of the study is asked: for plans. Raises
        ``BadSeal``, and ``Conflict`` for an object that does not say whose it is.
        """
        studies = sorted({study_uid, *await self._index.received_as(object_keys)})
        patients: set[Patient] = set()
        if await self._ledger.has_patient_holds(partition):
            for each in studies:
                named = await self._index.patients_of(partition, each)
                patients |= {Patient(patient_id, issuer) for patient_id, issuer in named}
            lines = await self._index.receptions(object_keys)
            history = await read_history(self._store, self._sealer, partition, amendment_scope(study_uid))
            patients |= await patients_named(self._store, self._sealer, partition, lines, history)
        found: dict[str, Hold] = {}
        for each in studies:
            holds = await self._ledger.standing(partition, each, patients)
            found |= {hold.hold: hold for hold in holds}
        return list(found.values())

    async def refuse_held(self, partition: str, study_uid: str, object_keys: Sequence[str]) -> None:
        """Raise ``Held`` when a hold covers the objects; see ``standing``."""
        holds = await self.standing(partition, study_uid, object_keys)
        if holds:
            names = ", ".join(hold.hold for hold in holds)
            raise Held(f"a legal hold forbids to delete this: {names}")
