"""QIDO-RS parameters to a query: statements Q06-Q35 of the checklist that need no server."""

from __future__ import annotations

import contextlib

import pytest
from gantry_dicom.attributes import LEVELS
from gantry_dicom.errors import BadRequest
from gantry_dicom.query import (
    AnyOf,
    DateTimeRange,
    Empty,
    Exact,
    Include,
    Level,
    PersonName,
    Range,
    UidList,
    Wildcard,
)
from gantry_dicom.query_keys import MATCH_KEYS, tag_of
from gantry_dicom.query_params import attribute_path, parse_query
from hypothesis import given
from hypothesis import strategies as st


def parse(*params, level=Level.STUDY, **options):
    return parse_query(level, params, partition="main", **options)


def conditions(*params, level=Level.STUDY):
    return parse(*params, level=level).query.conditions


def path(dotted):
    return tuple(tag_of(keyword) for keyword in dotted.split("."))


@pytest.mark.parametrize(
    "name",
    ["PatientID", "00100020", "(0010,0020)"],
)
def test_an_attribute_is_named_by_keyword_or_tag(name):
    assert conditions((name, "X1")) == (Exact(path("PatientID"), "X1"),)


@pytest.mark.parametrize("name", ["0008103e", "0008103E", "(0008,103e)", "SeriesDescription"])
def test_hex_digits_may_be_of_either_case(name):
    assert attribute_path(name) == (0x0008103E,)


@pytest.mark.parametrize(
    "name",
    [
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "00400275.00400009",
        "RequestAttributesSequence.(0040,0009)",
    ],
)
def test_a_dotted_path_reaches_into_a_sequence(name):
    found = conditions((name, "SPS1"), level=Level.SERIES)
    assert found == (Exact((0x00400275, 0x00400009), "SPS1"),)


@pytest.mark.parametrize(
    "name", ["PatientNam", "0010002", "001000200", "0010002G", "00080003", "(0010,0020", "PatientID.", "1"]
)
def test_what_looks_like_an_attribute_and_is_none_is_refused_by_name(name):
    with pytest.raises(BadRequest, match="is not an attribute"):
        parse((name, "X"))


@pytest.mark.parametrize("name", ["foo", "_", "", "access_token", "accept", "x.y", "patientid"])
def test_unknown_parameters_are_ignored(name):
    parsed = parse((name, "X"))
    assert parsed == parse()
    assert parsed.warnings == ()


def test_an_attribute_that_cannot_be_matched_is_ignored_with_a_warning():
    parsed = parse(("SeriesDescription", "x"), ("ProcedureCodeSequence", "y"), ("00091001", "z"))
    assert parsed.query.conditions == ()
    assert [warning.split()[0] for warning in parsed.warnings] == [
        "SeriesDescription",
        "ProcedureCodeSequence",
        "00091001",
    ]


@pytest.mark.parametrize(
    ("keyword", "level"),
    [
        ("RetrieveURL", Level.STUDY),
        ("InstanceAvailability", Level.INSTANCE),
        ("NumberOfSeriesRelatedInstances", Level.STUDY),
        ("PixelData", Level.INSTANCE),
        ("EncapsulatedDocument", Level.INSTANCE),
        ("Rows", Level.SERIES),
        ("PatientComments", Level.PATIENT),
    ],
)
def test_what_no_document_of_the_level_can_match_is_ignored_with_a_warning(keyword, level):
    parsed = parse((keyword, "1"), level=level)
    assert parsed.query.conditions == ()
    assert len(parsed.warnings) == 1
    assert keyword in parsed.warnings[0]


@pytest.mark.parametrize(
    ("dotted", "value", "level", "expected"),
    [
        ("PatientComments", "x*", Level.STUDY, Wildcard),
        ("ProcedureCodeSequence.CodeValue", "x", Level.STUDY, Exact),
        ("PatientComments", "x", Level.INSTANCE, Exact),
        ("Manufacturer", "A?", Level.SERIES, Wildcard),
        ("SliceThickness", "2.50", Level.INSTANCE, Exact),
        ("OperatorsName", "Doe*", Level.SERIES, PersonName),
        ("AcquisitionDate", "20240101-", Level.INSTANCE, Range),
    ],
)
def test_any_attribute_of_the_level_or_one_above_can_be_matched(dotted, value, level, expected):
    parsed = parse((dotted, value), level=level)
    assert parsed.warnings == ()
    (found,) = parsed.query.conditions
    assert isinstance(found, expected)
    assert found.path == path(dotted)


