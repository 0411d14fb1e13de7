"""Deletion that leaves nothing, and what the bucket itself has to say about it."""

from __future__ import annotations

import uuid

import boto3
import pytest
from gantry_dicom.errors import NotFound
from gantry_objectstore.administration import prepare_store
from gantry_objectstore.destruction import destroy, has_object_lock, rules_that_delete, set_legal_hold
from gantry_objectstore.holds import Held
from gantry_objectstore.keys import new_batch_id, object_key
from gantry_objectstore.s3 import S3Store
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store

KEY = object_key("main", new_batch_id(), 1)
NEIGHBOUR = f"{KEY}0"


@pytest.fixture
def client(s3_server):
    return boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name="us-east-1",
    )


@pytest.fixture
async def bucket(s3_server, client):
    """A bucket with object lock, and with it versions; a prefix in it."""
    name = f"locked-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    settings = StoreSettings(s3_server.access_key, s3_server.secret_key)
    store = S3Store(name, settings, prefix="pacs", endpoint=s3_server.endpoint)
    yield store
    await store.close()
    s3_server.drop_bucket(name)


def versions(client, store, key):
    answer = client.list_object_versions(Bucket=store.bucket, Prefix=f"{store.prefix}/{key}")
    found = [*answer.get("Versions", []), *answer.get("DeleteMarkers", [])]
    return [one for one in found if one["Key"] == f"{store.prefix}/{key}"]


async def test_every_version_goes_and_no_other_key_s(bucket, client):
    for data in (b"one", b"two"):
        await bucket.put(KEY, data)
        await bucket.put(NEIGHBOUR, data)
    await bucket.delete(KEY)
    assert len(versions(client, bucket, KEY)) == 3
    assert await destroy(bucket, KEY) == 2
    assert versions(client, bucket, KEY) == []
    assert len(versions(client, bucket, NEIGHBOUR)) == 2
    assert await destroy(bucket, KEY) == 0


async def test_a_legal_hold_of_the_bucket_forbids_it_until_it_is_taken_away(bucket, client):
    assert await has_object_lock(bucket)
    await bucket.put(KEY, b"evidence")
    assert await set_legal_hold(bucket, [KEY, NEIGHBOUR], on=True) == 1
    with pytest.raises(Held):
        await destroy(bucket, KEY)
    assert await bucket.get(KEY) == b"evidence"
    await set_legal_hold(bucket, [KEY], on=False)
    assert await destroy(bucket, KEY) == 1


async def test_rules_that_could_delete_what_is_held_are_named(bucket, client):
    def rule(name, prefix, status="Enabled", **action):
        return {"ID": name, "Status": status, "Filter": {"Prefix": prefix}, **action}

    assert await rules_that_delete(bucket) == []
    gone = {"Expiration": {"Days": 30}}
    rules = [
        rule("everything", "", **gone),
        rule("objects", "pacs/o/", **gone),
        rule("one-partition", "pacs/o/main/", **gone),
        rule("switched-off", "pacs/", status="Disabled", **gone),
        rule("somebody-else", "other/", **gone),
        rule("old-journal", "pacs/j/", **gone),
        rule("markers", "pacs/", Expiration={"ExpiredObjectDeleteMarker": True}),
        rule("old-versions", "pacs/", NoncurrentVersionExpiration={"NoncurrentDays": 30}),
    ]
    client.put_bucket_lifecycle_configuration(Bucket=bucket.bucket, LifecycleConfiguration={"Rules": rules})
    await prepare_store(bucket)
    assert await rules_that_delete(bucket) == ["everything", "objects", "one-partition"]


async def test_a_bucket_without_versions_and_a_folder(file_url, s3_url):
    for url in (file_url, s3_url):
        store = open_store(url)
        await store.put(KEY, b"data")
        assert await destroy(store, KEY) == 1
        with pytest.raises(NotFound):
            await store.head(KEY)
        assert await destroy(store, KEY) == 0
        assert not await has_object_lock(store)
        assert await rules_that_delete(store) == []
        await store.close()
