"""A copy of the bucket: whole, in an order that a restore can begin from, and never wrong unnoticed."""

from __future__ import annotations

import hashlib

import pytest
from gantry.reception.v1.reception_pb2 import JournalEntry, Manifest, Outcome, Reception
from gantry_cli.backup.objects import ERRANDS, BucketCopy, last_copied
from gantry_objectstore.keys import journal_key, manifest_key, new_batch_id, object_key
from gantry_objectstore.records import write_journal, write_manifest
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import open_store

SEALER = Sealer.from_text("test:" + "a5" * 32)
META = b"meta"


@pytest.fixture
async def source(store_url):
    store = open_store(store_url)
    yield store
    await store.close()


@pytest.fixture
async def target(tmp_path):
    store = open_store((tmp_path / "copy").as_uri())
    yield store
    await store.close()


def line_of(batch, ordinal, data):
    return Reception(
        object_key=object_key("main", batch, ordinal),
        size=len(META) + len(data),
        meta_length=len(META),
        meta_digest=hashlib.sha256(META).digest(),
        data_set_digest=hashlib.sha256(data).digest(),
        outcome=Outcome.OUTCOME_ACKNOWLEDGED,
    )


async def put_batch(store, *contents):
    batch = new_batch_id()
    lines = [line_of(batch, ordinal, data) for ordinal, data in enumerate(contents, 1)]
    for line, data in zip(lines, contents, strict=True):
        await store.put(line.object_key, META + data)
    await write_manifest(store, Manifest(batch=batch, partition="main", receptions=lines), SEALER)
    return [line.object_key for line in lines]


async def keys_of(store):
    return {info.key async for info in store.list("") if info.key != "copied.json"}


async def test_everything_is_copied_once_and_then_only_what_is_new(source, target):
    first = await put_batch(source, b"one", b"two")
    await source.put("a/main/amendment", b"amendment")
    report = await BucketCopy(source, target, SEALER).run()
    assert (report.manifests, report.objects, report.damaged, report.missing) == (1, 2, [], [])
    assert await keys_of(target) == await keys_of(source)
    assert await target.get(first[1]) == META + b"two"
    assert await last_copied(target) == report.began
    await put_batch(source, b"three")
    report = await BucketCopy(source, target, SEALER).run()
    assert (report.manifests, report.objects) == (1, 1)
    assert await keys_of(target) == await keys_of(source)


async def test_what_could_not_be_copied_is_copied_once_it_is_mended(source, target):
    _, bad = await put_batch(source, b"good", b"bad")
    await source.put(bad, META + b"BAD")
    assert (await BucketCopy(source, target, SEALER).run()).damaged == [bad]
    assert (await BucketCopy(source, target, SEALER).run()).damaged == [bad]
    await source.put(bad, META + b"bad")
    report = await BucketCopy(source, target, SEALER).run()
    assert (report.damaged, report.objects) == ([], 1)
    assert await target.get(bad) == META + b"bad"
    assert (await BucketCopy(source, target, SEALER).run()).objects == 0


async def test_a_copy_that_is_brought_back_leaves_alone_what_the_bucket_in_use_has(source, target):
    """What was acknowledged and has no manifest yet is led to by the journal alone."""
    await put_batch(source, b"copied")
    batch = new_batch_id()
    await target.put(object_key("main", batch, 1), META + b"just stored")
    await write_journal(target, JournalEntry(batch=batch, partition="main"), SEALER)
    await source.put("a/main/amendment", b"as it was once")
    await target.put("a/main/amendment", b"as it is now")
    await BucketCopy(source, target, SEALER, into_use=True).run()
    assert await keys_of(target) >= {journal_key(batch), object_key("main", batch, 1), *await keys_of(source)}
    assert await target.get("a/main/amendment") == b"as it is now"


async def test_a_damaged_object_is_named_and_its_bytes_do_not_get_into_the_copy(source, target):
    good, bad = await put_batch(source, b"good", b"bad")
    await source.put(bad, META + b"BAD")
    report = await BucketCopy(source, target, SEALER).run()
    assert report.damaged == [bad]
    assert good in await keys_of(target)
    assert bad not in await keys_of(target)
    await source.put(bad, META + b"bad")
    report = await BucketCopy(source, target, SEALER, check=True).run()
    assert (report.damaged, report.objects) == ([], 1)
    assert await target.get(bad) == META + b"bad"


async def test_a_check_finds_what_went_wrong_in_the_copy_itself(source, target):
    (key,) = await put_batch(source, b"data")
    await BucketCopy(source, target, SEALER).run()
    await target.put(key, META + b"rust")
    assert (await BucketCopy(source, target, SEALER).run()).objects == 0
    assert (await BucketCopy(source, target, SEALER, check=True).run()).objects == 1
    assert await target.get(key) == META + b"data"


async def test_an_object_that_is_gone_is_named_and_the_rest_of_its_batch_is_copied(source, target):
    kept, gone = await put_batch(source, b"kept", b"gone")
    await source.delete(gone)
    report = await BucketCopy(source, target, SEALER).run()
    assert report.missing == [gone]
    assert kept in await keys_of(target)


async def test_a_batch_that_is_still_open_comes_with_its_journal_entry(source, target):
    batch = new_batch_id()
    key = object_key("main", batch, 1)
    await source.put(key, META + b"acknowledged")
    await write_journal(source, JournalEntry(batch=batch, partition="main"), SEALER)
    await BucketCopy(source, target, SEALER).run()
    assert {key, journal_key(batch)} <= await keys_of(target)
    await write_manifest(
        source,
        Manifest(batch=batch, partition="main", receptions=[line_of(batch, 1, b"acknowledged")]),
        SEALER,
    )
    await source.delete(journal_key(batch))
    report = await BucketCopy(source, target, SEALER).run()
    assert report.deleted == 1
    assert await keys_of(target) == {key, manifest_key("main", batch)}


async def test_originals_that_the_archive_deletes_stay_in_the_copy(source, target):
    (key,) = await put_batch(source, b"data")
    await BucketCopy(source, target, SEALER).run()
    await source.delete(key)
    await BucketCopy(source, target, SEALER).run()
    assert key in await keys_of(target)


async def test_a_drill_takes_links_and_leaves_errands_alone(file_url, target):
    source = open_store(file_url)
    (key,) = await put_batch(source, b"data")
    await source.put("s/main/aa/job", b"to be sent on")
    await source.put("v/main/aa/transaction", b"to be reported")
    await BucketCopy(source, target, SEALER, links=True, leave_out=ERRANDS).run()
    assert not [found for found in await keys_of(target) if found.startswith(("s/", "v/"))]
    assert (source.root / key).samefile(target.root / key)
    await target.put(key, b"written in the drill")
    assert await source.get(key) == META + b"data", "a put changes no file, it makes one"
    await source.close()