@pytest.mark.parametrize("value", ["thick", "NaN", "Infinity", "1e"])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(BadRequest, match="SliceThickness"):
        conditions(("SliceThickness", value), level=Level.INSTANCE)


def test_a_private_attribute_is_matched_with_its_creator_at_the_instance_level():
    params = [("00091001", "x"), ("00090010", "ACME")]
    assert conditions(*params, level=Level.INSTANCE) == (
        Exact((0x00091001,), "x"),
        Exact((0x00090010,), "ACME"),
    )
    assert len(parse(*params, level=Level.SERIES).warnings) == 2
    alone = parse(("00091001", "x"), level=Level.INSTANCE)
    assert alone.query.conditions == ()
    assert "private creator" in alone.warnings[0]


def test_an_attribute_may_be_asked_for_without_being_matched():
    parsed = parse(("PatientComments", ""))
    assert parsed.warnings == ()
    assert parsed.query.include == Include(tags=frozenset(path("PatientComments")))


def test_a_page_token_is_passed_on():
    assert parse(("pagetoken", "abc")).query.after == "abc"
    assert parse(("pagetoken", "")).query.after is None


@pytest.mark.parametrize("level", [Level.STUDY, Level.SERIES, Level.INSTANCE])
def test_every_key_of_the_standard_can_be_matched(level):
    assert set(LEVELS[level].matching) <= set(MATCH_KEYS[level])


def test_keys_of_the_levels_above_can_be_matched():
    found = conditions(("PatientID", "P"), ("Modality", "CT"), ("InstanceNumber", "7"), level=Level.INSTANCE)
    assert [condition.path for condition in found] == [
        path("PatientID"),
        path("Modality"),
        path("InstanceNumber"),
    ]


@pytest.mark.parametrize("value", ["", "*", "**", "  ", "* "])
@pytest.mark.parametrize("keyword", ["PatientName", "StudyDate", "StudyInstanceUID", "AccessionNumber"])
def test_nothing_and_asterisks_match_everything(keyword, value):
    assert conditions((keyword, value)) == ()


def test_a_key_that_matches_everything_is_returned():
    assert parse(("StudyDescription", "")).query.include.tags == frozenset(path("StudyDescription"))


@pytest.mark.parametrize(
    "params",
    [
        [("StudyInstanceUID", "1.2,1.3,1.2")],
        [("StudyInstanceUID", "1.2\\1.3")],
        [("StudyInstanceUID", "1.2"), ("0020000D", "1.3")],
        [("StudyInstanceUID", " 1.2 , 1.3 ,")],
    ],
)
def test_a_uid_list_comes_with_commas_backslashes_or_repeated(params):
    assert conditions(*params) == (UidList(path("StudyInstanceUID"), ("1.2", "1.3")),)


@pytest.mark.parametrize("value", ["1.2.*", "1.2?", "abc", "1" * 65, "1.2;drop"])
def test_what_is_no_uid_is_refused(value):
    with pytest.raises(BadRequest, match="StudyInstanceUID"):
        conditions(("StudyInstanceUID", value))


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("AccessionNumber", "A?1*", Wildcard),
        ("StudyDescription", "*THORAX", Wildcard),
        ("PatientID", "P1", Exact),
        ("PatientName", "Doe^J*", PersonName),
        ("ReferringPhysicianName", "Doe", PersonName),
        ("ModalitiesInStudy", "C?", Wildcard),
    ],
)
def test_the_kind_of_matching_follows_from_vr_and_value(keyword, value, expected):
    (found,) = conditions((keyword, value))
    assert isinstance(found, expected)


def test_wild_cards_mean_nothing_in_numbers():
    with pytest.raises(BadRequest, match="NumberOfStudyRelatedSeries"):
        conditions(("NumberOfStudyRelatedSeries", "1*"))


