"""What DA, TM and DT texts stand for."""

from __future__ import annotations

from datetime import date, time

import pytest
from gantry_dicom.errors import BadRequest
from gantry_dicom.query_values import (
    date_of,
    date_time_bounds,
    split_date_time_range,
    split_range,
    time_bounds,
)
from hypothesis import given
from hypothesis import strategies as st


@given(st.dates())
def test_a_date_comes_back(day):
    assert date_of(f"{day.year:04}{day.month:02}{day.day:02}") == day


@given(st.times())
def test_a_complete_time_is_one_instant(at):
    text = f"{at.hour:02}{at.minute:02}{at.second:02}.{at.microsecond:06}"
    assert time_bounds(text) == (at, at)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("10", time(10), time(10, 59, 59, 999999)),
        ("1030", time(10, 30), time(10, 30, 59, 999999)),
        ("103015", time(10, 30, 15), time(10, 30, 15, 999999)),
        ("103015.25", time(10, 30, 15, 250000), time(10, 30, 15, 259999)),
        ("10:30", time(10, 30), time(10, 30, 59, 999999)),
        ("10:30:15.5", time(10, 30, 15, 500000), time(10, 30, 15, 599999)),
        ("235960", time(23, 59, 59, 999999), time(23, 59, 59, 999999)),
    ],
)
def test_a_time_of_reduced_precision_is_an_interval(text, first, last):
    assert time_bounds(text) == (first, last)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", "2024-01-01T00:00:00", "2024-12-31T23:59:59.999999"),
        ("202402", "2024-02-01T00:00:00", "2024-02-29T23:59:59.999999"),
        ("20240203", "2024-02-03T00:00:00", "2024-02-03T23:59:59.999999"),
        ("2024020310+0100", "2024-02-03T10:00:00", "2024-02-03T10:59:59.999999"),
    ],
)
def test_a_date_time_of_reduced_precision_is_an_interval(text, first, last):
    assert [instant.isoformat() for instant in date_time_bounds(text)] == [first, last]


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("2024", None),
        ("2024-0500", None),
        ("2024-202502", ("2024", "202502")),
        ("2024-0500-2025-0500", ("2024-0500", "2025-0500")),
        ("20240101-", ("20240101", None)),
        ("-20240101", (None, "20240101")),
        ("20240101+0100-", ("20240101+0100", None)),
    ],
)
def test_a_hyphen_of_a_date_time_is_an_offset_or_a_range(text, bounds):
    assert split_date_time_range(text) == bounds


@pytest.mark.parametrize("text", ["-", "--", "1-2-3", " - "])
def test_a_range_needs_a_bound(text):
    with pytest.raises(BadRequest):
        split_range(text)


@pytest.mark.parametrize("text", ["00000101", "20240230", "2024", "202401011", "٢٠٢٤٠١٠١"])
def test_a_date_outside_the_calendar_is_refused(text):
    with pytest.raises(BadRequest):
        date_of(text)


def test_a_legacy_date_is_understood():
    assert date_of("2024.02.29") == date(2024, 2, 29)


@given(st.text(max_size=12))
def test_any_text_is_an_instant_or_refused(text):
    for read in (date_of, time_bounds, date_time_bounds, split_range, split_date_time_range):
        try:
            read(text)
        except BadRequest:
            continue
