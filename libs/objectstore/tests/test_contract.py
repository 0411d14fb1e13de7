"""What every object store does, asked of each of them."""

import asyncio
import mmap
import os
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from gantry_dicom.errors import Conflict, NotFound
from gantry_objectstore.administration import prepare_store, sweep_unfinished
from gantry_objectstore.errors import BadKey, OutOfRange
from gantry_objectstore.keys import journal_key, new_batch_id, object_key
from gantry_objectstore.store import MAX_SINGLE_PUT_BYTES, ObjectStore, open_store

MEBIBYTE = 1 << 20


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[ObjectStore]:
    opened = open_store(store_url)
    yield opened
    await opened.close()


@pytest.fixture
def key() -> str:
    return object_key("main", new_batch_id(), 1)


async def test_an_object_comes_back_as_it_was_put(store: ObjectStore, key: str) -> None:
    data = os.urandom(300_000)
    await store.put(key, data)
    assert await store.get(key) == data


@pytest.mark.parametrize("size", [0, 1, MAX_SINGLE_PUT_BYTES, MAX_SINGLE_PUT_BYTES + 1, 40 * MEBIBYTE + 7])
async def test_objects_of_any_size_come_back(store: ObjectStore, key: str, size: int) -> None:
    data = os.urandom(size)
    await store.put(key, data)
    assert await store.get(key) == data
    assert (await store.head(key)).size == size


async def test_several_buffers_lie_one_after_the_other(store: ObjectStore, key: str) -> None:
    await store.put(key, [b"meta", b"", bytearray(b"data "), memoryview(b"set")])
    assert await store.get(key) == b"metadata set"


async def test_several_buffers_larger_than_a_single_put_lie_one_after_the_other(
    store: ObjectStore, key: str
) -> None:
    body = os.urandom(MAX_SINGLE_PUT_BYTES)
    await store.put(key, [b"meta", body])
    assert await store.get(key) == b"meta" + body


async def test_a_mapped_file_is_put_like_any_buffer(store: ObjectStore, key: str) -> None:
    data = os.urandom(20 * MEBIBYTE)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            await store.put(key, mapped)
    assert await store.get(key) == data


@pytest.mark.parametrize("sizes", [[], [0], [10], [MEBIBYTE] * 3, [3 * MEBIBYTE] * 9, [20 * MEBIBYTE, 1]])
async def test_a_stream_is_stored_whole(store: ObjectStore, key: str, sizes: list[int]) -> None:
    pieces = [os.urandom(size) for size in sizes]

    async def source() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    assert await store.put_large(key, source()) == sum(sizes)
    assert await store.get(key) == b"".join(pieces)


@pytest.mark.parametrize("pieces", [1, 6])
async def test_a_stream_that_breaks_off_stores_nothing(store: ObjectStore, key: str, pieces: int) -> None:
    async def source() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield bytes(5 * MEBIBYTE)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.put_large(key, source())
    with pytest.raises(NotFound):
        await store.head(key)
    assert await sweep_unfinished(store, timedelta(0)) == 0


async def test_a_cancelled_upload_leaves_nothing_behind(store: ObjectStore, key: str) -> None:
    under_way = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield bytes(8 * MEBIBYTE)
        under_way.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(store.put_large(key, source()))
    await under_way.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    with pytest.raises(NotFound):
        await store.head(key)
    assert await sweep_unfinished(store, timedelta(0)) == 0


async def test_what_is_missing_is_not_found(store: ObjectStore, key: str) -> None:
    with pytest.raises(NotFound):
        await store.get(key)
    with pytest.raises(NotFound):
        await store.get_range(key, 0, 5)
    with pytest.raises(NotFound):
        await store.get_prefix(key, 5)
    with pytest.raises(NotFound):
        await store.get_ranges(key, [(0, 5)])
    with pytest.raises(NotFound):
        await store.head(key)
    with pytest.raises(NotFound):
        _ = [piece async for piece in store.stream(key)]