@pytest.mark.parametrize(
    ("value", "number"), [("7", "7"), ("007", "7"), ("+7", "7"), ("-1", "-1"), (" 7 ", "7")]
)
def test_integers_compare_as_numbers(value, number):
    assert conditions(("SeriesNumber", value), level=Level.SERIES) == (Exact(path("SeriesNumber"), number),)


@pytest.mark.parametrize("value", ["x", "1.5", "99999999999", "٣"])
def test_what_is_no_integer_is_refused(value):
    with pytest.raises(BadRequest, match="SeriesNumber"):
        conditions(("SeriesNumber", value), level=Level.SERIES)


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("20240101-20240131", "20240101", "20240131"),
        ("20240101-", "20240101", None),
        ("-20240131", None, "20240131"),
        ("2024.01.01-2024.01.31", "2024.01.01", "2024.01.31"),
    ],
)
def test_date_ranges_are_open_or_closed(value, first, last):
    assert conditions(("StudyDate", value)) == (Range(path("StudyDate"), first, last),)


@pytest.mark.parametrize(
    "value", ["-", "20241301", "2024-01-01", "yesterday", "20240101-2024", "20240101-20240102-", "20230229"]
)
def test_a_date_that_is_none_is_refused(value):
    with pytest.raises(BadRequest, match="StudyDate"):
        conditions(("StudyDate", value))


@pytest.mark.parametrize("value", ["25", "10:5", "1060", "106061", "10-25", "1:00"])
def test_a_time_that_is_none_is_refused(value):
    with pytest.raises(BadRequest, match="StudyTime"):
        conditions(("StudyTime", value))


def test_ranges_of_date_and_time_become_one_range_of_instants():
    assert conditions(("StudyTime", "1000-12"), ("StudyDate", "20240101-20240103")) == (
        DateTimeRange(path("StudyDate"), path("StudyTime"), "20240101100000.000000", "20240103125959.999999"),
    )


def test_open_ranges_of_date_and_time_become_one_open_range():
    assert conditions(("StudyDate", "20240101-"), ("StudyTime", "1000-")) == (
        DateTimeRange(path("StudyDate"), path("StudyTime"), "20240101100000.000000", None),
    )


@pytest.mark.parametrize(
    ("date", "time"), [("20240101", "10-12"), ("20240101-", "10-12"), ("20240101-20240102", "1000")]
)
def test_date_and_time_that_make_no_instants_stay_apart(date, time):
    assert len(conditions(("StudyDate", date), ("StudyTime", time))) == 2


@pytest.mark.parametrize("value", ["CT,MR", "CT\\MR", "CT, MR,"])
def test_a_list_of_modalities_matches_any_of_them(value):
    assert conditions(("ModalitiesInStudy", value)) == (AnyOf(path("ModalitiesInStudy"), ("CT", "MR")),)


def test_multiple_value_matching_asks_for_every_value():
    assert conditions(("ModalitiesInStudy", "CT\\PT"), ("multiplevaluematching", "true")) == (
        Exact(path("ModalitiesInStudy"), "CT"),
        Exact(path("ModalitiesInStudy"), "PT"),
    )


def test_a_list_takes_no_wild_cards():
    with pytest.raises(BadRequest, match="ModalitiesInStudy"):
        conditions(("ModalitiesInStudy", "C*,MR"))


def test_modality_at_the_study_level_asks_for_a_series_of_it():
    assert conditions(("Modality", "CT")) == (Exact(path("ModalitiesInStudy"), "CT"),)


def test_a_comma_belongs_to_a_text():
    assert conditions(("PatientID", "A,B")) == (Exact(path("PatientID"), "A,B"),)


def test_one_key_twice_with_different_values_is_refused():
    with pytest.raises(BadRequest, match="PatientID is given twice"):
        conditions(("PatientID", "A"), ("00100020", "B"))
    assert len(conditions(("PatientID", "A"), ("00100020", "A"))) == 1


def test_empty_value_matching_finds_absent_values_only_when_asked_for():
    assert conditions(("AccessionNumber", '""'), ("emptyvaluematching", "true")) == (
        Empty(path("AccessionNumber")),
    )
    assert conditions(("AccessionNumber", '""')) == (Exact(path("AccessionNumber"), '""'),)


