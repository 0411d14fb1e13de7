"""Holds on the objects themselves, in a bucket with object lock: a guard that does not depend on us."""

from __future__ import annotations

import uuid

import boto3
import pytest
from gantry.retention.v1.retention_pb2 import (
    HOLD_SCOPE_PARTITION,
    HOLD_SCOPE_PATIENT,
    HOLD_SCOPE_STUDY,
    Hold,
    HoldLift,
)
from gantry_index.pools import open_pool
from gantry_index.writer import IndexWriter
from gantry_objectstore.destruction import destroy
from gantry_objectstore.holds import Held, HoldLedger
from gantry_objectstore.keys import object_key
from gantry_objectstore.s3 import S3Store
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_storage.retention.locking import HoldLocks
from gantry_testing.index_records import index_record

# Starts an S3 server of its own.
pytestmark = pytest.mark.slow


@pytest.fixture
async def bucket(s3_server):
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name="us-east-1",
    )
    name = f"locked-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    store = S3Store(
        name, StoreSettings(s3_server.access_key, s3_server.secret_key), endpoint=s3_server.endpoint
    )
    yield store
    await store.close()


@pytest.fixture
async def pool(index_dsn):
    opened = open_pool(index_dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def keys(bucket, pool):
    """Objects of two studies of two patients, by study."""
    found = {}
    for number, (study, patient) in enumerate([("1.1", "P1"), ("1.1", "P1"), ("1.2", "P2")]):
        record = index_record(
            order=number, study=study, series=f"{study}.1", sop=f"9.{number}", patient_id=patient
        )
        batch = record.reception.batch = "01JGANTRY00000000000000000"
        record.reception.ordinal = number + 1
        key = record.reception.object_key = object_key("main", batch, number + 1)
        await bucket.put(key, b"object")
        await IndexWriter(pool).index_chunk([record])
        found.setdefault(study, []).append(key)
    return found


async def is_locked(bucket, key):
    try:
        await destroy(bucket, key)
    except Held:
        return True
    await bucket.put(key, b"object")
    return False


@pytest.mark.parametrize(
    ("fields", "covers"),
    [
        ({"scope": HOLD_SCOPE_STUDY, "study_instance_uid": "1.1"}, {"1.1"}),
        ({"scope": HOLD_SCOPE_PATIENT, "patient_id": "P2"}, {"1.2"}),
        ({"scope": HOLD_SCOPE_PARTITION}, {"1.1", "1.2"}),
    ],
)
async def test_what_a_hold_covers_is_locked_until_it_is_lifted(bucket, pool, keys, fields, covers):
    sealer = Sealer.from_text("test:" + "a5" * 32)
    ledger, locks = HoldLedger(bucket, sealer), HoldLocks(bucket, sealer, pool)
    assert await locks.run_once() == 0
    hold = await ledger.place(Hold(partition="main", reason="court", **fields))
    assert await locks.run_once() > 0
    for study, objects in keys.items():
        for key in objects:
            assert await is_locked(bucket, key) is (study in covers)
    other = await ledger.place(
        Hold(partition="main", scope=HOLD_SCOPE_STUDY, study_instance_uid="1.1", reason="another")
    )
    await ledger.lift(HoldLift(partition="main", hold=hold.hold, reason="over"))
    await locks.run_once()
    assert not await is_locked(bucket, keys["1.2"][0])
    assert await is_locked(bucket, keys["1.1"][0])
    await ledger.lift(HoldLift(partition="main", hold=other.hold, reason="over"))
    await HoldLocks(bucket, sealer, pool).run_once()
    for objects in keys.values():
        for key in objects:
            assert not await is_locked(bucket, key)
    assert await HoldLocks(bucket, sealer, pool).run_once() == 0
