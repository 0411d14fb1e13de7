"""Old policy snapshots, cleared away by the service that deletes."""

from __future__ import annotations

from gantry.access.v1.access_pb2 import PolicySnapshot
from gantry_access.snapshots import KEPT_SNAPSHOTS, load_newest, publish_snapshot
from gantry_index.locks import SWEEPER, AdvisoryLock
from gantry_objectstore.store import open_store
from gantry_storage.bootstrap import make_parts
from gantry_storage.entrypoints.worker import SNAPSHOTS_KEPT, clear_snapshots


async def test_old_snapshots_go_and_the_newest_and_the_young_stay(settings, store_url, late_store, sealer):
    store = late_store(open_store(store_url))
    parts = make_parts(settings.model_copy(update={"store_url": store_url}), store=store)
    last = KEPT_SNAPSHOTS + 3
    for version in range(1, last + 1):
        await publish_snapshot(store, sealer, PolicySnapshot(version=version))

    async def there():
        return len([info async for info in store.list("p/")])

    await clear_snapshots(parts)
    assert await there() == last
    store.wait(SNAPSHOTS_KEPT.total_seconds() + 60)
    held_elsewhere = AdvisoryLock(settings.index_dsn, SWEEPER)
    await parts.lock.release()
    assert await held_elsewhere.hold()
    await clear_snapshots(parts)
    assert await there() == last
    await held_elsewhere.release()
    await clear_snapshots(parts)
    assert await there() == KEPT_SNAPSHOTS
    newest, bad = await load_newest(store, sealer)
    assert (newest.version, bad) == (last, [])
    await parts.close()
