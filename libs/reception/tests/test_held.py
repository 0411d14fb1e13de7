"""A hold covers what it names under every name that it has or had."""

from __future__ import annotations

import hashlib

import orjson
import pytest
from gantry.amendment.v1.amendment_pb2 import (
    AMENDMENT_KIND_CORRECT,
    AMENDMENT_KIND_MERGE,
    Amendment,
    PatientIdentity,
)
from gantry.reception.v1.reception_pb2 import Reception
from gantry.retention.v1.retention_pb2 import HOLD_SCOPE_PATIENT, HOLD_SCOPE_STUDY, Hold
from gantry_dicom.errors import Conflict
from gantry_dicom.gate import admit
from gantry_objectstore.amendments import write_amendment
from gantry_objectstore.holds import Held, HoldLedger
from gantry_objectstore.keys import new_batch_id, object_key
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import open_store
from gantry_reception.held import HoldCheck
from gantry_testing.builders import file_of, identified

SHOWN_IN = "1.2.3"


class Index:
    """What the index says of one object: shown for B in another study than it came in."""

    def __init__(self, line):
        self.line = line

    async def received_as(self, keys):
        return {SHOWN_IN, self.line.study_instance_uid} if keys else set()

    async def patients_of(self, partition, study_uid):
        return {("B", "")} if study_uid == SHOWN_IN else set()

    async def receptions(self, keys):
        return [self.line] if keys else []


@pytest.fixture
def sealer():
    return Sealer.from_text("test:" + "a5" * 32)


@pytest.fixture
async def store(file_url):
    store = open_store(file_url)
    yield store
    await store.close()


@pytest.fixture
async def line(store):
    data = file_of(identified(1, PatientID="A"))
    found = admit(data)
    key = object_key("main", new_batch_id(), 1)
    await store.put(key, data)
    return Reception(
        object_key=key,
        size=len(data),
        meta_length=found.data_set_offset,
        data_set_digest=hashlib.sha256(data[found.data_set_offset :]).digest(),
        transfer_syntax_uid=found.transfer_syntax_uid,
        sop_class_uid=found.sop_class_uid,
        study_instance_uid=found.study_instance_uid,
        series_instance_uid=found.series_instance_uid,
        sop_instance_uid=found.sop_instance_uid,
    )


@pytest.fixture
def check(store, sealer, line):
    holds = HoldCheck(store, sealer, Index(line))
    return lambda: holds.refuse_held("main", SHOWN_IN, [line.object_key])


async def hold(store, sealer, **fields):
    kind = HOLD_SCOPE_PATIENT if "patient_id" in fields else HOLD_SCOPE_STUDY
    return await HoldLedger(store, sealer).place(Hold(partition="main", scope=kind, reason="court", **fields))


async def is_held(check):
    try:
        await check()
    except Held:
        return True
    return False


@pytest.mark.parametrize("patient_id", ["A", "B"])
async def test_whom_the_object_names_and_whom_it_is_shown_for(store, sealer, check, patient_id):
    assert not await is_held(check)
    await hold(store, sealer, patient_id="somebody else")
    assert not await is_held(check)
    await hold(store, sealer, patient_id=patient_id)
    assert await is_held(check)


async def test_the_study_it_is_in_and_the_one_it_came_in(store, sealer, check, line):
    await hold(store, sealer, study_instance_uid="9.9")
    assert not await is_held(check)
    await hold(store, sealer, study_instance_uid=line.study_instance_uid)
    assert await is_held(check)


async def test_whoever_it_was_corrected_to_and_merged_into(store, sealer, check):
    attributes = orjson.dumps({"00100020": {"vr": "LO", "Value": ["C"]}})
    await write_amendment(
        store,
        Amendment(
            partition="main",
            study_instance_uid=SHOWN_IN,
            kind=AMENDMENT_KIND_CORRECT,
            attributes=attributes,
        ),
        sealer,
    )
    for old, new in (("C", "D"), ("D", "C")):
        await write_amendment(
            store,
            Amendment(
                partition="main",
                kind=AMENDMENT_KIND_MERGE,
                patient=PatientIdentity(patient_id=old),
                into=PatientIdentity(patient_id=new),
            ),
            sealer,
        )
    await hold(store, sealer, patient_id="D")
    assert await is_held(check)


async def test_an_object_that_does_not_say_whose_it_is_is_not_deleted_while_patients_are_held(
    store, sealer, check, line
):
    await store.put(line.object_key, b"\0" * line.size)
    assert not await is_held(check)
    await hold(store, sealer, patient_id="somebody else")
    with pytest.raises(Conflict, match="whose it is"):
        await check()
