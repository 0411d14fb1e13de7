"""Seals and the records that carry them."""

from collections.abc import AsyncIterator

import pytest
from gantry.reception.v1.reception_pb2 import JournalEntry, Manifest, Outcome, Reception
from gantry.sealed.v1.sealed_pb2 import Sealed
from gantry_dicom.errors import Conflict, NotFound
from gantry_objectstore.errors import BadKey, BadSeal, SettingsError
from gantry_objectstore.keys import journal_key, manifest_key, new_batch_id, object_key
from gantry_objectstore.records import read_journal, read_manifest, write_journal, write_manifest
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import ObjectStore, open_store
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW = b"o" * 32, b"n" * 32
sealer = Sealer({"old": OLD, "new": NEW}, "new")
entries = st.builds(
    JournalEntry,
    batch=st.text(max_size=30),
    partition=st.text(max_size=20),
    process=st.text(max_size=20),
    opened_at_us=st.integers(0, 2**62),
    late_object_keys=st.lists(st.text(max_size=50), max_size=5),
)


@given(entries)
def test_what_is_sealed_opens_again(entry: JournalEntry) -> None:
    assert sealer.open(sealer.seal(entry), JournalEntry) == entry


@given(entries)
def test_what_an_older_key_sealed_still_opens(entry: JournalEntry) -> None:
    assert sealer.open(Sealer({"old": OLD}, "old").seal(entry), JournalEntry) == entry


@given(entries, st.data())
def test_a_changed_record_does_not_open(entry: JournalEntry, data: st.DataObject) -> None:
    sealed = bytearray(sealer.seal(entry))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    try:
        opened = sealer.open(bytes(sealed), JournalEntry)
    except BadSeal:
        return
    # Only what the wire format itself ignores may change.
    assert opened == entry


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadSeal):
        sealer.open(data, JournalEntry)


def test_a_record_of_another_kind_does_not_open() -> None:
    sealed = sealer.seal(Manifest(batch="x"))
    with pytest.raises(BadSeal):
        sealer.open(sealed, JournalEntry)
    relabelled = Sealed.FromString(sealed)
    relabelled.kind = JournalEntry.DESCRIPTOR.full_name
    with pytest.raises(BadSeal):
        sealer.open(relabelled.SerializeToString(), JournalEntry)


def test_a_key_that_is_not_ours_does_not_open() -> None:
    stranger = Sealer({"new": b"x" * 32}, "new")
    with pytest.raises(BadSeal):
        sealer.open(stranger.seal(JournalEntry()), JournalEntry)
    with pytest.raises(BadSeal):
        Sealer({"other": NEW}, "other").open(sealer.seal(JournalEntry()), JournalEntry)


def test_keys_are_read_from_text_and_the_first_is_current() -> None:
    read = Sealer.from_text(f"new:{NEW.hex()}, old:{OLD.hex()}")
    assert read.seal(JournalEntry()) == sealer.seal(JournalEntry())
    assert read.open(Sealer({"old": OLD}, "old").seal(JournalEntry(batch="b")), JournalEntry).batch == "b"


@pytest.mark.parametrize(
    "text", ["", "a", "a:zz", f":{NEW.hex()}", "a:00", f"a:{NEW.hex()},a:{OLD.hex()}", "a:"]
)
def test_unusable_keys_are_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(SettingsError) as error:
        Sealer.from_text(text)
    assert NEW.hex() not in str(error.value)
    assert "zz" not in str(error.value)


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[ObjectStore]:
    opened = open_store(store_url)
    yield opened
    await opened.close()


def manifest_of(batch: str, partition: str = "main") -> Manifest:
    line = Reception(object_key=object_key("main", batch, 1), outcome=Outcome.OUTCOME_ACKNOWLEDGED)
    return Manifest(batch=batch, partition=partition, receptions=[line])


async def test_records_come_back(store: ObjectStore) -> None:
    batch = new_batch_id()
    entry = JournalEntry(batch=batch, partition="main", late_object_keys=[object_key("main", batch, 7)])
    assert await write_journal(store, entry, sealer) == journal_key(batch)
    assert await read_journal(store, journal_key(batch), sealer) == entry
    manifest = manifest_of(batch)
    assert await write_manifest(store, manifest, sealer) == manifest_key("main", batch)
    assert await read_manifest(store, manifest_key("main", batch), sealer) == manifest


async def test_a_manifest_is_written_once_and_writing_the_same_again_is_fine(store: ObjectStore) -> None:
    manifest = manifest_of(new_batch_id())
    key = await write_manifest(store, manifest, sealer)
    assert await write_manifest(store, manifest, sealer) == key
    other = Manifest(batch=manifest.batch, partition="main")
    with pytest.raises(Conflict):
        await write_manifest(store, other, sealer)
    assert await read_manifest(store, key, sealer) == manifest


async def test_a_record_under_another_batch_s_key_is_refused(store: ObjectStore) -> None:
    ours, theirs = new_batch_id(), new_batch_id()
    await store.put(journal_key(theirs), sealer.seal(JournalEntry(batch=ours, partition="main")))
    with pytest.raises(BadSeal):
        await read_journal(store, journal_key(theirs), sealer)
    await store.put(manifest_key("main", theirs), sealer.seal(manifest_of(ours)))
    with pytest.raises(BadSeal):
        await read_manifest(store, manifest_key("main", theirs), sealer)
    await store.put(manifest_key("other", ours), sealer.seal(manifest_of(ours)))
    with pytest.raises(BadSeal):
        await read_manifest(store, manifest_key("other", ours), sealer)


async def test_a_record_that_names_objects_of_another_partition_is_refused(store: ObjectStore) -> None:
    batch = new_batch_id()
    await store.put(manifest_key("other", batch), sealer.seal(manifest_of(batch, "other")))
    with pytest.raises(BadSeal):
        await read_manifest(store, manifest_key("other", batch), sealer)
    entry = JournalEntry(batch=batch, partition="other", late_object_keys=["../../etc/passwd"])
    await write_journal(store, entry, sealer)
    with pytest.raises(BadSeal):
        await read_journal(store, journal_key(batch), sealer)


async def test_missing_records_are_not_found_and_other_keys_refused(store: ObjectStore) -> None:
    with pytest.raises(NotFound):
        await read_journal(store, journal_key(new_batch_id()), sealer)
    with pytest.raises(BadKey):
        await read_journal(store, manifest_key("main", new_batch_id()), sealer)
    with pytest.raises(BadKey):
        await read_manifest(store, journal_key(new_batch_id()), sealer)