async def test_a_folder_is_no_object(store: ObjectStore, key: str) -> None:
    await store.put(key, b"x")
    folder = key.rsplit("/", 1)[0]
    for asked in (store.get(folder), store.head(folder), store.get_range(folder, 0, 1)):
        with pytest.raises(NotFound):
            await asked
    await store.delete(folder)
    assert await store.get(key) == b"x"


async def test_a_put_without_condition_replaces(store: ObjectStore, key: str) -> None:
    await store.put(key, b"first, and longer")
    await store.put(key, b"second")
    assert await store.get(key) == b"second"


async def test_creating_what_is_there_conflicts_and_changes_nothing(store: ObjectStore, key: str) -> None:
    await store.put(key, b"first", create=True)
    with pytest.raises(Conflict):
        await store.put(key, b"second", create=True)
    assert await store.get(key) == b"first"


async def test_of_many_who_create_one_object_one_succeeds(store: ObjectStore, key: str) -> None:
    results = await asyncio.gather(
        *(store.put(key, b"%d" % number, create=True) for number in range(12)), return_exceptions=True
    )
    winners = [number for number, result in enumerate(results) if result is None]
    assert len(winners) == 1
    assert all(isinstance(result, Conflict) for result in results if result is not None)
    assert await store.get(key) == b"%d" % winners[0]


@pytest.mark.parametrize("size", [100_000, 5 * MEBIBYTE])
async def test_ranges_are_exact(store: ObjectStore, key: str, size: int) -> None:
    data = os.urandom(size)
    await store.put(key, data)
    assert await store.get_range(key, 17, 4242) == data[17 : 17 + 4242]
    assert await store.get_range(key, size - 1, 1) == data[-1:]
    assert await store.get_range(key, 0, size) == data
    assert await store.get_range(key, 9, 0) == b""
    assert await store.get_ranges(key, [(90_000, 5), (0, 10), (7, 0)]) == [
        data[90_000:90_005],
        data[:10],
        b"",
    ]
    assert await store.get_ranges(key, []) == []


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (5, 6), (10, 1), (400, 3)])
async def test_a_range_beyond_the_end_is_refused_not_shortened(
    store: ObjectStore, key: str, offset: int, length: int
) -> None:
    await store.put(key, b"0123456789")
    with pytest.raises(OutOfRange):
        await store.get_range(key, offset, length)
    with pytest.raises(OutOfRange):
        await store.get_ranges(key, [(0, 1), (offset, length)])
    with pytest.raises(OutOfRange):
        _ = [piece async for piece in store.stream(key, offset, length)]


async def test_a_prefix_is_at_most_the_object(store: ObjectStore, key: str) -> None:
    await store.put(key, b"0123456789")
    assert await store.get_prefix(key, 4) == b"0123"
    assert await store.get_prefix(key, 4000) == b"0123456789"
    assert await store.get_prefix(key, 0) == b""
    await store.put(key, b"")
    assert await store.get_prefix(key, 4) == b""


@pytest.mark.parametrize(("offset", "length"), [(0, None), (5, None), (3, 9 * MEBIBYTE), (0, 0), (7, 1)])
async def test_a_stream_gives_the_bytes_in_small_pieces(
    store: ObjectStore, key: str, offset: int, length: int | None
) -> None:
    data = os.urandom(9 * MEBIBYTE + 5)
    await store.put(key, data)
    pieces = [piece async for piece in store.stream(key, offset, length, chunk=MEBIBYTE)]
    end = len(data) if length is None else offset + length
    assert b"".join(pieces) == data[offset:end]
    assert all(0 < len(piece) <= MEBIBYTE for piece in pieces)


async def test_an_empty_object_streams_nothing(store: ObjectStore, key: str) -> None:
    await store.put(key, b"")
    assert [piece async for piece in store.stream(key)] == []


async def test_a_stream_can_be_left_early(store: ObjectStore, key: str) -> None:
    await store.put(key, os.urandom(12 * MEBIBYTE))
    pieces = store.stream(key, chunk=MEBIBYTE)
    assert len(await anext(pieces)) == MEBIBYTE
    await pieces.aclose()
    assert len(await store.get_range(key, 0, 10)) == 10


