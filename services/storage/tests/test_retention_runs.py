"""A plan tells what a run does, a run deletes what is due, and what is held stays."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from gantry.amendment.v1.amendment_pb2 import Amendment
from gantry.retention.v1.retention_pb2 import HOLD_SCOPE_PATIENT, HOLD_SCOPE_STUDY, Hold
from gantry_dicom.errors import Conflict
from gantry_index.amendments import apply_amendment, is_hidden
from gantry_index.writer import IndexWriter
from gantry_objectstore.holds import HoldLedger
from gantry_objectstore.keys import parse_amendment_key
from gantry_storage.retention import purging
from gantry_storage.retention.planning import Planner
from gantry_storage.retention.policies import Retention
from gantry_storage.retention.purging import PurgeTerms, Purging
from gantry_testing.index_records import index_record

CT, MR, TWICE = "1.1", "1.2", "1.3"


def record(order, study, modality, *, sop=None, age=400, patient_id="100"):
    found = index_record(
        order=order,
        study=study,
        series=f"{study}.1",
        sop=sop or f"{study}.1.{order}",
        modality=modality,
        study_date=date(2010, 1, 1),
        patient_id=patient_id,
    )
    received = datetime.now(UTC) - timedelta(days=age)
    found.reception.received_at_us = round(received.timestamp() * 1e6)
    return found


@pytest.fixture
async def stored(parts):
    writer = IndexWriter(parts.pool)
    await writer.index_chunk([record(n, CT, "CT") for n in range(3)])
    await writer.index_chunk([record(10 + n, MR, "MR", patient_id="200") for n in range(2)])
    await writer.index_chunk([record(20, TWICE, "CR", sop="9.9"), record(21, TWICE, "CR", sop="9.9")])


@pytest.fixture
def planner(parts, store, sealer):
    async def apply(key):
        amendment = sealer.open(await store.get(key), Amendment)
        await apply_amendment(parts.pool, amendment, parse_amendment_key(key).scope)
        return True

    def make(*policies, **more):
        retention = Retention.model_validate({"policies": policies, **more})
        terms = PurgeTerms(timedelta(days=30), timedelta(), ())
        return Planner(
            store, sealer, parts.pool, apply, Purging(store, sealer, parts.pool, apply, terms), retention
        )

    return make


def policy(name, days, *modalities):
    return {"name": name, "delete_after_days": days, "when": {"modalities": modalities}}


async def test_a_plan_changes_nothing_and_a_run_does_what_it_says(parts, planner, stored):
    retention = planner(policy("ct", 365, "CT"), policy("mr", 4000, "MR"))
    plan = await retention.plan()
    assert (plan.studies, plan.instances, plan.by_policy) == (1, 3, {"ct": 1})
    assert [one.study for one in plan.named] == [CT]
    assert plan == await retention.plan()
    done = await retention.run()
    assert (done.studies, done.instances, done.bytes) == (plan.studies, plan.instances, plan.bytes)
    assert await is_hidden(parts.pool, "main", CT)
    assert not await is_hidden(parts.pool, "main", MR)
    assert (await retention.run()).studies == 0
    rows = await parts.pool.fetch("SELECT principal, reason FROM amendment")
    assert [tuple(row) for row in rows] == [("retention", "policy ct")]


async def test_somebody_adds_to_a_study_and_it_stays(parts, planner, stored):
    await IndexWriter(parts.pool).index_chunk([record(5, CT, "CT", age=1)])
    assert (await planner(policy("ct", 365, "CT")).plan()).studies == 0


@pytest.mark.parametrize("scope", ["study", "patient"])
async def test_what_is_held_is_named_and_stays(parts, store, sealer, planner, stored, scope):
    hold = (
        Hold(scope=HOLD_SCOPE_STUDY, study_instance_uid=CT)
        if scope == "study"
        else Hold(scope=HOLD_SCOPE_PATIENT, patient_id="100")
    )
    hold.partition, hold.reason = "main", "court"
    placed = await HoldLedger(store, sealer).place(hold)
    retention = planner(policy("all", 365))
    for report in (await retention.plan(), await retention.run()):
        held = {one.study: one.held for one in report.named if one.held}
        assert held[CT] == (placed.hold,)
        assert MR not in held
    assert not await is_hidden(parts.pool, "main", CT)
    assert await is_hidden(parts.pool, "main", MR)


async def test_one_run_deletes_no_more_than_it_may(parts, planner, stored):
    report = await planner(policy("all", 365), studies_a_run=1).run()
    assert (report.studies, report.more) == (1, True)
    assert len(await parts.pool.fetch("SELECT 1 FROM study")) == 2


async def test_only_the_partition_asked_for(planner, stored):
    assert (await planner(policy("all", 365)).plan("second")).studies == 0


async def test_old_duplicates_are_deleted_and_what_they_are_duplicates_of_stays(parts, planner, stored):
    await parts.pool.execute("UPDATE reception SET decided_at = now() - interval '40 days'")
    assert (await planner(duplicates_after_days=50).run()).duplicates == 0
    retention = planner(duplicates_after_days=30)
    assert (await retention.plan()).duplicates == 1
    assert (await retention.run()).duplicates == 1
    assert (await retention.run()).duplicates == 0
    rows = await parts.pool.fetch("SELECT object_key, state FROM reception WHERE sop_uid = '9.9' ORDER BY 1")
    assert [row["state"] for row in rows] == [2, 6]
    assert len(await parts.pool.fetch("SELECT 1 FROM instance WHERE sop_uid = '9.9'")) == 1


async def test_nothing_runs_while_the_bucket_could_bypass_holds(parts, planner, stored, monkeypatch):
    async def unsafe(_store):
        return ["expire-everything"]

    monkeypatch.setattr(purging, "rules_that_delete", unsafe)
    with pytest.raises(Conflict, match="expire-everything"):
        await planner(policy("all", 1)).run()
    assert len(await parts.pool.fetch("SELECT 1 FROM study")) == 3


async def test_a_purge_that_cannot_be_is_told_and_stops_no_other(parts, planner, stored):
    retention = planner(policy("all", 365), grace_days=0)
    first = await retention.run()
    # Their manifests are not there: whatever was received is not proven, so nothing is destroyed.
    assert (first.studies, first.purges) == (3, 0)
    assert {one.study for one in first.refused} == {CT, MR, TWICE}
