"""The bucket's settings on a real S3 server, and what is said where the server knows nothing of them."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError
from gantry_objectstore.administration import LIFECYCLE_RULE, bucket_client
from gantry_objectstore.store import open_store
from gantry_storage.bucket import checks
from gantry_storage.bucket.checks import State, apply, verify
from gantry_storage.entrypoints import bucket as entrypoint
from gantry_storage.settings import BucketSettings, StorageSettings
from prometheus_client import REGISTRY

WANTED = BucketSettings()


@pytest.fixture
async def store(s3_url):
    opened = open_store(s3_url)
    yield opened
    await opened.close()


def states(found):
    return {check.setting: check.state for check in found}


def add_rules(store, *rules):
    client = bucket_client(store)
    held = client.get_bucket_lifecycle_configuration(Bucket=store.bucket)["Rules"]
    client.put_bucket_lifecycle_configuration(
        Bucket=store.bucket, LifecycleConfiguration={"Rules": [*held, *rules]}
    )


def rule(name, prefix="", **what):
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}, **what}


async def test_a_new_bucket_is_wrong_until_it_has_been_set(store):
    before = states(await verify(store, WANTED))
    assert {name for name, state in before.items() if state is State.WRONG} == {
        "versioning",
        "encryption",
        "lifecycle",
    }
    after = states(await apply(store, WANTED))
    assert State.WRONG not in after.values()
    assert after["versioning"] is after["encryption"] is after["lifecycle"] is State.OK
    # SeaweedFS knows nothing of this one: that is said.
    assert after["public-access-block"] is State.UNSUPPORTED
    assert after["replication"] is State.NOT_WANTED


async def test_what_was_set_keeps_what_is_overwritten_and_deleted(store):
    await apply(store, WANTED)
    await store.put("o/main/aa/key", b"first")
    await store.delete("o/main/aa/key")
    versions = bucket_client(store).list_object_versions(Bucket=store.bucket)["Versions"]
    assert [version["Size"] for version in versions if version["Key"] == "o/main/aa/key"] == [5]


async def test_rules_that_delete_are_named_and_left_to_who_made_them(store):
    await apply(store, WANTED)
    add_rules(store, rule("tidy", "o/", Expiration={"Days": 30}))
    found = {check.setting: check for check in await apply(store, WANTED)}
    assert found["no-expiry"].state is State.WRONG
    assert "tidy" in found["no-expiry"].detail
    client = bucket_client(store)
    names = {each["ID"] for each in client.get_bucket_lifecycle_configuration(Bucket=store.bucket)["Rules"]}
    assert names == {LIFECYCLE_RULE, "tidy"}


async def test_rules_that_forget_versions_too_early_are_wrong(store):
    await apply(store, WANTED)
    add_rules(store, rule("versions", NoncurrentVersionExpiration={"NoncurrentDays": 5}))
    found = {check.setting: check for check in await verify(store, WANTED)}
    assert found["lifecycle"].state is State.WRONG
    assert "after 5 days, not 30" in found["lifecycle"].detail
    patient = BucketSettings(bucket_versions_kept_days=5)
    assert states(await verify(store, patient))["lifecycle"] is State.OK


async def test_replication_that_the_server_cannot_do_stays_wrong(store):
    wanted = BucketSettings(
        bucket_replica="arn:aws:s3:::elsewhere", bucket_replica_role="arn:aws:iam::1:role/r"
    )
    assert states(await apply(store, wanted))["replication"] is State.WRONG


async def test_a_folder_is_told_to_be_copied(file_url):
    store = open_store(file_url)
    (check,) = await apply(store, WANTED)
    assert check.state is State.UNSUPPORTED
    assert "gantry backup objects" in check.detail
    await store.close()


async def test_the_worker_shows_each_setting_as_a_gauge(store):
    await apply(store, WANTED)
    await entrypoint.watch_bucket(store, WANTED)
    assert REGISTRY.get_sample_value("gantry_bucket_setting_ok", {"setting": "versioning"}) == 1
    client = bucket_client(store)
    client.put_bucket_versioning(Bucket=store.bucket, VersioningConfiguration={"Status": "Suspended"})
    await entrypoint.watch_bucket(store, WANTED)
    assert REGISTRY.get_sample_value("gantry_bucket_setting_ok", {"setting": "versioning"}) == 0
    assert REGISTRY.get_sample_value("gantry_bucket_setting_ok", {"setting": "public-access-block"}) is None


def test_the_command_prints_json_and_counts_what_is_wrong(s3_url, s3_server, capsys):
    settings = StorageSettings(
        store_url=s3_url,
        s3_access_key=s3_server.access_key,
        s3_secret_key=s3_server.secret_key,
        index_dsn="",
        redis_url="",
        seal_keys="k:" + "5e" * 32,
    )
    assert entrypoint.run(settings, change=False) == 3
    assert entrypoint.run(settings, change=True) == 0
    *_, printed = capsys.readouterr().out.partition("]\n")
    assert {each["setting"] for each in json.loads(printed)} >= {"versioning", "encryption", "no-expiry"}


class Recorded:
    """A client of boto3 in front of a server that knows replication and blocks of public access."""

    def __init__(self):
        self.replication = None
        self.block = None

    def get_bucket_replication(self, Bucket):  # noqa: N803 - boto3's names
        if self.replication is None:
            raise ClientError({"Error": {"Code": "ReplicationConfigurationNotFoundError"}}, "get")
        return {"ReplicationConfiguration": self.replication}

    def put_bucket_replication(self, Bucket, ReplicationConfiguration):  # noqa: N803
        self.replication = ReplicationConfiguration

    def get_public_access_block(self, Bucket):  # noqa: N803
        return {"PublicAccessBlockConfiguration": self.block or {}}

    def put_public_access_block(self, Bucket, PublicAccessBlockConfiguration):  # noqa: N803
        self.block = PublicAccessBlockConfiguration


def test_a_replica_is_set_beside_the_rules_of_the_site_and_deletions_do_not_go_there():
    wanted = BucketSettings(bucket_replica="arn:aws:s3:::far", bucket_replica_role="arn:aws:iam::1:role/r")
    client = Recorded()
    client.replication = {
        "Role": "r",
        "Rules": [{"ID": "logs", "Status": "Enabled", "Destination": {"Bucket": "arn:aws:s3:::far"}}],
    }
    client.replication["Rules"][0]["Filter"] = {"Prefix": "logs/"}
    bucket = checks._Bucket(client, "b", wanted)
    assert checks._replication(bucket).state is State.WRONG, "only a part of the bucket is replicated"
    checks._set_replication(bucket)
    checks._set_replication(bucket)
    assert checks._replication(bucket).state is State.OK
    logs, ours = client.replication["Rules"]
    assert logs["ID"] == "logs"
    assert ours["DeleteMarkerReplication"] == {"Status": "Disabled"}


def test_public_access_is_blocked_where_the_server_can():
    bucket = checks._Bucket(Recorded(), "b", WANTED)
    assert checks._public_access(bucket).state is State.WRONG
    checks._set_public_access(bucket)
    assert checks._public_access(bucket).state is State.OK
