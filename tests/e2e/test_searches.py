"""Searches over a population with a known answer."""

from __future__ import annotations

import pytest
from gantry_dicom.query import (
    AnyOf,
    DateTimeRange,
    Exact,
    Level,
    PersonName,
    Query,
    Range,
    UidList,
    Wildcard,
)
from gantry_testing.synthetic.population import population
from gantry_testing.truth import TruthTable
from gantry_testing.web import uids

PARTITION = "population"
STUDIES = 150

PATIENT_NAME, PATIENT_ID, BIRTH_DATE, SEX = (0x00100010,), (0x00100020,), (0x00100030,), (0x00100040,)
STUDY_DATE, STUDY_TIME, ACCESSION, STUDY_ID = (0x00080020,), (0x00080030,), (0x00080050,), (0x00200010,)
REFERRER, DESCRIPTION, MODALITIES = (0x00080090,), (0x00081030,), (0x00080061,)
MODALITY, BODY_PART, NUMBER, INSTANCE_NUMBER = (0x00080060,), (0x00180015,), (0x00200011,), (0x00200013,)
STUDY_UID = (0x0020000D,)

STUDY_SEARCHES = [
    ({}, ()),
    ({"PatientName": "muller*"}, (PersonName(PATIENT_NAME, "muller*"),)),
    ({"PatientName": "MÜLLER^JÜRGEN"}, (PersonName(PATIENT_NAME, "MÜLLER^JÜRGEN"),)),
    ({"PatientName": "山田*"}, (PersonName(PATIENT_NAME, "山田*"),)),
    ({"PatientName": "홍^길동"}, (PersonName(PATIENT_NAME, "홍^길동"),)),
    ({"PatientName": "*o'b*"}, (PersonName(PATIENT_NAME, "*o'b*"),)),
    ({"PatientName": "percent%*"}, (PersonName(PATIENT_NAME, "percent%*"),)),
    ({"PatientName": "???*^ada"}, (PersonName(PATIENT_NAME, "???*^ada"),)),
    ({"PatientName": "nobody^at all"}, (PersonName(PATIENT_NAME, "nobody^at all"),)),
    ({"PatientID": "P000003"}, (Exact(PATIENT_ID, "P000003"),)),
    ({"PatientID": "P_*"}, (Wildcard(PATIENT_ID, "P_*"),)),
    ({"PatientID": "p%*"}, (Wildcard(PATIENT_ID, "p%*"),)),
    ({"PatientID": "P?0000*"}, (Wildcard(PATIENT_ID, "P?0000*"),)),
    ({"PatientBirthDate": "19300101-19501231"}, (Range(BIRTH_DATE, "19300101", "19501231"),)),
    ({"StudyDate": "20180101-20181231"}, (Range(STUDY_DATE, "20180101", "20181231"),)),
    ({"StudyDate": "20200101-"}, (Range(STUDY_DATE, "20200101", None),)),
    ({"StudyDate": "-20170630"}, (Range(STUDY_DATE, None, "20170630"),)),
    ({"StudyTime": "0700-0759"}, (Range(STUDY_TIME, "0700", "0759"),)),
    (
        {"StudyDate": "20180301-20220301", "StudyTime": "1200-0800"},
        (DateTimeRange(STUDY_DATE, STUDY_TIME, "201803011200", "202203010800"),),
    ),
    ({"AccessionNumber": "a_*%"}, (Wildcard(ACCESSION, "a_*%"),)),
    ({"AccessionNumber": "ACC0000012"}, (Exact(ACCESSION, "ACC0000012"),)),
    ({"StudyID": "S7"}, (Exact(STUDY_ID, "S7"),)),
    ({"StudyDescription": "CT*"}, (Wildcard(DESCRIPTION, "CT*"),)),
    ({"StudyDescription": "100% done_well"}, (Exact(DESCRIPTION, "100% done_well"),)),
    ({"StudyDescription": "it's; DROP TABLE study"}, (Exact(DESCRIPTION, "it's; DROP TABLE study"),)),
    ({"StudyDescription": "Röntgen*"}, (Wildcard(DESCRIPTION, "Röntgen*"),)),
    ({"ReferringPhysicianName": "smith*"}, (PersonName(REFERRER, "smith*"),)),
    ({"ModalitiesInStudy": "SR"}, (Exact(MODALITIES, "SR"),)),
    ({"ModalitiesInStudy": "PT,MR"}, (AnyOf(MODALITIES, ("PT", "MR")),)),
    (
        {"ModalitiesInStudy": "CT", "StudyDate": "20160101-20191231", "PatientName": "*a*"},
        (Exact(MODALITIES, "CT"), Range(STUDY_DATE, "20160101", "20191231"), PersonName(PATIENT_NAME, "*a*")),
    ),
    # Matched by tag as well as by keyword.
    ({"00100020": "P000003"}, (Exact(PATIENT_ID, "P000003"),)),
]
SERIES_SEARCHES = [
    ({"Modality": "CT"}, (Exact(MODALITY, "CT"),)),
    ({"SeriesNumber": "2"}, (Exact(NUMBER, "2"),)),
    ({"BodyPartExamined": "KNEE"}, (Exact(BODY_PART, "KNEE"),)),
    ({"Modality": "SR", "PatientName": "*n*"}, (Exact(MODALITY, "SR"), PersonName(PATIENT_NAME, "*n*"))),
]
INSTANCE_SEARCHES = [
    ({"InstanceNumber": "2"}, (Exact(INSTANCE_NUMBER, "2"),)),
    ({"InstanceNumber": "1", "Modality": "MR"}, (Exact(INSTANCE_NUMBER, "1"), Exact(MODALITY, "MR"))),
]


