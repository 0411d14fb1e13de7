"""Legal holds: what nobody may delete, kept beside the objects, so that no loss of a database ends one.

A hold is found by what it covers, not by reading them all: three short listings answer whether a
study may be deleted. Whatever cannot be believed about a hold counts against deleting.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from gantry.retention.v1.retention_pb2 import (
    HOLD_SCOPE_PARTITION,
    HOLD_SCOPE_PATIENT,
    HOLD_SCOPE_STUDY,
    Hold,
    HoldLift,
)
from gantry_dicom.errors import BadRequest, Conflict, NotFound

from gantry_objectstore.errors import BadSeal
from gantry_objectstore.keys import check_partition, new_batch_id
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.retention_keys import HOLD_PREFIX, LIFTED, hold_folder
from gantry_objectstore.sealing import Sealer

_UNLOCKED = ".unlocked"
_PATIENT = "patient"
_KINDS = {HOLD_SCOPE_STUDY: "study", HOLD_SCOPE_PATIENT: _PATIENT, HOLD_SCOPE_PARTITION: "partition"}


class Held(Conflict):
    """A legal hold forbids to delete."""


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient as data sets name one: Patient ID, and its issuer when there is one."""

    patient_id: str
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class HoldState:
    """A hold, and its end when it was lifted."""

    hold: Hold
    lift: HoldLift | None


class HoldLedger:
    """Reads and writes holds. Every method raises ``Unavailable`` when the store is in trouble."""

    def __init__(self, store: ObjectStore, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer

    async def place(self, hold: Hold) -> Hold:
        """Give ``hold`` its name and time and make it permanent. Raises ``BadRequest`` and ``BadKey``."""
        if not hold.reason or not _what(hold):
            raise BadRequest("a hold says what it covers, and why")
        hold.hold = new_batch_id()
        hold.placed_at_us = time.time_ns() // 1000
        await self._store.put(_folder(hold) + hold.hold, self._sealer.seal(hold), create=True)
        return hold

    async def lift(self, lift: HoldLift) -> Hold:
        """End a hold of ``lift.partition``. Raises ``NotFound``, ``Conflict`` (it has ended), ``BadSeal``."""
        async for state in self.all(lift.partition):
            if state.hold.hold != lift.hold:
                continue
            if state.lift is not None:
                raise Conflict("the hold was lifted before")
            lift.lifted_at_us = time.time_ns() // 1000
            key = _folder(state.hold) + lift.hold + LIFTED
            await self._store.put(key, self._sealer.seal(lift), create=True)
            return state.hold
        raise NotFound("there is no such hold")

    async def all(self, partition: str) -> AsyncIterator[HoldState]:
        """Yield every hold of a partition, lifted ones too. Raises ``BadSeal``."""
        async for state in self._read(f"{HOLD_PREFIX}{check_partition(partition)}/", partition):
            yield state

    async def partitions(self) -> list[str]:
        """Return the partitions that have or had holds."""
        return sorted(await self._store.list_folders(HOLD_PREFIX))

    async def unlocked(self, hold: Hold) -> bool:
        """Whether the bucket's own holds have been taken away since this one was lifted."""
        try:
            await self._store.head(_folder(hold) + hold.hold + _UNLOCKED)
        except NotFound:
            return False
        return True

    async def note_unlocked(self, hold: Hold) -> None:
        """Remember that the bucket's own holds of a lifted hold have been taken away."""
        await self._store.put(_folder(hold) + hold.hold + _UNLOCKED, b"unlocked\n")

    async def has_patient_holds(self, partition: str) -> bool:
        """Whether there are or were holds on patients: without any, nobody need ask whose a study is."""
        return _PATIENT in await self._store.list_folders(f"{HOLD_PREFIX}{check_partition(partition)}/")

    async def standing(self, partition: str, study_uid: str, patients: Iterable[Patient] = ()) -> list[Hold]:
        """Return the holds that cover a study or one of ``patients``, who are all whom it may belong to.

        Raises ``BadSeal`` when one of their records cannot be believed.
        """
        wanted = [
            (hold_folder(partition, _KINDS[HOLD_SCOPE_PARTITION], partition), None),
            (hold_folder(partition, _KINDS[HOLD_SCOPE_STUDY], study_uid), None),
            *(
                (hold_folder(partition, _PATIENT, patient.patient_id), patient)
                for patient in sorted(set(patients), key=lambda one: (one.patient_id, one.issuer))
                if patient.patient_id
            ),
        ]
        found: dict[str, Hold] = {}
        for folder, patient in wanted:
            async for state in self._read(folder, partition):
                if state.lift is None and (patient is None or _is_of(state.hold, patient)):
                    found[state.hold.hold] = state.hold
        return list(found.values())

    async def refuse_held(self, partition: str, study_uid: str, patients: Iterable[Patient] = ()) -> None:
        """Raise ``Held`` when a hold covers the study, and ``BadSeal`` when that cannot be known."""
        holds = await self.standing(partition, study_uid, patients)
        if holds:
            names = ", ".join(hold.hold for hold in holds)
            raise Held(f"a legal hold forbids to delete this: {names}")

    async def _read(self, folder: str, partition: str) -> AsyncIterator[HoldState]:
        keys = sorted([info.key async for info in self._store.list(folder)])
        lifted = {key for key in keys if key.endswith(LIFTED)}
        for key in keys:
            if "." in key.rpartition("/")[2]:
                continue  # what is noted beside a hold
            hold = self._sealer.open(await self._store.get(key), Hold)
            if hold.partition != partition or _folder(hold) + hold.hold != key:
                raise BadSeal("a hold under another's key")
            lift = None
            if key + LIFTED in lifted:
                lift = self._sealer.open(await self._store.get(key + LIFTED), HoldLift)
                if (lift.partition, lift.hold) != (partition, hold.hold):
                    raise BadSeal("the end of another hold")
            yield HoldState(hold, lift)


def _folder(hold: Hold) -> str:
    if hold.scope not in _KINDS:
        raise BadRequest("a hold covers a study, a patient or a partition")
    return hold_folder(hold.partition, _KINDS[hold.scope], _what(hold))


def _what(hold: Hold) -> str:
    if hold.scope == HOLD_SCOPE_STUDY:
        return hold.study_instance_uid
    return hold.patient_id if hold.scope == HOLD_SCOPE_PATIENT else hold.partition


def _is_of(hold: Hold, patient: Patient) -> bool:
    """Whether a hold means this patient; where either names no issuer, the Patient ID alone decides."""
    return "" in (hold.issuer_of_patient_id, patient.issuer) or hold.issuer_of_patient_id == patient.issuer
