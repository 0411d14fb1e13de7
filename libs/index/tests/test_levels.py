"""Values on their way into columns and segments, without a database."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import pytest
from gantry_dicom.facts import PatientFacts, SeriesFacts, StudyFacts
from gantry_index.levels import (
    LevelReader,
    Levels,
    identifier,
    integer,
    pack,
    series_level,
    storable,
    study_level,
    unpack,
)
from gantry_index.segments import build_segment, inflate, read_levels
from gantry_testing.index_records import index_record
from hypothesis import given
from hypothesis import strategies as st

texts = st.none() | st.text(st.characters(), max_size=40)
dates = st.none() | st.dates()
times = st.none() | st.times()
blobs = st.binary(max_size=60)
patients = st.builds(PatientFacts, texts, texts, texts, dates, texts)
studies = st.builds(
    StudyFacts, st.just("1.2"), dates, times, *[texts] * 5, timezone_offset=texts, document=blobs, extra=blobs
)
requests = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
series = st.builds(
    SeriesFacts,
    *(st.just("1.2.1"), texts, st.none() | st.integers(), texts, texts, dates, times, requests),
    document=blobs,
    extra=blobs,
)
levels = st.builds(lambda p, s, e: Levels(study_level(p, s), series_level(e)), patients, studies, series)


@given(levels)
def test_levels_come_back_as_they_were_packed(given_levels):
    assert unpack(pack(given_levels)) == given_levels


@given(st.text(st.characters()))
def test_whatever_is_stored_is_utf_8_without_nul(text):
    kept = storable(text)
    assert kept is None or "\0" not in kept
    assert (kept or "").encode().decode() == (kept or "")
    assert kept != ""


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=300))
def test_ordinary_text_is_stored_as_it_is(text):
    assert storable(text) == text


@given(st.text(min_size=200, max_size=700))
def test_an_identifier_fits_an_index_entry(text):
    kept = identifier(text)
    assert kept is None or len(kept) <= 256
    assert kept is None or len(kept.encode()) <= 1024


def test_long_identifiers_with_one_beginning_differ():
    assert identifier("x" * 300 + "a") != identifier("x" * 300 + "b")
    assert identifier("x" * 256) == "x" * 256


@pytest.mark.parametrize(
    ("value", "kept"),
    [(None, None), (0, 0), (2**31 - 1, 2**31 - 1), (2**31, None), (-(2**31), -(2**31)), (-(2**31) - 1, None)],
)
def test_integers_are_kept_within_the_column(value, kept):
    assert integer(value) == kept


def test_times_lose_their_zone_because_the_column_has_none():
    facts = index_record().facts
    aware = datetime(2026, 1, 1, 10, tzinfo=UTC).timetz()
    study = StudyFacts("1.2", date(2026, 1, 1), aware, *[None] * 5, None, b"", b"")
    assert study_level(facts.patient, study).study_time == time(10)


@given(st.lists(st.tuples(st.binary(max_size=200), st.binary(max_size=100), levels), min_size=1, max_size=6))
def test_everything_is_found_again_in_a_segment(entries):
    instance = index_record().facts.instance
    facts = [
        (type(instance)(*_fields(instance)[:-2], document=document, metadata=metadata), each)
        for metadata, document, each in entries
    ]
    segment = build_segment(facts)
    metadata, documents = inflate(segment.metadata), inflate(segment.documents)
    for (given_instance, given_levels), at in zip(facts, segment.pointers, strict=True):
        assert metadata[at.metadata_offset :][: at.metadata_length] == given_instance.metadata
        assert documents[at.document_offset :][: at.document_length] == given_instance.document
        assert read_levels(segment.metadata, segment.levels, at.level_offset, at.level_length) == given_levels


def test_levels_cost_little_beside_the_metadata_that_repeats_them():
    record = index_record(padding=3000)
    reader = LevelReader()
    segment = build_segment([(record.facts.instance, reader.read(record.facts)) for _ in range(50)])
    assert len({at.level_offset for at in segment.pointers}) == 1
    assert len(segment.levels) < 1000


def _fields(instance):
    return [getattr(instance, name) for name in instance.__slots__]