@pytest.fixture(scope="module")
def truth(stack):
    instances = list(population(STUDIES, seed=12))
    with stack.web(PARTITION) as web:
        for start in range(0, len(instances), 50):
            answer = web.store([i.data for i in instances[start : start + 50]])
            assert answer.status == 200, answer.document
    return TruthTable(i.data for i in instances)


@pytest.fixture
def searched(stack):
    with stack.web(PARTITION) as client:
        yield client


def title(case):
    return "&".join(f"{key}={text}" for key, text in case[0].items()) or "everything"


def ask(web, path, level_tag, params):
    """Return the UIDs of all pages, each seen once."""
    found = []
    while True:
        page = uids(web.search(path, **params, limit=40, offset=len(found)), level_tag)
        found += page
        if len(page) < 40:
            assert len(set(found)) == len(found), "a page repeats what an earlier one had"
            return set(found)


@pytest.mark.parametrize("case", STUDY_SEARCHES, ids=title)
def test_a_search_for_studies_finds_exactly_what_matches(searched, truth, case):
    params, conditions = case
    expected = truth.expected(Query(Level.STUDY, PARTITION, conditions=conditions))
    assert ask(searched, "/studies", "0020000D", params) == expected


@pytest.mark.parametrize("case", SERIES_SEARCHES, ids=title)
def test_a_search_for_series_finds_exactly_what_matches(searched, truth, case):
    params, conditions = case
    expected = truth.expected(Query(Level.SERIES, PARTITION, conditions=conditions))
    assert expected
    assert ask(searched, "/series", "0020000E", params) == expected


@pytest.mark.parametrize("case", INSTANCE_SEARCHES, ids=title)
def test_a_search_for_instances_finds_exactly_what_matches(searched, truth, case):
    params, conditions = case
    expected = truth.expected(Query(Level.INSTANCE, PARTITION, conditions=conditions))
    assert expected
    assert ask(searched, "/instances", "00080018", params) == expected


def test_a_list_of_uids_finds_exactly_those(searched, truth):
    some = sorted(truth.study_uids())[:5]
    expected = truth.expected(Query(Level.STUDY, PARTITION, conditions=(UidList(STUDY_UID, tuple(some)),)))
    assert (
        ask(searched, "/studies", "0020000D", {"StudyInstanceUID": ",".join(some)}) == expected == set(some)
    )


def test_the_searches_are_worth_making(truth):
    """Most of the searches above match something, and none but the empty one everything."""
    sizes = [len(truth.expected(Query(Level.STUDY, PARTITION, conditions=c))) for _, c in STUDY_SEARCHES]
    assert sizes[0] == STUDIES
    assert sum(0 < size < STUDIES for size in sizes) >= len(sizes) - 3
