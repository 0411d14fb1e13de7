"""Preparing a bucket."""

from collections.abc import AsyncIterator
from datetime import timedelta

import boto3
import pytest
from gantry_dicom.errors import Unavailable
from gantry_objectstore.administration import LIFECYCLE_RULE, prepare_store, sweep_unfinished
from gantry_objectstore.s3 import S3Store
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store


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
async def store(s3_url: str) -> AsyncIterator[S3Store]:
    opened = open_store(s3_url)
    assert isinstance(opened, S3Store)
    yield opened
    await opened.close()


def rules(client, bucket: str) -> dict[str, dict]:
    found = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    return {rule["ID"]: rule for rule in found}


async def test_the_store_is_told_to_abort_unfinished_uploads(store, client) -> None:
    await prepare_store(store)
    rule = rules(client, store.bucket)[LIFECYCLE_RULE]
    assert rule["Status"] == "Enabled"
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 2


async def test_the_site_s_own_rules_stay(store, client) -> None:
    own = {"ID": "own", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 3}}
    client.put_bucket_lifecycle_configuration(Bucket=store.bucket, LifecycleConfiguration={"Rules": [own]})
    await prepare_store(store)
    await prepare_store(store)
    assert set(rules(client, store.bucket)) == {"own", LIFECYCLE_RULE}


async def test_a_missing_bucket_is_created(s3_server, client) -> None:
    settings = StoreSettings(s3_server.access_key, s3_server.secret_key)
    store = S3Store("created-when-prepared", settings, endpoint=s3_server.endpoint)
    await prepare_store(store)
    client.head_bucket(Bucket="created-when-prepared")
    s3_server.drop_bucket("created-when-prepared")


async def test_old_uploads_are_aborted_and_young_ones_stay(store, client) -> None:
    client.create_multipart_upload(Bucket=store.bucket, Key="o/left")
    assert await sweep_unfinished(store, timedelta(hours=1)) == 0
    assert await sweep_unfinished(store, timedelta(seconds=-5)) == 1
    assert not client.list_multipart_uploads(Bucket=store.bucket).get("Uploads")


async def test_a_server_that_does_not_answer_is_unavailable(free_port: int) -> None:
    settings = StoreSettings("a", "b", connect_seconds=0.2)
    store = S3Store("bucket", settings, endpoint=f"http://127.0.0.1:{free_port}")
    with pytest.raises(Unavailable):
        await prepare_store(store)
