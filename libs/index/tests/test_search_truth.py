"""Searches in SQL answer what the reference of matching says, in its order, page by page."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import replace

import orjson
import pytest
from gantry_dicom.errors import BadRequest
from gantry_dicom.matching import matches
from gantry_dicom.query import Level
from gantry_dicom.query_keys import MATCH_KEYS, name_of
from gantry_dicom.query_params import parse_query
from gantry_index import search
from gantry_index.pools import Purpose, open_pool
from gantry_index.reader import IndexReader
from gantry_index.writer import IndexWriter
from gantry_testing.index_population import Instance, Series, Study, found_at, records_of
from hypothesis import given, settings
from hypothesis import strategies as st

LEVELS = (Level.STUDY, Level.SERIES, Level.INSTANCE)

TEXTS = [
    "CR THORAX",
    "CR_THORAX",
    "MR 100%",
    "MR 1000",
    "",
    "head'neck",
    "a\\b",
    "Größe",
    "cr thorax",
    "*",
    "?",
]
NAMES = [
    "TEST^A", "TAST^A", "T_ST^A", "100%^A", "Müller^Jörg", "Mu\N{COMBINING DIAERESIS}ller^Jorg", "MULLER",
    "Yamada^Tarou=山田^太郎=やまだ^たろう", "=山田^花子", "O'Brien^Pat", "te^st=foo^bar", "(A)^[B]", "test^a",
    "A.B^C+D", "é", "^Jane", "",
]  # fmt: skip
IDS = ["P1", "P2", "p1", "P_1", "P%1", "P 1", "0815", "", "P1*", "P?1"]
DATES = ["20240101", "20240102", "20240131", "2024.02.01", "19991231", "", "20240230", "20240101"]
TIMES = ["10", "1030", "103000", "103000.5", "235959.999999", "000000", "", "25"]
MODALITIES = ["CT", "MR", "SR", "PT", "CR", ""]
NUMBERS = ["1", "2", "10", "7", ""]
CLASSES = ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.88.22"]

# What values an attribute has in the population; searches are made of the same.
POOLS = {
    "PatientID": IDS,
    "IssuerOfPatientID": ["A", "B", ""],
    "PatientName": NAMES,
    "PatientBirthDate": DATES,
    "PatientSex": ["F", "M", "O", ""],
    "StudyDate": DATES,
    "StudyTime": TIMES,
    "AccessionNumber": IDS,
    "IssuerOfAccessionNumberSequence.LocalNamespaceEntityID": ["X", "Y", ""],
    "ReferringPhysicianName": NAMES,
    "StudyDescription": TEXTS,
    "StudyID": IDS,
    "Modality": MODALITIES,
    "SeriesDescription": TEXTS,
    "BodyPartExamined": ["HEAD", "CHEST", ""],
    "SeriesNumber": NUMBERS,
    "PerformedProcedureStepStartDate": DATES,
    "PerformedProcedureStepStartTime": TIMES,
    "RequestAttributesSequence.ScheduledProcedureStepID": ["SPS1", "SPS2", ""],
    "RequestAttributesSequence.RequestedProcedureID": ["RP1", "RP2", ""],
    "InstanceNumber": NUMBERS,
    "Rows": ["512", "256"],
    "Columns": ["512", "256"],
    "BitsAllocated": ["8", "16"],
    "NumberOfFrames": NUMBERS,
    "ModalitiesInStudy": MODALITIES,
    "SOPClassesInStudy": CLASSES,
    "SOPClassUID": CLASSES,
    "AvailableTransferSyntaxUID": ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"],
    "NumberOfStudyRelatedSeries": ["1", "2", "3"],
    "NumberOfStudyRelatedInstances": ["1", "2", "3", "4"],
    "NumberOfSeriesRelatedInstances": ["1", "2", "3"],
}
# Attributes without a column, matched in documents.
DOCUMENT_POOLS = {
    Level.STUDY: {
        "PatientComments": TEXTS,
        "PhysiciansOfRecord": NAMES,
        "ProcedureCodeSequence.CodeValue": ["P1", "P2", ""],
        "ProcedureCodeSequence.CodeMeaning": TEXTS,
    },
    Level.SERIES: {"Manufacturer": TEXTS, "ProtocolName": IDS, "SeriesDate": DATES},
    Level.INSTANCE: {
        "SliceThickness": ["1", "2.5", "2.50", ""],
        "AcquisitionNumber": NUMBERS,
        "AcquisitionDateTime": ["20240101", "202401021030", "20240102103000.5", ""],
        "ImageComments": TEXTS,
    },
}
STUDY_KEYWORDS = [*list(POOLS)[:12], *DOCUMENT_POOLS[Level.STUDY]]
SERIES_KEYWORDS = [*list(POOLS)[12:20], *DOCUMENT_POOLS[Level.SERIES]]
INSTANCE_KEYWORDS = [*list(POOLS)[20:25], *DOCUMENT_POOLS[Level.INSTANCE]]
ALL_POOLS = POOLS | {name: pool for pools in DOCUMENT_POOLS.values() for name, pool in pools.items()}
UIDS = {"StudyInstanceUID": "1.{n}", "SeriesInstanceUID": "1.{n}.1", "SOPInstanceUID": "1.{n}.1.1"}
STUDIES = 70


def make_population(seed: int) -> list[Study]:
    chance = random.Random(seed)
    ordinals = list(range(STUDIES * 9))
    chance.shuffle(ordinals)

    def drawn(keywords):
        return {keyword: chance.choice(ALL_POOLS[keyword]) for keyword in keywords}

    return [
        Study(
            f"1.{study}",
            drawn(STUDY_KEYWORDS),
            tuple(
                Series(
                    f"1.{study}.{series}",
                    drawn(SERIES_KEYWORDS),
                    tuple(
                        Instance(
                            f"1.{study}.{series}.{instance}",
                            ordinals.pop(),
                            drawn(INSTANCE_KEYWORDS),
                            chance.choice(CLASSES),
                        )
                        for instance in range(1, chance.randint(1, 3) + 1)
                    ),
                )
                for series in range(1, chance.randint(1, 3) + 1)
            ),
        )
        for study in range(1, STUDIES + 1)
    ]


class Archive:
    """An index with a population, used from plain tests."""

    def __init__(self, dsn: str) -> None:
        self.runner = asyncio.Runner()
        self.pool = open_pool(dsn)
        self.studies = make_population(20)
        self.runner.run(self._write(dsn))
        self.found = {level: found_at(level, self.studies) for level in LEVELS}

    async def _write(self, dsn):
        pool = open_pool(dsn, purpose=Purpose.WRITE)
        records = records_of(self.studies)
        random.Random(7).shuffle(records)
        writer = IndexWriter(pool)
        for start in range(0, len(records), 50):
            await writer.index_chunk(records[start : start + 50])
        # The same studies elsewhere must never show.
        await writer.index_chunk(records_of(self.studies[:5], "other"))
        await pool.close()

    def search(self, query):
        return self.runner.run(IndexReader(self.pool).search(query))

    def expected(self, query):
        narrowed = [uid for uid in (query.study_uid, query.series_uid) if uid is not None]
        return [
            found.uids
            for found in self.found[query.level]
            if list(found.uids[: len(narrowed)]) == narrowed and matches(query.conditions, found.attributes)
        ]

    def close(self):
        self.runner.run(self.pool.close())
        self.runner.close()


@pytest.fixture(scope="module")
def archive(postgres_server, index_template):
    archive = Archive(postgres_server.create_database("search_truth", index_template))
    yield archive
    archive.close()
    postgres_server.drop_database("search_truth")


_URL = re.compile("\x1a/studies/([0-9.]+)(?:/series/([0-9.]+))?(?:/instances/([0-9.]+))?")


def uids_of(page):
    """Return the UIDs of each answer, as its Retrieve URL names them."""
    urls = [
        orjson.loads(document.replace(b"\x1a", b"\\u001a"))["00081190"]["Value"][0]
        for document in page.documents
    ]
    return [tuple(uid for uid in _URL.fullmatch(url).groups() if uid) for url in urls]


def wild(text):
    """Return patterns made of ``text``."""
    marks = st.lists(st.sampled_from([None, None, "*", "?"]), min_size=len(text), max_size=len(text))
    return marks.map(lambda drawn: "".join(mark or own for mark, own in zip(drawn, text, strict=True)))


def cut(text):
    ends = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(sorted)
    return st.tuples(ends, st.sampled_from(["{}*", "*{}", "*{}*", "{}^*"])).map(
        lambda drawn: drawn[1].format(text[drawn[0][0] : drawn[0][1]])
    )


def ranges(pool):
    bound = st.sampled_from([text for text in pool if "." not in text[:5]])
    return st.tuples(bound, bound).map("-".join)


def texts_of(dotted):
    pool = ALL_POOLS[dotted]
    value = st.sampled_from(pool)
    if dotted.endswith("Date"):
        return value | ranges(pool) | ranges(pool)
    if dotted.endswith("Time"):
        return value | ranges(pool)
    if dotted in ("ModalitiesInStudy", "Modality", "SOPClassUID", "SOPClassesInStudy", "PatientSex"):
        return value | st.lists(value, min_size=2, max_size=3).map(",".join)
    return value | value.flatmap(wild) | value.flatmap(cut)


PAIRS = st.sampled_from(list(POOLS)).flatmap(lambda dotted: st.tuples(st.just(dotted), texts_of(dotted)))
DOCUMENT_PAIRS = st.sampled_from([name for pools in DOCUMENT_POOLS.values() for name in pools]).flatmap(
    lambda dotted: st.tuples(st.just(dotted), texts_of(dotted))
)
UID_PAIRS = st.sampled_from(list(UIDS)).flatmap(
    lambda keyword: st.lists(st.integers(1, STUDIES), min_size=1, max_size=3).map(
        lambda numbers: (keyword, ",".join(UIDS[keyword].format(n=number) for number in numbers))
    )
)
DATE_TIME_PAIRS = st.tuples(ranges(DATES), ranges(TIMES)).map(
    lambda drawn: [("StudyDate", drawn[0]), ("StudyTime", drawn[1])]
)
PARAMS = st.one_of(
    PAIRS.map(lambda pair: [pair]),
    st.lists(PAIRS, min_size=1, max_size=3),
    st.tuples(UID_PAIRS, PAIRS).map(list),
    UID_PAIRS.map(lambda pair: [pair]),
    DATE_TIME_PAIRS,
)
EMPTY_VALUES = st.sampled_from(list(ALL_POOLS)).map(
    lambda dotted: [(dotted, '""'), ("emptyvaluematching", "true")]
)
FUZZY_NAMES = st.tuples(
    st.sampled_from(["PatientName", "ReferringPhysicianName", "PhysiciansOfRecord"]),
    st.sampled_from([*NAMES, "Tessst", "A Test", "muler jorge", "Bryan", "山田", "Yamadaa^山田", "?", "t*"]),
).map(lambda pair: [pair, ("fuzzymatching", "true")])
WITH_DOCUMENTS = st.lists(DOCUMENT_PAIRS, min_size=1, max_size=3) | st.tuples(
    DOCUMENT_PAIRS, PAIRS | UID_PAIRS
).map(list)


def query_or_none(level, params, **options):
    try:
        return parse_query(level, params, partition="main", max_limit=10_000, **options).query
    except BadRequest:
        return None


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(LEVELS), PARAMS | EMPTY_VALUES | FUZZY_NAMES | WITH_DOCUMENTS)
def test_a_search_finds_what_the_reference_finds(archive, level, params):
    query = query_or_none(level, [*params, ("limit", "1000")])
    if query is None:
        return
    page = archive.search(query)
    assert uids_of(page) == archive.expected(query)
    assert (page.remaining, page.remaining_is_exact) == (0, True)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(LEVELS[1:]), PAIRS | DOCUMENT_PAIRS, st.integers(1, STUDIES), st.booleans())
def test_a_search_below_a_resource_stays_below_it(archive, level, pair, number, in_series):
    series_uid = f"1.{number}.1" if in_series and level is Level.INSTANCE else None
    query = query_or_none(level, [pair], study_uid=f"1.{number}", series_uid=series_uid)
    if query is not None:
        assert uids_of(archive.search(query)) == archive.expected(query)


IDENTITIES = """SELECT c.found, c.last, s.study_uid, page.* FROM counted c
LEFT JOIN (page JOIN study s ON s.id = page.study_pk) ON true ORDER BY page.position"""


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(LEVELS), PARAMS, st.integers(1, 40), st.integers(0, 3), st.integers(0, 30))
def test_pages_add_up_whichever_way_the_ids_are_found(archive, level, params, size, bound, ahead):
    """With small bounds most searches go over to walking, where what remains is a lower bound."""
    query = query_or_none(level, [*params, ("limit", str(size))])
    if query is None:
        return
    expected = archive.expected(query)
    found = []
    for offset in range(0, len(expected) + size, size):
        page_params = [*params, ("limit", str(size)), ("offset", str(offset))]
        shifted = parse_query(level, page_params, partition="main").query
        finding = search.find(archive.pool, shifted, IDENTITIES, bound=bound, ahead=ahead)
        page = archive.runner.run(finding)
        left = max(0, len(expected) - offset - size)
        assert page.remaining == left if page.remaining_is_exact else 0 < page.remaining <= left
        found += identities(level, page)
    assert found == expected


def identities(level, page):
    columns = ("study_uid", "series_uid", "sop_uid")[: LEVELS.index(level) + 1]
    return [tuple(row[column] for column in columns) for row in page.rows if row["study_uid"]]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(LEVELS), PARAMS, st.integers(1, 40), st.integers(0, 60), st.integers(0, 30))
def test_pages_by_token_add_up_whichever_way_the_ids_are_found(archive, level, params, size, bound, ahead):
    query = query_or_none(level, [*params, ("limit", str(size))])
    if query is None:
        return
    expected = archive.expected(query)
    found, token = [], None
    for _ in range(len(expected) // size + 1):
        finding = search.find(archive.pool, replace(query, after=token), IDENTITIES, bound=bound, ahead=ahead)
        page = archive.runner.run(finding)
        found += identities(level, page)
        left = len(expected) - len(found)
        assert page.remaining == left if page.remaining_is_exact else 0 < page.remaining <= left
        token = page.end or token
    assert found == expected


def test_every_key_that_can_be_matched_is_in_the_truth_table():
    tried = {name_of(path) for path in MATCH_KEYS[Level.INSTANCE]}
    assert tried == set(POOLS) | set(UIDS)


@pytest.mark.parametrize("level", LEVELS)
def test_equal_requests_give_equal_answers_in_the_promised_order(archive, level):
    query = parse_query(level, [("limit", "1000")], partition="main").query
    first, second = archive.search(query), archive.search(query)
    assert first == second
    assert uids_of(first) == [found.uids for found in archive.found[level]]
