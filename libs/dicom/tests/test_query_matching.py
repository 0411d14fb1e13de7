"""The reference of attribute matching (PS3.4 C.2.2.2), by hand-made cases."""

from __future__ import annotations

import pytest
from gantry_dicom.matching import matches, matches_one, person_name_matches, wildcard_matches
from gantry_dicom.query import AnyOf, DateTimeRange, Empty, Exact, PersonName, Range, UidList, Wildcard
from gantry_dicom.query_keys import tag_of

NAMES = ["TEST^A", "TAST^A", "T_ST^A", "100%^A"]


def path(keyword):
    return (tag_of(keyword),)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("t*", {"TEST^A", "TAST^A", "T_ST^A"}),
        ("T?ST*", {"TEST^A", "TAST^A", "T_ST^A"}),
        ("T_ST*", {"T_ST^A"}),
        ("100%*", {"100%^A"}),
        ("*^a", set(NAMES)),
        ("TEST", set()),
        ("test^a", {"TEST^A"}),
        ("'", set()),
        ("TEST^A^*", {"TEST^A"}),
    ],
)
def test_a_name_pattern_ignores_case_and_takes_nothing_else_for_special(pattern, found):
    assert {name for name in NAMES if person_name_matches(pattern, name)} == found


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("Müller*", "Mu\N{COMBINING DIAERESIS}ller^Test"),
        ("Mu\N{COMBINING DIAERESIS}ller^test", "MÜLLER^Test"),
        ("muller^*", "Müller^Test"),
        ("山田^太郎", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("やまだ*", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "YAMADA^TAROU=山田^太郎=やまだ^たろう"),
        ("Doe^*", "Doe"),
        ("Doe^Jane^*", "Doe^Jane^Q"),
        ("Doe", "Doe^^^^"),
    ],
)
def test_a_name_is_found_in_any_component_group_whatever_its_accents(pattern, name):
    assert person_name_matches(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"), [("Doe", "Doe^Jane"), ("Doe^?", "Doe"), ("田", "Yamada=山田"), ("Y*n", "Yamada=Ono")]
)
def test_a_name_is_not_found_by_a_part_of_it(pattern, name):
    assert not person_name_matches(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("*THORAX", "CR THORAX", True),
        ("THORAX", "CR THORAX", False),
        ("cr*", "CR THORAX", False),
        ("CR?THORAX", "CR THORAX", True),
        ("C*X", "CR\nTHORAX", True),
        ("50%*", "500", False),
        ("a_b", "aXb", False),
        (r"a\*", r"a\b", True),
        ("[C]R*", "CR", False),
    ],
)
def test_wild_cards_are_asterisk_and_question_mark_only(pattern, value, expected):
    assert wildcard_matches(pattern, value) is expected


@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        (Exact(path("PatientID"), "a"), ("A",), False),
        (Exact(path("SeriesNumber"), "7"), ("007",), True),
        (Exact(path("StudyTime"), "1030"), ("103015.5",), True),
        (Exact(path("StudyTime"), "103015"), ("1030",), False),
        (Exact(path("StudyDate"), "20240101"), ("2024.01.01",), True),
        (Range(path("StudyDate"), "20240101", "20240131"), ("20240131",), True),
        (Range(path("StudyDate"), "20240101", None), ("20231231",), False),
        (Range(path("StudyDate"), None, "20240131"), ("not a date",), False),
        (Range(path("StudyTime"), None, "12"), ("125959",), True),
        (Range(path("StudyTime"), "1300", "1200"), ("1230",), False),
        (Range(path("AcquisitionDateTime"), "2024", "202402"), ("20240229235959",), True),
        (AnyOf(path("ModalitiesInStudy"), ("CT", "PT")), ("MR", "PT"), True),
        (AnyOf(path("ModalitiesInStudy"), ("CT", "PT")), ("MR",), False),
        (UidList(path("StudyInstanceUID"), ("1.2", "1.3")), ("1.3",), True),
        (Wildcard(path("ModalitiesInStudy"), "?T"), ("MR", "PT"), True),
        (PersonName(path("PatientName"), "*"), (), False),
        (Empty(path("AccessionNumber")), (), True),
        (Empty(path("AccessionNumber")), ("",), True),
        (Empty(path("AccessionNumber")), ("A1",), False),
        (Empty(path("StudyDate")), ("20240230",), True),
        (Empty(path("StudyDate")), ("20240229",), False),
        (Exact(path("SeriesNumber"), "7"), ("seven",), False),
    ],
)
def test_one_condition(condition, values, expected):
    assert matches_one(condition, {condition.path: values}) is expected


@pytest.mark.parametrize(
    ("day", "hour", "expected"),
    [
        ("20240101", "0959", False),
        ("20240101", "1000", True),
        ("20240102", "0300", True),
        ("20240102", None, True),
        ("20240103", "1200", True),
        ("20240103", "120000.000001", False),
        ("20240103", None, False),
        (None, "1100", False),
    ],
)
def test_a_range_of_instants_is_not_a_range_of_hours(day, hour, expected):
    condition = DateTimeRange(
        path("StudyDate"), path("StudyTime"), "20240101100000.000000", "20240103120000.000000"
    )
    attributes = {
        path("StudyDate"): (day,) if day else (),
        path("StudyTime"): (hour,) if hour else (),
    }
    assert matches([condition], attributes) is expected


def test_every_condition_must_hold():
    attributes = {path("PatientID"): ("P1",), path("StudyDate"): ("20240101",)}
    first = Exact(path("PatientID"), "P1")
    assert matches([], attributes)
    assert matches([first, Exact(path("StudyDate"), "20240101")], attributes)
    assert not matches([first, Exact(path("StudyDate"), "20240102")], attributes)
