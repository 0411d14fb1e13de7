"""Amendments in the bucket: numbered without gaps, believed only at their own place."""

from __future__ import annotations

import asyncio

import pytest
from gantry.amendment.v1.amendment_pb2 import AMENDMENT_KIND_HIDE, Amendment
from gantry_dicom.errors import Unavailable
from gantry_objectstore.amendments import read_amendment, write_amendment
from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import (
    WAITING_PREFIX,
    amendment_key,
    amendment_scope,
    new_batch_id,
    object_key,
    parse_amendment_key,
    parse_waiting_key,
    waiting_key,
)
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import open_store

STUDY = "1.2.3"


@pytest.fixture
def sealer():
    return Sealer.from_text("test:" + "a5" * 32)


@pytest.fixture
async def store(file_url):
    store = open_store(file_url)
    yield store
    await store.close()


def amendment(partition="main", **fields):
    return Amendment(partition=partition, study_instance_uid=STUDY, kind=AMENDMENT_KIND_HIDE, **fields)


async def notes_in(store):
    return [info.key async for info in store.list(WAITING_PREFIX)]


async def test_revisions_rise_without_gaps_and_each_leaves_a_note(store, sealer):
    keys = [await write_amendment(store, amendment(), sealer) for _ in range(3)]
    assert [parse_amendment_key(key).revision for key in keys] == [1, 2, 3]
    assert sorted(parse_waiting_key(note).revision for note in await notes_in(store)) == [1, 2, 3]
    read = await read_amendment(store, keys[1], sealer)
    assert (read.revision, read.study_instance_uid) == (2, STUDY)


async def test_writers_at_once_get_numbers_of_their_own(store, sealer):
    keys = await asyncio.gather(
        *(write_amendment(store, amendment(principal=f"p{n}"), sealer) for n in range(8))
    )
    assert sorted(parse_amendment_key(key).revision for key in keys) == list(range(1, 9))
    principals = {(await read_amendment(store, key, sealer)).principal for key in keys}
    assert len(principals) == 8


class Losing:
    """A store that does what it is told and then says that it has failed, once an amendment is put."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def put(self, key, data, *, create=False):
        await self._inner.put(key, data, create=create)
        if create:
            raise Unavailable("the answer was lost")


async def test_one_whose_answer_was_lost_is_there_with_its_note(store, sealer):
    with pytest.raises(Unavailable):
        await write_amendment(Losing(store), amendment(), sealer)
    [note] = await notes_in(store)
    place = parse_waiting_key(note)
    assert await read_amendment(store, amendment_key(place.partition, place.scope, place.revision), sealer)


async def test_a_slow_writer_notes_again_what_a_sweep_may_have_taken_away(store, sealer):
    times = iter([0.0, 61.0])
    scope = amendment_scope(STUDY)

    class Swept(Losing):
        async def put(self, key, data, *, create=False):
            await self._inner.put(key, data, create=create)
            if create:
                await self._inner.delete(waiting_key("main", scope, 1))

    await write_amendment(Swept(store), amendment(), sealer, lease=120.0, clock=lambda: next(times))
    assert await notes_in(store) == [waiting_key("main", scope, 1)]


async def test_one_copied_to_another_place_is_not_believed(store, sealer):
    key = await write_amendment(store, amendment(), sealer)
    for forged in (
        amendment_key("main", amendment_scope(STUDY), 2),
        amendment_key("other", amendment_scope(STUDY), 1),
        amendment_key("main", amendment_scope("9.9"), 1),
    ):
        await store.put(forged, await store.get(key))
        with pytest.raises(BadSeal):
            await read_amendment(store, forged, sealer)


@pytest.mark.parametrize("stranger", [object_key("other", new_batch_id(), 1), "o/main", "../etc"])
async def test_one_that_reaches_beyond_its_partition_is_not_believed(store, sealer, stranger):
    key = await write_amendment(store, amendment(receptions=[{"object_key": stranger}]), sealer)
    with pytest.raises(BadSeal):
        await read_amendment(store, key, sealer)


@pytest.mark.parametrize(
    "key",
    ["a/main", "a/main/5c/5c/1", "a/main/00/" + "5c" * 20 + "/00000001", "w/main/5c/" + "5c" * 20 + "/0"],
)
def test_only_the_exact_form_is_a_key(key):
    with pytest.raises(BadKey):
        parse_amendment_key(key)
    with pytest.raises(BadKey):
        parse_waiting_key(key)
