"""Deletion that leaves nothing, and what stands in its way: versions, legal holds, lifecycle rules.

Like ``administration`` for the storage service alone. A bucket with versions keeps what is deleted,
so every version goes; one with object lock refuses while a legal hold is set, so holds are set there
too and outlast a storage service that errs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from gantry_dicom.errors import NotFound, Unavailable

from gantry_objectstore.administration import bucket_client
from gantry_objectstore.holds import Held
from gantry_objectstore.keys import AMENDMENT_PREFIX, MANIFEST_PREFIX, OBJECT_PREFIX, check_key
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.retention_keys import CERTIFICATE_PREFIX, HOLD_PREFIX
from gantry_objectstore.s3 import S3Store
from gantry_objectstore.tiers import stores_of

# What must not go by a rule of the bucket: no hold would be asked.
PRECIOUS = (OBJECT_PREFIX, MANIFEST_PREFIX, AMENDMENT_PREFIX, HOLD_PREFIX, CERTIFICATE_PREFIX)
_LOCKED = frozenset({"AccessDenied", "ObjectLocked", "InvalidRequest"})
_NO_LOCK = frozenset({"ObjectLockConfigurationNotFoundError", "NotImplemented"})


async def destroy(store: ObjectStore, key: str) -> int:
    """Delete an object with all its versions and make sure that it is gone; return how many there were.

    Raises ``Held`` when the bucket's own legal hold or retention forbids it, and ``Unavailable``.
    """
    copies = 0
    for each in stores_of(store):
        if isinstance(each, S3Store):
            copies += await asyncio.to_thread(_destroy_versions, each, check_key(key))
        else:
            copies += await _is_there(each, key)
            await each.delete(key)
    if await _is_there(store, key):
        raise Unavailable("an object that was deleted is there")
    return copies


async def rules_that_delete(store: ObjectStore) -> list[str]:
    """Return the names of the bucket's lifecycle rules that delete what a hold may cover.

    Raises ``Unavailable``.
    """
    found: list[str] = []
    for each in stores_of(store):
        if isinstance(each, S3Store):
            found += await asyncio.to_thread(_rules_that_delete, each)
    return found


async def has_object_lock(store: ObjectStore) -> bool:
    """Whether legal holds can be set on the objects themselves. Raises ``Unavailable``."""
    return bool(await _locking(store))


async def set_legal_hold(store: ObjectStore, keys: Iterable[str], *, on: bool) -> int:
    """Set or take away the legal hold of objects in a bucket with object lock; return of how many.

    Those that are not there are passed over. Raises ``Unavailable``.
    """
    count = 0
    wanted = list(keys)
    for each in await _locking(store):
        count += await asyncio.to_thread(_set_legal_hold, each, wanted, on)
    return count


async def _locking(store: ObjectStore) -> list[S3Store]:
    """Return those of the stores that have object lock."""
    buckets = [each for each in stores_of(store) if isinstance(each, S3Store)]
    return [each for each in buckets if await asyncio.to_thread(_has_object_lock, each)]


async def _is_there(store: ObjectStore, key: str) -> bool:
    try:
        await store.head(key)
    except NotFound:
        return False
    return True


def _destroy_versions(store: S3Store, key: str) -> int:
    client, name = bucket_client(store), _name(store, key)
    try:
        versions = _versions(client, store, name)
        for version, _ in versions:
            client.delete_object(Bucket=store.bucket, Key=name, VersionId=version)
        if not versions:
            # A bucket that never had versions may list none.
            client.delete_object(Bucket=store.bucket, Key=name)
    except ClientError as error:
        if error.response["Error"]["Code"] in _LOCKED:
            raise Held("the bucket itself forbids to delete an object (object lock)") from error
        raise Unavailable("an object cannot be deleted") from error
    except BotoCoreError as error:
        raise Unavailable("an object cannot be deleted") from error
    return sum(is_object for _, is_object in versions)


def _versions(client: Any, store: S3Store, name: str) -> list[tuple[str, bool]]:  # noqa: ANN401
    """Return the versions of exactly this key, and whether each is an object or a delete marker."""
    found = []
    for page in client.get_paginator("list_object_versions").paginate(Bucket=store.bucket, Prefix=name):
        for kind in ("Versions", "DeleteMarkers"):
            found += [
                (one["VersionId"], kind == "Versions") for one in page.get(kind, []) if one["Key"] == name
            ]
    return found


def _rules_that_delete(store: S3Store) -> list[str]:
    try:
        answer = bucket_client(store).get_bucket_lifecycle_configuration(Bucket=store.bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration":
            return []
        raise Unavailable("the bucket's lifecycle rules cannot be read") from error
    except BotoCoreError as error:
        raise Unavailable("the bucket's lifecycle rules cannot be read") from error
    precious = [_name(store, prefix) for prefix in PRECIOUS]
    return [
        str(rule.get("ID") or "(without a name)")
        for rule in answer.get("Rules", [])
        if rule.get("Status") == "Enabled" and _deletes(rule) and _reaches(_prefix_of(rule), precious)
    ]


def _deletes(rule: Any) -> bool:  # noqa: ANN401 - boto3 publishes no types
    """Whether a rule takes current objects away; one that clears markers or old versions does not."""
    expiration = rule.get("Expiration", {})
    return "Days" in expiration or "Date" in expiration


def _prefix_of(rule: Any) -> str:  # noqa: ANN401 - boto3 publishes no types
    """Return where a rule applies; one that is narrowed by tags or sizes counts as if it were not."""
    chosen = rule.get("Filter", {})
    prefix = rule.get("Prefix", chosen.get("Prefix", chosen.get("And", {}).get("Prefix", "")))
    return str(prefix or "")


def _reaches(prefix: str, precious: Iterable[str]) -> bool:
    return any(prefix.startswith(one) or one.startswith(prefix) for one in precious)


def _has_object_lock(store: S3Store) -> bool:
    try:
        answer = bucket_client(store).get_object_lock_configuration(Bucket=store.bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in _NO_LOCK:
            return False
        raise Unavailable("whether the bucket has object lock cannot be read") from error
    except BotoCoreError as error:
        raise Unavailable("whether the bucket has object lock cannot be read") from error
    return bool(answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")


def _set_legal_hold(store: S3Store, keys: Iterable[str], on: bool) -> int:
    client = bucket_client(store)
    count = 0
    for key in keys:
        try:
            client.put_object_legal_hold(
                Bucket=store.bucket, Key=_name(store, key), LegalHold={"Status": "ON" if on else "OFF"}
            )
        except (BotoCoreError, ClientError) as error:
            # Not every server answers 404 here for what is not there: SeaweedFS 4.48 has a 500.
            if _is_missing(client, store, key):
                continue
            raise Unavailable("a legal hold cannot be set") from error
        count += 1
    return count


def _is_missing(client: Any, store: S3Store, key: str) -> bool:  # noqa: ANN401 - boto3 publishes no types
    try:
        client.head_object(Bucket=store.bucket, Key=_name(store, key))
    except ClientError as error:
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] == 404)
    except BotoCoreError:
        return False
    return False


def _name(store: S3Store, key: str) -> str:
    return f"{store.prefix}/{key}" if store.prefix else key
