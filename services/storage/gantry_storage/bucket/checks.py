"""Compares the bucket's settings with what they should be, and sets them.

What a server does not know of is said, not hidden: then it has to be had by other means (a policy of the
service, a copy by ``gantry backup objects``). Lifecycle rules that delete current objects are named and
never taken away here: whoever made them has to learn that no hold would stop them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from botocore.exceptions import BotoCoreError, ClientError
from gantry_dicom.errors import Unavailable
from gantry_objectstore.administration import LIFECYCLE_RULE, bucket_client, prepare_store
from gantry_objectstore.destruction import rules_that_delete
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.s3 import S3Store

from gantry_storage.settings import BucketSettings

REPLICATION_RULE = "gantry-replica"
# What servers answer to a request that they do not know. SeaweedFS 4.48 takes one to set replication for one
# to create the bucket.
_UNKNOWN = frozenset({"NotImplemented", "XNotImplemented", "MethodNotAllowed", "BucketAlreadyOwnedByYou"})
# What they answer when a setting was never made.
_UNSET = frozenset(
    {
        "ServerSideEncryptionConfigurationNotFoundError",
        "NoSuchPublicAccessBlockConfiguration",
        "ReplicationConfigurationNotFoundError",
        "NoSuchLifecycleConfiguration",
        "NoSuchBucketPolicy",
    }
)
# Classes from which an object must be asked back before it can be read.
_OFFLINE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_BLOCK = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
Document: TypeAlias = Mapping[str, Any]


class State(StrEnum):
    """How a setting is."""

    OK = "ok"
    WRONG = "wrong"
    # The server does not know of it.
    UNSUPPORTED = "unsupported"
    # It is not asked for.
    NOT_WANTED = "not-wanted"


@dataclass(frozen=True, slots=True)
class Check:
    """One setting; ``detail`` says what is there or what is to be done."""

    setting: str
    state: State
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Bucket:
    """A bucket and its client, which has no types."""

    client: Any
    name: str
    settings: BucketSettings

    def read(self, operation: str) -> Document | None:
        """Return what is set, ``None`` when nothing is. Raises ``ClientError``."""
        try:
            found: Document = getattr(self.client, operation)(Bucket=self.name)
        except ClientError as error:
            if error.response["Error"]["Code"] in _UNSET:
                return None
            raise
        return found


async def verify(store: ObjectStore, settings: BucketSettings) -> list[Check]:
    """Return how every setting is; nothing is changed. Raises ``Unavailable``."""
    if not isinstance(store, S3Store):
        detail = "a folder has no settings: copy it with `gantry backup objects`"
        return [Check("store", State.UNSUPPORTED, detail)]
    checks = await asyncio.to_thread(_verify, _Bucket(bucket_client(store), store.bucket, settings))
    deleting = await rules_that_delete(store)
    named = f"rules that delete objects, whatever holds say: {', '.join(deleting)}" if deleting else ""
    return [*checks, Check("no-expiry", State.WRONG if deleting else State.OK, named)]


async def apply(store: ObjectStore, settings: BucketSettings) -> list[Check]:
    """Set what is not as it should be and return how everything is then. Raises ``Unavailable``."""
    if isinstance(store, S3Store):
        await prepare_store(store)
        bucket = _Bucket(bucket_client(store), store.bucket, settings)
        wrong = [check.setting for check in await verify(store, settings) if check.state is State.WRONG]
        for setting in wrong:
            if setting in _SETTERS:
                await asyncio.to_thread(_set, bucket, setting)
    return await verify(store, settings)


def _verify(bucket: _Bucket) -> list[Check]:
    return [_checked(bucket, setting, look) for setting, look in _LOOKS.items()]


def _checked(bucket: _Bucket, setting: str, look: Callable[[_Bucket], Check]) -> Check:
    try:
        return look(bucket)
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        if code in _UNKNOWN:
            return Check(setting, State.UNSUPPORTED, "the server does not know of it")
        if code == "AccessDenied":
            return Check(setting, State.WRONG, "the storage service may not read it")
        raise Unavailable(f"the bucket's {setting} cannot be read: {code}") from error
    except BotoCoreError as error:
        raise Unavailable(f"the bucket's {setting} cannot be read") from error


def _set(bucket: _Bucket, setting: str) -> None:
    try:
        _SETTERS[setting](bucket)
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        # What cannot be set stays wrong, and is told as such.
        if code not in _UNKNOWN | {"AccessDenied"}:
            raise Unavailable(f"the bucket's {setting} cannot be set: {code}") from error
    except BotoCoreError as error:
        raise Unavailable(f"the bucket's {setting} cannot be set") from error


def _versioning(bucket: _Bucket) -> Check:
    if not bucket.settings.bucket_versioning:
        return Check("versioning", State.NOT_WANTED)
    found = bucket.client.get_bucket_versioning(Bucket=bucket.name).get("Status", "never enabled")
    return Check("versioning", State.OK if found == "Enabled" else State.WRONG, found)


def _set_versioning(bucket: _Bucket) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})


def _encryption(bucket: _Bucket) -> Check:
    wanted = bucket.settings.bucket_encryption
    if not wanted:
        return Check("encryption", State.NOT_WANTED)
    found = bucket.read("get_bucket_encryption") or {}
    rules = found.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    defaults = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
    key = bucket.settings.bucket_encryption_key
    is_set = any(
        default.get("SSEAlgorithm") == wanted and key in ("", default.get("KMSMasterKeyID"))
        for default in defaults
    )
    said = ", ".join(default.get("SSEAlgorithm", "") for default in defaults) or "none by default"
    return Check("encryption", State.OK if is_set else State.WRONG, said)


def _set_encryption(bucket: _Bucket) -> None:
    default: dict[str, str] = {"SSEAlgorithm": bucket.settings.bucket_encryption}
    if bucket.settings.bucket_encryption_key:
        default["KMSMasterKeyID"] = bucket.settings.bucket_encryption_key
    bucket.client.put_bucket_encryption(
        Bucket=bucket.name,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": default}]},
    )


def _public_access(bucket: _Bucket) -> Check:
    found = bucket.read("get_public_access_block") or {}
    block = found.get("PublicAccessBlockConfiguration", {})
    missing = [name for name in _BLOCK if not block.get(name)]
    return Check(
        "public-access-block",
        State.WRONG if missing else State.OK,
        f"not set: {', '.join(missing)}" if missing else "",
    )


def _set_public_access(bucket: _Bucket) -> None:
    bucket.client.put_public_access_block(Bucket=bucket.name, PublicAccessBlockConfiguration=_BLOCK)


def _policy(bucket: _Bucket) -> Check:
    status = bucket.read("get_bucket_policy_status") or {}
    is_public = bool(status.get("PolicyStatus", {}).get("IsPublic"))
    detail = "the bucket's policy lets everybody in" if is_public else ""
    return Check("private-policy", State.WRONG if is_public else State.OK, detail)


def _replication(bucket: _Bucket) -> Check:
    target = bucket.settings.bucket_replica
    if not target:
        return Check("replication", State.NOT_WANTED)
    found = bucket.read("get_bucket_replication") or {}
    rules = found.get("ReplicationConfiguration", {}).get("Rules", [])
    is_set = any(
        rule.get("Status") == "Enabled"
        and rule.get("Destination", {}).get("Bucket") == target
        and not rule.get("Filter", {}).get("Prefix", rule.get("Prefix"))
        for rule in rules
    )
    return Check("replication", State.OK if is_set else State.WRONG, target)


def _set_replication(bucket: _Bucket) -> None:
    wanted = bucket.settings
    destination = {"Bucket": wanted.bucket_replica}
    if wanted.bucket_replica_class:
        destination["StorageClass"] = wanted.bucket_replica_class
    found = bucket.read("get_bucket_replication") or {}
    others = [
        rule
        for rule in found.get("ReplicationConfiguration", {}).get("Rules", [])
        if rule.get("ID") != REPLICATION_RULE
    ]
    ours = {
        "ID": REPLICATION_RULE,
        "Status": "Enabled",
        "Priority": len(others) + 1,
        "Filter": {"Prefix": ""},
        # What is deleted here, by mistake or with a stolen key, stays there.
        "DeleteMarkerReplication": {"Status": "Disabled"},
        "Destination": destination,
    }
    bucket.client.put_bucket_replication(
        Bucket=bucket.name,
        ReplicationConfiguration={"Role": wanted.bucket_replica_role, "Rules": [*others, ours]},
    )


def _lifecycle(bucket: _Bucket) -> Check:
    """Look at what rules do besides deleting current objects."""
    found = bucket.read("get_bucket_lifecycle_configuration") or {}
    rules = [rule for rule in found.get("Rules", []) if rule.get("Status") == "Enabled"]
    kept = bucket.settings.bucket_versions_kept_days
    faults = []
    for rule in rules:
        name = rule.get("ID") or "(without a name)"
        days = rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
        if days is not None and days < kept:
            faults.append(f"{name} lets go of earlier versions after {days} days, not {kept}")
        if any(each.get("StorageClass") in _OFFLINE_CLASSES for each in rule.get("Transitions", [])):
            faults.append(f"{name} moves objects to where they cannot be read at once")
    if not any(rule.get("ID") == LIFECYCLE_RULE for rule in rules):
        faults.append(f"the rule {LIFECYCLE_RULE} is missing: unfinished uploads stay and cost")
    return Check("lifecycle", State.WRONG if faults else State.OK, "; ".join(faults))


# In the order in which they are told.
_LOOKS: Mapping[str, Callable[[_Bucket], Check]] = {
    "versioning": _versioning,
    "encryption": _encryption,
    "public-access-block": _public_access,
    "private-policy": _policy,
    "replication": _replication,
    "lifecycle": _lifecycle,
}
# `prepare_store` sees to the rule of lifecycle; rules of the site's are the site's to change.
_SETTERS: Mapping[str, Callable[[_Bucket], None]] = {
    "versioning": _set_versioning,
    "encryption": _set_encryption,
    "public-access-block": _set_public_access,
    "replication": _set_replication,
}
