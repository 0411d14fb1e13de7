"""What only the administrator of the bucket does: create it, bound its rubbish.

Needs rights that ingest and gateway do not have; only the supervisor of a single machine and
the storage service import this module, and boto3 with it.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from gantry_dicom.errors import Unavailable
from gantry_telemetry.logs import get_logger

from gantry_objectstore.files import FileStore
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.s3 import S3Store
from gantry_objectstore.tiers import stores_of

LIFECYCLE_RULE = "gantry-abort-unfinished-uploads"
ABORT_AFTER_DAYS = 2
# A put takes minutes at most; a day leaves room for any clock.
UNFINISHED_AFTER = timedelta(days=1)

log = get_logger(__name__)


async def prepare_store(store: ObjectStore) -> None:
    """Create the bucket when missing and make the store clear away unfinished uploads.

    Safe to repeat. Raises ``Unavailable``.
    """
    for each in stores_of(store):
        if isinstance(each, S3Store):
            await asyncio.to_thread(_prepare_bucket, each)
    await sweep_unfinished(store)


async def sweep_unfinished(store: ObjectStore, older_than: timedelta = UNFINISHED_AFTER) -> int:
    """Clear away what puts that never ended have left; return how many. Raises ``Unavailable``."""
    count = 0
    for each in stores_of(store):
        if isinstance(each, FileStore):
            count += await each.sweep_temporaries(older_than)
        elif isinstance(each, S3Store):
            limit = await each.now() - older_than
            count += await asyncio.to_thread(_abort_uploads, each, limit)
    return count


def _prepare_bucket(store: S3Store) -> None:
    client = bucket_client(store)
    try:
        try:
            client.head_bucket(Bucket=store.bucket)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            _create_bucket(client, store)
        _keep_lifecycle_rule(client, store)
    except (BotoCoreError, ClientError) as error:
        raise Unavailable("the bucket cannot be prepared") from error


def _create_bucket(client: Any, store: S3Store) -> None:  # noqa: ANN401 - boto3 publishes no types
    # us-east-1 is the one region that must not be named.
    where = {} if store.region == "us-east-1" else {"LocationConstraint": store.region}
    options = {"CreateBucketConfiguration": where} if where else {}
    try:
        client.create_bucket(Bucket=store.bucket, **options)
    except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        log.info("store_bucket_was_created_by_another_process")


def _keep_lifecycle_rule(client: Any, store: S3Store) -> None:  # noqa: ANN401 - boto3 publishes no types
    try:
        rules = client.get_bucket_lifecycle_configuration(Bucket=store.bucket).get("Rules", [])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchLifecycleConfiguration":
            raise
        rules = []
    ours = {
        "ID": LIFECYCLE_RULE,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_AFTER_DAYS},
    }
    if any(rule.get("ID") == LIFECYCLE_RULE for rule in rules):
        return
    # The call replaces the whole configuration: the site's own rules go back in.
    client.put_bucket_lifecycle_configuration(
        Bucket=store.bucket, LifecycleConfiguration={"Rules": [*rules, ours]}
    )


def _abort_uploads(store: S3Store, limit: datetime) -> int:
    client = bucket_client(store)
    count = 0
    try:
        pages = client.get_paginator("list_multipart_uploads").paginate(
            Bucket=store.bucket, Prefix=f"{store.prefix}/" if store.prefix else ""
        )
        for page in pages:
            for upload in page.get("Uploads", []):
                if upload["Initiated"].astimezone(UTC) < limit:
                    client.abort_multipart_upload(
                        Bucket=store.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    count += 1
    except (BotoCoreError, ClientError) as error:
        raise Unavailable("unfinished uploads cannot be cleared away") from error
    return count


def bucket_client(store: S3Store) -> Any:  # noqa: ANN401 - boto3 publishes no types
    """Return the client of boto3 for what obstore does not know: settings of the bucket, versions, locks."""
    settings = store.settings
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint or None,
        region_name=store.region,
        aws_access_key_id=settings.access_key or None,
        aws_secret_access_key=settings.secret_key or None,
        verify=settings.ca_file or None,
        config=Config(
            connect_timeout=settings.connect_seconds,
            read_timeout=10,
            retries={"max_attempts": 3, "mode": "standard"},
            s3={"addressing_style": "virtual" if store.virtual_hosts else "path"},
        ),
    )