async def test_listing_gives_everything_under_a_prefix_once(store: ObjectStore) -> None:
    keys = ["a/b/1", "a/b/10", "a/b/2", "a/b-c/1", "a/b.d", "a/bb/1", "j/00/x", "z"]
    for key in keys:
        await store.put(key, key.encode())
    assert sorted([info.key async for info in store.list("")]) == sorted(keys)
    assert sorted([info.key async for info in store.list("a/")]) == sorted(keys)[:6]
    assert {info.key: info.size async for info in store.list("a/b/")} == {"a/b/1": 5, "a/b/10": 6, "a/b/2": 5}
    assert [info.key async for info in store.list("nothing/here/")] == []


async def test_listing_goes_over_many_pages(store: ObjectStore) -> None:
    keys = [f"a/{number % 7}/{number:05d}" for number in range(1203)]
    for start in range(0, len(keys), 50):
        await asyncio.gather(*(store.put(key, b"x") for key in keys[start : start + 50]))
    assert sorted([info.key async for info in store.list("a/")]) == sorted(keys)


async def test_folders_are_the_next_segments(store: ObjectStore) -> None:
    for key in ["m/main/2026-01-01/x", "m/main/2026-01-02/x", "m/other/2026-01-01/x", "m/file"]:
        await store.put(key, b"x")
    assert await store.list_folders("m/") == ["main", "other"]
    assert await store.list_folders("m/main/") == ["2026-01-01", "2026-01-02"]
    assert await store.list_folders("") == ["m"]
    assert await store.list_folders("nothing/") == []


async def test_a_deleted_object_is_gone_and_deleting_again_is_fine(store: ObjectStore, key: str) -> None:
    await store.put(key, b"x")
    await store.delete(key)
    await store.delete(key)
    with pytest.raises(NotFound):
        await store.get(key)
    assert [info.key async for info in store.list("o/")] == []
    await store.put(key, b"again")
    assert await store.get(key) == b"again"


async def test_the_store_s_clock_and_its_times_of_writing_agree(store: ObjectStore) -> None:
    key = journal_key(new_batch_id())
    before = await store.now()
    await store.put(key, b"x")
    after = await store.now()
    margin = timedelta(seconds=2)  # HTTP dates are whole seconds
    assert before - margin <= (await store.head(key)).last_modified <= after + margin
    (listed,) = [info async for info in store.list("j/")]
    assert listed == await store.head(key)
    assert after.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "bad", ["../x", "a/../b", "/etc/passwd", "", "a//b", "a/", ".tmp/x", "a/.b", "a\0b", "ä"]
)
async def test_a_text_that_is_no_key_is_refused(store: ObjectStore, bad: str) -> None:
    with pytest.raises(BadKey):
        await store.put(bad, b"x")
    with pytest.raises(BadKey):
        await store.get(bad)
    with pytest.raises(BadKey):
        await store.get_range(bad, 0, 1)
    with pytest.raises(BadKey):
        await store.delete(bad)
    with pytest.raises(BadKey):
        await store.head(bad)


@pytest.mark.parametrize("bad", ["a", "../", "/", "a/b", "a/../"])
async def test_a_prefix_is_whole_segments(store: ObjectStore, bad: str) -> None:
    with pytest.raises(BadKey):
        _ = [info async for info in store.list(bad)]
    with pytest.raises(BadKey):
        await store.list_folders(bad)


async def test_preparing_again_changes_nothing(store: ObjectStore, key: str) -> None:
    await prepare_store(store)
    await store.put(key, b"x")
    await prepare_store(store)
    assert await store.get(key) == b"x"


async def test_many_puts_and_gets_at_once(store: ObjectStore) -> None:
    batch = new_batch_id()
    data = {object_key("main", batch, number): os.urandom(20_000) for number in range(1, 201)}
    await asyncio.gather(*(store.put(key, value) for key, value in data.items()))
    found = await asyncio.gather(*(store.get(key) for key in data))
    assert found == list(data.values())
