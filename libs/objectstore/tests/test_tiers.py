"""Several stores read as one: whatever was received is found wherever it lies, records in the first only."""

from __future__ import annotations

import pytest
from gantry_dicom.errors import NotFound
from gantry_objectstore.destruction import destroy
from gantry_objectstore.errors import OutOfRange, SettingsError
from gantry_objectstore.keys import amendment_key, amendment_scope, batch_folder, new_batch_id, object_key
from gantry_objectstore.store import FileStore, open_store
from gantry_objectstore.tiers import Tier, TieredStore, availabilities, open_tiers, parse_tiers, stores_of

BATCH = new_batch_id()
HOT, COLD = (object_key("main", BATCH, number) for number in (1, 2))
RECORD = amendment_key("main", amendment_scope("1.2"), 1)


@pytest.fixture
async def stores(tmp_path, s3_url):
    """A store of a folder with a bucket behind it: one object in each."""
    tiers = (Tier("cold", "NEARLINE", s3_url),)
    store = open_tiers((tmp_path / "hot").as_uri(), "primary", tiers)
    first, cold = stores_of(store)
    await first.put(HOT, b"hot object")
    await cold.put(COLD, b"cold object")
    yield store, first, cold
    await store.close()


async def test_every_way_of_reading_finds_it(stores):
    store, *_ = stores
    for _ in range(2):  # and once more where it was found
        assert [await store.get(key) for key in (HOT, COLD)] == [b"hot object", b"cold object"]
        assert await store.get_prefix(COLD, 4) == b"cold"
        assert await store.get_range(COLD, 5, 3) == b"obj"
        assert await store.get_ranges(COLD, [(0, 1), (10, 1)]) == [b"c", b"t"]
        assert b"".join([piece async for piece in store.stream(COLD, 5, chunk=2)]) == b"object"
        assert (await store.head(COLD)).size == 11
    with pytest.raises(OutOfRange):
        await store.get_range(COLD, 5, 100)


async def test_what_is_nowhere_is_not_found(stores):
    store, *_ = stores
    missing = object_key("main", BATCH, 3)
    for read in (store.get(missing), store.head(missing), anext(store.stream(missing))):
        with pytest.raises(NotFound):
            await read


async def test_one_that_moves_meanwhile_is_found_at_either_end(stores):
    store, first, cold = stores
    assert await store.get(COLD) == b"cold object"
    await first.put(COLD, b"cold object")
    await cold.delete(COLD)
    assert await store.get(COLD) == b"cold object"
    await cold.put(HOT, b"hot object")
    await first.delete(HOT)
    assert await store.get(HOT) == b"hot object"


async def test_records_are_of_the_first_store_alone(stores):
    store, first, cold = stores
    await store.put(RECORD, b"record")
    assert await first.get(RECORD) == b"record"
    await cold.put(RECORD, b"not this one")
    await first.delete(RECORD)
    with pytest.raises(NotFound):
        await store.get(RECORD)
    await store.delete(RECORD)
    assert await cold.get(RECORD) == b"not this one"


async def test_a_listing_names_each_object_once_wherever_it_lies(stores):
    store, first, cold = stores
    await cold.put(HOT, b"hot object")
    await cold.put(RECORD, b"record")
    folder = batch_folder("main", BATCH)
    assert sorted([info.key async for info in store.list(folder)]) == [HOT, COLD]
    assert sorted([info.key async for info in store.list("")]) == [HOT, COLD]
    assert await store.list_folders("o/") == ["main"]
    await first.delete(HOT)
    assert await store.list_folders("o/main/") == await cold.list_folders("o/main/")


async def test_what_is_destroyed_is_gone_from_every_store(stores):
    store, first, cold = stores
    await cold.put(HOT, b"hot object")
    assert await destroy(store, HOT) == 2
    assert await destroy(store, COLD) == 1
    for one in (store, first, cold):
        assert [info async for info in one.list("o/")] == []


def test_tiers_are_read_from_a_line():
    text = "cold:NEARLINE:s3://cold?endpoint=http://127.0.0.1:9000; tape:OFFLINE:file:///mnt/tape ;"
    tiers = parse_tiers(text, "primary")
    assert tiers == (
        Tier("cold", "NEARLINE", "s3://cold?endpoint=http://127.0.0.1:9000"),
        Tier("tape", "OFFLINE", "file:///mnt/tape"),
    )
    assert availabilities(tiers, "primary") == {"primary": "ONLINE", "cold": "NEARLINE", "tape": "OFFLINE"}
    assert availabilities((), "primary") == {}


@pytest.mark.parametrize(
    "text",
    [
        "cold",
        "cold:NEARLINE",
        "cold:NEARLINE:ftp://x",
        "cold:WARM:file:///x",
        "primary:NEARLINE:file:///x",
        ":NEARLINE:file:///x",
        "cold:NEARLINE:file:///x;cold:OFFLINE:file:///y",
    ],
)
def test_a_line_that_makes_no_sense_is_refused(text):
    with pytest.raises(SettingsError):
        parse_tiers(text, "primary")


async def test_without_tiers_it_is_the_store_itself(file_url):
    store = open_tiers(file_url, "primary", ())
    assert isinstance(store, FileStore)
    assert stores_of(store) == [store]
    assert not isinstance(open_store(file_url), TieredStore)
    await store.close()
