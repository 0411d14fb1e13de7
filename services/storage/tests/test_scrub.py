"""What happens to objects behind the archive's back is found by reading them again."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_DUPLICATE,
    VERDICT_STATE_INDEXED,
    VERDICT_STATE_PENDING,
    VERDICT_STATE_TOMBSTONED,
)
from gantry.reception.v1.reception_pb2 import JournalEntry, Manifest, Outcome, Reception
from gantry_dicom.errors import Unavailable
from gantry_index.object_rows import ObjectRow
from gantry_index.records import FindingKind as Kind
from gantry_objectstore.keys import BatchIds, batch_folder, manifest_key, object_key
from gantry_objectstore.records import write_journal, write_manifest
from gantry_objectstore.store import open_store
from gantry_storage.comparison import Pace
from gantry_storage.scrub import Scrub

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
META, DATA = b"meta" * 50, b"data set" * 100


class Rows(dict):
    """Rows of the index in memory, and what purges have destroyed."""

    destroyed = frozenset()

    async def destroyed_among(self, object_keys):
        return self.destroyed & set(object_keys)

    async def rows_of(self, object_keys):
        return {key: self[key] for key in object_keys if key in self}

    async def rows_under(self, folder):
        return {key: row for key, row in self.items() if key.startswith(folder)}

    def change(self, key, **values):
        self[key] = replace(self[key], **values)


@pytest.fixture
async def store(file_url):
    """No database is needed here."""
    store = open_store(file_url)
    yield store
    await store.close()


@pytest.fixture
def rows():
    return Rows()


@pytest.fixture
def scrub(store, sealer, rows):
    return Scrub(store, sealer, rows, Pace())


@pytest.fixture
def stored(store, sealer, rows):
    """``await stored(...)``: a batch with its manifest and rows; returns the keys of manifest and objects."""

    async def store_batch(count=4, *, opened=NOW, outcome=Outcome.OUTCOME_ACKNOWLEDGED):
        batch = BatchIds(opened.timestamp).new()
        lines = [
            Reception(
                object_key=object_key("main", batch, ordinal),
                batch=batch,
                ordinal=ordinal,
                outcome=outcome,
                size=len(META + DATA),
                meta_length=len(META),
                meta_digest=hashlib.sha256(META).digest(),
                data_set_digest=hashlib.sha256(DATA).digest(),
                study_instance_uid="1.2",
                sop_instance_uid=f"1.2.{ordinal}",
            )
            for ordinal in range(1, count + 1)
        ]
        for line in lines:
            await store.put(line.object_key, META + DATA)
            if outcome != Outcome.OUTCOME_REFUSED:
                rows[line.object_key] = row_of(line)
        await write_manifest(store, Manifest(batch=batch, partition="main", receptions=lines), sealer)
        return manifest_key("main", batch), [line.object_key for line in lines]

    return store_batch


def row_of(line):
    return ObjectRow(
        object_key=line.object_key,
        partition="main",
        study_uid="1.2",
        series_uid="",
        sop_uid=line.sop_instance_uid,
        state=VERDICT_STATE_INDEXED,
        size=line.size,
        meta_length=line.meta_length,
        data_set_digest=line.data_set_digest,
        transfer_syntax_uid="",
        is_shown=True,
    )


async def found_by(scrub, key):
    examined = await scrub.examine(key)
    return sorted((found.kind, found.object_key) for found in examined.found)


async def test_whole_objects_give_no_finding(scrub, stored):
    key, keys = await stored()
    examined = await scrub.examine(key)
    assert (examined.found, examined.objects, examined.bytes) == ([], 4, 4 * len(META + DATA))
    assert set(examined.sound) == {key, *keys}


@pytest.mark.parametrize(
    ("damaged", "evidence"),
    [
        pytest.param(META + DATA[:-1] + b"X", {"meta_is_whole": True}, id="a byte of the data set"),
        pytest.param(b"X" + META[1:] + DATA, {"meta_is_whole": False}, id="a byte of the File Meta"),
        pytest.param(META + DATA[:-1], {"found_size": len(META + DATA) - 1}, id="cut"),
        pytest.param(META + DATA + b"\0", {"found_size": len(META + DATA) + 1}, id="longer"),
        pytest.param(b"", {"found_size": 0}, id="empty"),
    ],
)
async def test_damage_is_found_wherever_it_lies(store, scrub, stored, damaged, evidence):
    key, keys = await stored()
    await store.put(keys[2], damaged)
    examined = await scrub.examine(key)
    [found] = examined.found
    assert (found.kind, found.object_key, found.study_uid) == (Kind.OBJECT_DAMAGED, keys[2], "1.2")
    assert found.evidence.items() >= evidence.items()
    assert set(examined.sound) == {key, *keys} - {keys[2]}


async def test_what_is_gone_is_found_unless_nobody_was_told_of_it_or_it_was_purged(
    store, scrub, stored, rows
):
    key, keys = await stored()
    for gone in keys[:3]:
        await store.delete(gone)
    # Deleted, but not purged: it can still be restored.
    rows.change(keys[1], state=VERDICT_STATE_TOMBSTONED, is_shown=False)
    rows.change(keys[2], state=VERDICT_STATE_TOMBSTONED, is_shown=False)
    rows.destroyed = frozenset({keys[2]})
    assert await found_by(scrub, key) == [(Kind.OBJECT_MISSING, keys[0]), (Kind.OBJECT_MISSING, keys[1])]
    unanswered, keys = await stored(outcome=Outcome.OUTCOME_UNANSWERED)
    for gone in keys[:2]:
        await store.delete(gone)
    del rows[keys[0]]
    # It has been indexed all the same: it is seen, so it must be there.
    assert await found_by(scrub, unanswered) == [(Kind.OBJECT_MISSING, keys[1])]


async def test_what_has_no_verdict_is_found_unless_the_journal_leads_to_it(
    store, sealer, scrub, stored, rows
):
    key, keys = await stored()
    del rows[keys[0]]
    rows.change(keys[1], state=VERDICT_STATE_PENDING, is_shown=False)
    assert await found_by(scrub, key) == [(Kind.NOT_INDEXED, keys[0]), (Kind.NOT_INDEXED, keys[1])]
    batch = key.rsplit("/", 1)[-1]
    await write_journal(store, JournalEntry(batch=batch, partition="main"), sealer)
    assert await found_by(scrub, key) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 1},
        {"data_set_digest": b"other"},
        {"meta_length": 1},
        {"is_shown": False},
        {"state": VERDICT_STATE_DUPLICATE},
    ],
)
async def test_a_row_that_says_something_else_than_the_manifest_is_found(scrub, stored, rows, wrong):
    key, keys = await stored()
    rows.change(keys[3], **wrong)
    assert await found_by(scrub, key) == [(Kind.INDEX_DIFFERS, keys[3])]


async def test_a_row_without_manifest_and_object_is_stale_and_so_is_one_that_was_refused(
    store, scrub, stored, rows
):
    key, keys = await stored()
    stale = keys[0][:-4] + "0099"
    rows[stale] = replace(rows[keys[0]], object_key=stale)
    assert await found_by(scrub, key) == [(Kind.INDEX_STALE, stale)]
    refused, keys = await stored(outcome=Outcome.OUTCOME_REFUSED)
    await store.delete(keys[1])
    rows[keys[0]] = replace(rows[stale], object_key=keys[0])
    assert await found_by(scrub, refused) == [(Kind.INDEX_STALE, keys[0])]


async def test_an_object_that_no_manifest_names_is_found_when_it_has_had_time(store, sealer, scrub, stored):
    key, keys = await stored()
    late, lost = keys[0][:-4] + "0098", keys[0][:-4] + "0099"
    for each in (late, lost):
        await store.put(each, META + DATA)
    later = BatchIds((NOW + timedelta(hours=13)).timestamp).new()
    line = Reception(object_key=late, batch=keys[0].split("/")[3], ordinal=98)
    await write_manifest(store, Manifest(batch=later, partition="main", receptions=[line]), sealer)
    assert await found_by(scrub, key) == [(Kind.OBJECT_UNLISTED, lost)]
    young, keys = await stored(opened=datetime.now(UTC))
    await store.put(batch_folder("main", young.rsplit("/", 1)[-1]) + "0099", b"on its way")
    assert await found_by(scrub, young) == []


async def test_a_forged_manifest_is_a_finding(store, scrub, stored):
    key, _ = await stored()
    await store.put(key, b"forged")
    assert await found_by(scrub, key) == [(Kind.BAD_MANIFEST, key)]


class Failing:
    """A store whose object at ``key`` cannot be read, and nothing else is wrong."""

    def __init__(self, inner, key):
        self._inner = inner
        self._key = key

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def stream(self, key, *arguments):
        if key == self._key:
            raise Unavailable("input/output error")
        return self._inner.stream(key, *arguments)


async def test_an_object_that_cannot_be_read_is_damaged_and_a_store_that_is_down_is_no_finding(
    store, sealer, stored, rows
):
    key, keys = await stored()
    failing = Failing(store, keys[1])
    examined = await Scrub(failing, sealer, rows, Pace()).examine(key)
    [found] = examined.found
    assert (found.kind, found.object_key) == (Kind.OBJECT_DAMAGED, keys[1])
    assert found.evidence["readable"] is False

    async def down():
        raise Unavailable("down")

    failing.now = down
    with pytest.raises(Unavailable):
        await Scrub(failing, sealer, rows, Pace()).examine(key)


async def test_it_reads_no_faster_than_it_may(store, sealer, stored, rows):
    key, _ = await stored()
    for pace, seconds in [
        (Pace(0, 20_000), 4 * len(META + DATA) / 20_000),
        (Pace(20, 0), 4 / 20),
    ]:
        begun = time.monotonic()
        assert (await Scrub(store, sealer, rows, pace).examine(key)).found == []
        assert time.monotonic() - begun >= seconds * 0.99
