"""Policy snapshots in a real file store."""

from datetime import timedelta

import pytest
from gantry.access.v1.access_pb2 import AccessBatch, PolicySnapshot
from gantry_access.snapshots import (
    forget_old_snapshots,
    load_newest,
    newest_version,
    publish_snapshot,
    snapshot_key,
)
from gantry_dicom.errors import Conflict
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store

SEALER = Sealer({"a": b"k" * 32}, "a")


@pytest.fixture
async def store(tmp_path):
    opened = open_store(f"file://{tmp_path}", options=StoreSettings())
    yield opened
    await opened.close()


async def test_the_newest_snapshot_wins(store):
    assert await load_newest(store, SEALER) == (None, [])
    for version in (1, 2, 10):
        await publish_snapshot(store, SEALER, PolicySnapshot(version=version, good_for_us=version))
    snapshot, bad = await load_newest(store, SEALER)
    assert (snapshot.version, snapshot.good_for_us, bad) == (10, 10, [])
    assert await newest_version(store) == 10
    assert (await load_newest(store, SEALER, newer_than=10))[0] is None


async def test_a_version_is_published_once_but_the_same_snapshot_may_be_put_again(store):
    snapshot = PolicySnapshot(version=3, good_for_us=1)
    assert await publish_snapshot(store, SEALER, snapshot) == await publish_snapshot(store, SEALER, snapshot)
    with pytest.raises(Conflict):
        await publish_snapshot(store, SEALER, PolicySnapshot(version=3, good_for_us=2))


async def test_snapshots_that_nobody_of_ours_sealed_are_passed_over(store):
    await publish_snapshot(store, SEALER, PolicySnapshot(version=1))
    await publish_snapshot(store, Sealer({"a": b"x" * 32}, "a"), PolicySnapshot(version=2))
    await store.put(snapshot_key(3), b"no seal at all")
    await store.put(snapshot_key(4), SEALER.seal(AccessBatch(writer="w")))
    await store.put(snapshot_key(5), SEALER.seal(PolicySnapshot(version=1, good_for_us=9)))
    await store.put("p/not-a-version", b"")
    snapshot, bad = await load_newest(store, SEALER)
    assert snapshot.version == 1
    assert bad == [snapshot_key(v) for v in (5, 4, 3, 2)]


async def test_only_the_newest_snapshots_and_the_young_are_kept(store):
    for version in (1, 2, 3, 10):
        await publish_snapshot(store, SEALER, PolicySnapshot(version=version))
    await store.put("p/not-a-version", b"")
    now = await store.now()
    assert await forget_old_snapshots(store, kept=2, older_than=now - timedelta(days=1)) == 0
    later = now + timedelta(seconds=10)
    assert await forget_old_snapshots(store, kept=9, older_than=later) == 0
    assert await forget_old_snapshots(store, kept=2, older_than=later) == 2
    assert await forget_old_snapshots(store, kept=2, older_than=later) == 0
    kept = {info.key async for info in store.list("p/")}
    assert kept == {snapshot_key(3), snapshot_key(10), "p/not-a-version"}