def test_fuzzy_matching_is_for_names():
    parsed = parse(("PatientName", "Doe"), ("PatientID", "P"), ("fuzzymatching", "true"))
    assert parsed.warnings == ()
    assert parsed.query.conditions == (
        PersonName(path("PatientName"), "Doe", fuzzy=True),
        Exact(path("PatientID"), "P"),
    )
    assert conditions(("PatientName", "Doe"), ("fuzzymatching", "false")) == (
        PersonName(path("PatientName"), "Doe"),
    )


@pytest.mark.parametrize("name", ["fuzzymatching", "emptyvaluematching", "multiplevaluematching"])
@pytest.mark.parametrize("value", ["yes", "TRUE", "1", ""])
def test_a_flag_is_true_or_false(name, value):
    with pytest.raises(BadRequest, match=name):
        parse((name, value))


@pytest.mark.parametrize(
    ("params", "tags"),
    [
        ([("includefield", "StudyDescription,00081032")], {0x00081030, 0x00081032}),
        ([("includefield", "StudyDescription"), ("includefield", "00081032")], {0x00081030, 0x00081032}),
        ([("includefield", "(0008,1030),(0008,1032)")], {0x00081030, 0x00081032}),
        ([("includefield", "ProcedureCodeSequence.CodeValue")], {0x00081032}),
        ([("includefield", " StudyDescription , ")], {0x00081030}),
        ([("includefield", "StudyDate,ModalitiesInStudy")], set()),
        ([("includefield", "00091001")], {0x00091001}),
        ([("includefield", "")], set()),
    ],
)
def test_includefield_takes_lists_and_may_repeat(params, tags):
    assert parse(*params).query.include == Include(tags=frozenset(tags))


def test_all_may_stand_beside_other_fields():
    assert parse(("includefield", "all,StudyDescription")).query.include.all


def test_an_included_field_that_is_no_attribute_is_refused():
    with pytest.raises(BadRequest, match="Nonsense"):
        parse(("includefield", "StudyDate,Nonsense"))


@pytest.mark.parametrize("name", ["limit", "offset"])
@pytest.mark.parametrize("value", ["-1", "abc", "1.5", "1e3", "٣", " 5", "+5"])
def test_limit_and_offset_are_numbers_from_zero(name, value):
    with pytest.raises(BadRequest, match=name):
        parse((name, value))


def test_a_limit_has_a_default_and_a_ceiling_and_may_be_zero():
    assert parse().query.limit == 100
    assert parse(("limit", "0")).query.limit == 0
    assert parse(("limit", "5000")).query.limit == 1000
    assert parse(("limit", "7"), ("offset", "14")).query.offset == 14
    assert parse(default_limit=25, max_limit=10).query.limit == 10


def test_an_offset_beyond_every_archive_is_no_error():
    assert parse(("offset", "9" * 18)).query.offset == 2**31 - 1


def test_the_resource_of_the_path_narrows_the_search():
    query = parse_query(
        Level.INSTANCE,
        [],
        partition="north",
        study_uid="1.2",
        series_uid="1.2.3",
        include_parents=True,
    ).query
    assert (query.partition, query.study_uid, query.series_uid) == ("north", "1.2", "1.2.3")
    assert query.include_parents


def test_a_refusal_never_repeats_the_value():
    with pytest.raises(BadRequest) as refused:
        parse(("PatientBirthDate", "Mustermann"))
    assert "Mustermann" not in refused.value.detail


@pytest.mark.parametrize("value", ["a\0b", "\udcff"])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(BadRequest, match="PatientID"):
        conditions(("PatientID", value))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["PatientName", "StudyDate", "StudyTime", "limit", "includefield", "Modality"])
            | st.text(max_size=12),
            st.text(max_size=20),
        ),
        max_size=6,
    ),
    st.sampled_from(Level),
)
def test_any_parameters_are_a_query_or_a_bad_request(params, level):
    with contextlib.suppress(BadRequest):
        parse_query(level, params, partition="main")
