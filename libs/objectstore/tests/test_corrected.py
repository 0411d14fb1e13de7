"""Corrected objects read as one: any range of them is the same range of header and rest together."""

from __future__ import annotations

import pytest
from gantry_dicom.errors import NotFound
from gantry_objectstore.corrected import CorrectedObjects
from gantry_objectstore.errors import BadKey, OutOfRange
from gantry_objectstore.keys import header_key, new_batch_id, object_key, parse_header_key, patient_scope
from gantry_objectstore.store import open_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HEADER = bytes(range(100, 150))
RECEIVED = bytes(range(90))
REST = 30
WHOLE = HEADER + RECEIVED[REST:]


@pytest.fixture
async def store(tmp_path):
    opened = open_store(f"file://{tmp_path}")
    yield opened
    await opened.close()


@pytest.fixture
async def corrected(store):
    key = object_key("main", new_batch_id(), 1)
    await store.put(key, RECEIVED)
    made = header_key(key, HEADER, REST)
    await store.put(made, HEADER)
    return CorrectedObjects(store), made, key


async def test_the_whole_its_size_and_its_beginning(corrected):
    objects, key, received = corrected
    assert await objects.get(key) == WHOLE
    assert (await objects.head(key)).size == len(WHOLE)
    for length in (10, 50, 70, 500):
        assert await objects.get_prefix(key, length) == WHOLE[:length]
    assert await objects.get(received) == RECEIVED
    assert await objects.get_range(received, 5, 7) == RECEIVED[5:12]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.data())
async def test_every_range_and_stream_is_that_of_the_two_together(corrected, data):
    objects, key, _ = corrected
    ranges = []
    for _ in range(data.draw(st.integers(1, 4))):
        offset = data.draw(st.integers(0, len(WHOLE) - 1))
        ranges.append((offset, data.draw(st.integers(1, len(WHOLE) - offset))))
    assert await objects.get_ranges(key, ranges) == [WHOLE[first : first + count] for first, count in ranges]
    first, count = ranges[0]
    pieces = [piece async for piece in objects.stream(key, first, count, 7)]
    assert b"".join(pieces) == WHOLE[first : first + count]
    assert b"".join([piece async for piece in objects.stream(key, first)]) == WHOLE[first:]


async def test_an_object_that_is_all_header_ends_with_it(store):
    key = object_key("main", new_batch_id(), 2)
    await store.put(key, RECEIVED)
    made = header_key(key, HEADER, len(RECEIVED))
    await store.put(made, HEADER)
    objects = CorrectedObjects(store)
    assert await objects.get(made) == HEADER
    assert (await objects.head(made)).size == len(HEADER)
    with pytest.raises(OutOfRange):
        await objects.get_range(made, 10, len(HEADER))


async def test_either_part_missing_is_not_found(corrected):
    objects, key, received = corrected
    await objects.delete(received)
    with pytest.raises(NotFound):
        await objects.get(key)
    with pytest.raises(NotFound):
        await objects.head(key)


def test_only_exact_keys_of_corrected_headers_are_ones():
    key = header_key(object_key("main", new_batch_id(), 3), HEADER, REST)
    place = parse_header_key(key)
    assert (place.length, place.rest) == (len(HEADER), REST)
    for wrong in (f"{key}0.1", key.replace("h/", "o/"), key[:-3], f"x{key}", "h/main/ab/x/0001/y.1.1"):
        with pytest.raises(BadKey):
            parse_header_key(wrong)


def test_a_patient_is_told_from_another_by_identifier_and_issuer():
    scopes = {patient_scope("100", ""), patient_scope("100", "H1"), patient_scope("10", "0H1")}
    assert len(scopes) == 3
