"""What happens to objects behind the archive's back is found by reading them again."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta

import pytest
from gantry.reception.v1.reception_pb2 import Manifest, Outcome, Reception
from gantry_objectstore.keys import BatchIds, manifest_key, object_key
from gantry_objectstore.records import write_manifest
from gantry_storage.scrub import Kind, Scrub

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
META, DATA = b"meta" * 50, b"data set" * 100


@pytest.fixture
def undecided():
    return set()


@pytest.fixture
def scrub(store, sealer, undecided):
    async def ask(keys):
        return set(keys) & undecided

    return Scrub(store, sealer, ask)


async def stored(store, sealer, count=4, *, opened=NOW, outcome=Outcome.OUTCOME_ACKNOWLEDGED):
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
            sop_instance_uid=f"1.2.{ordinal}",
        )
        for ordinal in range(1, count + 1)
    ]
    for line in lines:
        await store.put(line.object_key, META + DATA)
    await write_manifest(store, Manifest(batch=batch, partition="main", receptions=lines), sealer)
    return batch, [line.object_key for line in lines]


async def found_by(scrub, **options):
    return [(finding.kind, finding.key) async for finding in scrub.run(**options)]


async def test_whole_objects_give_no_finding(store, sealer, scrub):
    await stored(store, sealer)
    assert await found_by(scrub) == []
    assert (scrub.objects, scrub.bytes) == (4, 4 * len(META + DATA))


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(META + DATA[:-1] + b"X", id="a byte of the data set"),
        pytest.param(b"X" + META[1:] + DATA, id="a byte of the File Meta"),
        pytest.param(META + DATA[:-1], id="cut"),
        pytest.param(META + DATA + b"\0", id="longer"),
        pytest.param(b"", id="empty"),
    ],
)
async def test_damage_is_found_wherever_it_lies(store, sealer, scrub, damaged):
    _, keys = await stored(store, sealer)
    await store.put(keys[2], damaged)
    assert await found_by(scrub) == [(Kind.DAMAGED, keys[2])]


async def test_what_is_gone_or_not_in_the_index_is_found(store, sealer, scrub, undecided):
    _, keys = await stored(store, sealer)
    await store.delete(keys[0])
    undecided |= {keys[0], keys[3]}
    assert await found_by(scrub) == [(Kind.MISSING, keys[0]), (Kind.NOT_INDEXED, keys[3])]


async def test_what_nobody_was_told_of_may_be_missing_and_what_was_refused_is_not_asked_for(
    store, sealer, scrub
):
    for outcome in (Outcome.OUTCOME_UNANSWERED, Outcome.OUTCOME_REFUSED):
        _, keys = await stored(store, sealer, outcome=outcome)
        await store.delete(keys[0])
    assert await found_by(scrub) == []


async def test_a_forged_manifest_is_a_finding_and_the_others_are_still_read(store, sealer, scrub):
    batch, _ = await stored(store, sealer)
    _, keys = await stored(store, sealer, opened=NOW + timedelta(minutes=1))
    await store.put(manifest_key("main", batch), b"forged")
    await store.delete(keys[0])
    assert set(await found_by(scrub)) == {
        (Kind.BAD_MANIFEST, manifest_key("main", batch)),
        (Kind.MISSING, keys[0]),
    }


async def test_a_run_goes_on_at_a_day(store, sealer, scrub):
    _, old = await stored(store, sealer, opened=NOW - timedelta(days=2))
    _, new = await stored(store, sealer)
    for key in (old[0], new[0]):
        await store.delete(key)
    assert await found_by(scrub, since=NOW) == [(Kind.MISSING, new[0])]


async def test_it_reads_no_faster_than_it_may(store, sealer):
    await stored(store, sealer)

    async def decided(_keys):
        return set()

    scrub = Scrub(store, sealer, decided, bytes_per_second=20_000)
    begun = time.monotonic()
    assert await found_by(scrub) == []
    assert time.monotonic() - begun >= 4 * len(META + DATA) / 20_000
