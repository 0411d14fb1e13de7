"""Names in the bucket."""

import re
from datetime import UTC, datetime

import pytest
from gantry_objectstore import keys
from gantry_objectstore.errors import BadKey
from hypothesis import given
from hypothesis import strategies as st

partitions = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
times = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis wants it so
    max_value=datetime(9999, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
)
batches = times.map(lambda time: keys.BatchIds(time.timestamp).new())
ordinals = st.integers(1, keys.MAX_ORDINAL)


@given(partition=partitions, batch=batches, ordinal=ordinals)
def test_an_object_s_key_is_parsed_back(partition: str, batch: str, ordinal: int) -> None:
    key = keys.object_key(partition, batch, ordinal)
    assert keys.parse_object_key(key) == keys.ObjectKey(partition, batch, ordinal)
    assert keys.check_key(key) == key
    assert key.startswith(keys.batch_folder(partition, batch))
    assert re.fullmatch(r"o/[a-z0-9-]+/[0-9a-f]{2}/[0-9A-Z]{26}/[0-9]{4}", key)


@given(partition=partitions, batch=batches)
def test_journal_and_manifest_keys_are_parsed_back(partition: str, batch: str) -> None:
    assert keys.parse_journal_key(keys.journal_key(batch)) == batch
    key = keys.manifest_key(partition, batch)
    day = keys.batch_day(batch)
    assert keys.parse_manifest_key(key) == keys.ManifestKey(partition, day, batch)
    assert key.startswith(keys.manifest_day_folder(partition, day))
    assert keys.check_key(key) == key


@given(
    partition=partitions, batch=batches, ordinal=ordinals, place=st.integers(0, 100), other=st.characters()
)
def test_a_changed_key_is_another_key_or_none(
    partition: str, batch: str, ordinal: int, place: int, other: str
) -> None:
    key = keys.object_key(partition, batch, ordinal)
    changed = key[: place % len(key)] + other + key[place % len(key) + 1 :]
    try:
        parsed = keys.parse_object_key(changed)
    except BadKey:
        return
    assert keys.object_key(parsed.partition, parsed.batch, parsed.ordinal) == changed


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for parse in (keys.parse_object_key, keys.parse_journal_key, keys.parse_manifest_key, keys.check_key):
        with pytest.raises(BadKey):
            parse(f"{text}/..")
        try:
            parse(text)
        except BadKey:
            continue
        assert keys.check_key(text) == text


@pytest.mark.parametrize(
    "key",
    [
        "o/main/00/01ARZ3NDEKTSV4RRFFQ69G5FAV/0001",  # not its hash
        "o/main/{hh}/01ARZ3NDEKTSV4RRFFQ69G5FAV/1",
        "o/main/{hh}/01ARZ3NDEKTSV4RRFFQ69G5FAV/00001",
        "o/main/{hh}/01ARZ3NDEKTSV4RRFFQ69G5FAV/0000",
        "o/main/{hh}/01ARZ3NDEKTSV4RRFFQ69G5FAV/٠٠٠١",
        "o/main/{hh}/01arz3ndektsv4rrffq69g5fav/0001",
        "o/Main/{hh}/01ARZ3NDEKTSV4RRFFQ69G5FAV/0001",
        "o/../{hh}/01ARZ3NDEKTSV4RRFFQ69G5FAV/0001",
        "o/main/{hh}/01ARZ3NDEKTSV4RRFFQ69G5FAV/0001/",
        "o/main/{hh}/01ARZ3NDEKTSV4RRFFQ69G5FAV/0001\n",
        "x/main/{hh}/01ARZ3NDEKTSV4RRFFQ69G5FAV/0001",
    ],
)
def test_only_the_exact_form_is_an_object_s_key(key: str) -> None:
    spread = keys.journal_key("01ARZ3NDEKTSV4RRFFQ69G5FAV").split("/")[1]
    assert keys.parse_object_key(f"o/main/{spread}/01ARZ3NDEKTSV4RRFFQ69G5FAV/0001").ordinal == 1
    with pytest.raises(BadKey):
        keys.parse_object_key(key.replace("{hh}", spread))


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a.b", "a/b", "ä", "a" * 64, "a\n"])
def test_names_that_are_no_partition(name: str) -> None:
    assert not keys.is_partition(name)
    with pytest.raises(BadKey):
        keys.manifest_day_folder(name, "2026-01-01")


@pytest.mark.parametrize("name", ["main", "a", "0", "site-b-2", "a" * 63])
def test_names_that_are_a_partition(name: str) -> None:
    assert keys.check_partition(name) == name


@given(st.lists(st.floats(0, 200_000_000_000), min_size=2, max_size=40))
def test_batch_ids_of_a_process_rise_whatever_the_wall_clock_does(clock: list[float]) -> None:
    readings = iter(clock)
    ids = keys.BatchIds(lambda: next(readings))
    made = [ids.new() for _ in clock]
    assert made == sorted(set(made))
    assert all(keys.is_batch(batch) for batch in made)


@given(times)
def test_a_batch_s_day_is_the_day_it_was_opened(time: datetime) -> None:
    batch = keys.BatchIds(time.timestamp).new()
    assert abs((keys.batch_time(batch) - time).total_seconds()) < 0.002
    assert keys.batch_day(batch) == keys.batch_time(batch).strftime("%Y-%m-%d").zfill(10)


def test_a_ulid_beyond_the_calendar_is_no_batch() -> None:
    assert not keys.is_batch("7ZZZZZZZZZZZZZZZZZZZZZZZZZ")
    with pytest.raises(BadKey):
        keys.batch_day("7ZZZZZZZZZZZZZZZZZZZZZZZZZ")


def test_new_batch_ids_differ() -> None:
    made = {keys.new_batch_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(keys.is_batch(batch) for batch in made)


def test_batches_of_one_moment_spread_over_the_key_ranges() -> None:
    ids = keys.BatchIds(lambda: 1_700_000_000.0)
    assert len({keys.journal_key(ids.new())[:4] for _ in range(1000)}) > 200
