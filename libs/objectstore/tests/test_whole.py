"""Whole objects as buffers."""

from __future__ import annotations

import mmap

import pytest
from gantry_dicom.errors import CannotProcess, NotFound
from gantry_objectstore.keys import new_batch_id, object_key
from gantry_objectstore.store import open_store
from gantry_objectstore.whole import whole_object


@pytest.mark.parametrize(("in_memory", "kind"), [(1 << 20, bytes), (10, mmap.mmap)])
async def test_small_objects_lie_in_memory_and_large_ones_in_a_mapped_file(store_url, in_memory, kind):
    store = open_store(store_url)
    key = object_key("main", new_batch_id(), 1)
    data = bytes(range(256)) * 300
    await store.put(key, data)
    async with whole_object(store, key, len(data), in_memory=in_memory) as buffer:
        assert isinstance(buffer, kind)
        assert bytes(buffer) == data
    await store.close()


async def test_an_object_of_another_size_or_no_object_is_an_error(file_url):
    store = open_store(file_url)
    key = object_key("main", new_batch_id(), 1)
    await store.put(key, b"1234")
    for in_memory in (0, 100):
        with pytest.raises(CannotProcess):
            async with whole_object(store, key, 5, in_memory=in_memory):
                pass
    with pytest.raises(NotFound):
        async with whole_object(store, object_key("main", new_batch_id(), 1), 4):
            pass
    await store.close()


async def test_an_error_while_views_are_held_stays_that_error(file_url):
    store = open_store(file_url)
    key = object_key("main", new_batch_id(), 1)
    await store.put(key, b"1234")

    def fail(buffer):
        view = memoryview(buffer)[1:]
        raise CannotProcess(f"{len(view)} bytes are no DICOM")

    with pytest.raises(CannotProcess):
        async with whole_object(store, key, 4, in_memory=0) as buffer:
            fail(buffer)
    await store.close()
