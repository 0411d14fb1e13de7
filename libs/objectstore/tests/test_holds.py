"""Legal holds in the bucket: found by what they cover, believed only in place, ended by a record."""

from __future__ import annotations

import pytest
from gantry.retention.v1.retention_pb2 import (
    HOLD_SCOPE_PARTITION,
    HOLD_SCOPE_PATIENT,
    HOLD_SCOPE_STUDY,
    Hold,
    HoldLift,
)
from gantry_dicom.errors import BadRequest, Conflict, NotFound
from gantry_objectstore.errors import BadSeal
from gantry_objectstore.holds import Held, HoldLedger, Patient
from gantry_objectstore.retention_keys import HOLD_PREFIX
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import open_store

STUDY = "1.2.3"


@pytest.fixture
async def store(file_url):
    store = open_store(file_url)
    yield store
    await store.close()


@pytest.fixture
def ledger(store):
    return HoldLedger(store, Sealer.from_text("test:" + "a5" * 32))


async def place(ledger, scope=HOLD_SCOPE_STUDY, partition="main", **fields):
    known = {"study_instance_uid": STUDY} if scope == HOLD_SCOPE_STUDY and not fields else {}
    return await ledger.place(Hold(partition=partition, scope=scope, reason="court", **known, **fields))


async def keys(store):
    return [info.key async for info in store.list(HOLD_PREFIX)]


async def lift(ledger, hold, partition="main"):
    return await ledger.lift(HoldLift(partition=partition, hold=hold.hold, reason="over"))


async def names(ledger, *patients, partition="main", study=STUDY):
    return [hold.hold for hold in await ledger.standing(partition, study, patients)]


async def test_a_hold_covers_its_study_and_no_other_until_it_is_lifted(ledger):
    hold = await place(ledger)
    assert await names(ledger) == [hold.hold]
    assert await names(ledger, study="1.2.4") == []
    assert await names(ledger, partition="other") == []
    with pytest.raises(Held, match=hold.hold):
        await ledger.refuse_held("main", STUDY)
    await lift(ledger, hold)
    await ledger.refuse_held("main", STUDY)
    found = [state async for state in ledger.all("main")]
    assert [(state.hold.reason, state.lift.reason) for state in found] == [("court", "over")]
    with pytest.raises(Conflict):
        await lift(ledger, hold)


async def test_two_holds_on_one_thing_end_each_for_itself(ledger):
    first, second = await place(ledger), await place(ledger)
    await lift(ledger, first)
    assert await names(ledger) == [second.hold]


async def test_a_partition_is_held_as_a_whole(ledger):
    hold = await place(ledger, HOLD_SCOPE_PARTITION, "second")
    assert await names(ledger, partition="second") == [hold.hold]
    assert await names(ledger) == []


async def test_a_patient_is_held_whatever_study_names_him(ledger):
    assert not await ledger.has_patient_holds("main")
    any_issuer = await place(ledger, HOLD_SCOPE_PATIENT, patient_id="P1")
    of_one = await place(ledger, HOLD_SCOPE_PATIENT, patient_id="P2", issuer_of_patient_id="A")
    assert await ledger.has_patient_holds("main")
    assert await names(ledger) == []
    assert await names(ledger, Patient("P9"), Patient("P1", "X")) == [any_issuer.hold]
    assert await names(ledger, Patient("P2", "A")) == [of_one.hold]
    assert await names(ledger, Patient("P2")) == [of_one.hold]
    assert await names(ledger, Patient("P2", "B")) == []


async def test_a_hold_without_a_reason_or_a_subject_is_none(ledger):
    for hold in (
        Hold(partition="main", scope=HOLD_SCOPE_STUDY, study_instance_uid=STUDY),
        Hold(partition="main", scope=HOLD_SCOPE_PATIENT, reason="x"),
        Hold(partition="main", reason="x"),
    ):
        with pytest.raises(BadRequest):
            await ledger.place(hold)
    with pytest.raises(NotFound):
        await ledger.lift(HoldLift(partition="main", hold="nothing"))


async def test_what_cannot_be_believed_never_sets_free(ledger, store):
    hold = await place(ledger)
    key = (await keys(store))[0]
    other = await place(ledger, study_instance_uid="1.2.4")
    await lift(ledger, other)
    lifted = next(key for key in await keys(store) if key.endswith(".lifted"))
    await store.put(f"{key}.lifted", await store.get(lifted))
    with pytest.raises(BadSeal):
        await names(ledger)
    await store.put(f"{key}.lifted", b"lifted, honestly")
    with pytest.raises(BadSeal):
        await names(ledger)
    await store.delete(f"{key}.lifted")
    assert await names(ledger) == [hold.hold]
    await store.put(key, b"no hold at all")
    with pytest.raises(BadSeal):
        await names(ledger)
