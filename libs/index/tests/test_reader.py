"""What the reader answers: documents, routes, pages, retrieval plans, metadata, verdicts."""

from __future__ import annotations

import itertools

import orjson
import pytest
from gantry.index.v1.index_pb2 import VERDICT_STATE_INDEXED
from gantry_dicom.errors import BadRequest, Unavailable
from gantry_dicom.query import Exact, Level, Query
from gantry_dicom.query_params import parse_query
from gantry_index.pools import Purpose, open_pool
from gantry_index.reader import IndexReader
from gantry_index.writer import IndexWriter
from gantry_testing.index_population import CT_IMAGE, Instance, Series, Study, records_of

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


def study(number, *, name="Doe^Jane", modalities=("CT",), instances=1, **values):
    """Return a study whose instances were received in the order of the study numbers."""
    uid = f"1.2.{number}"
    return Study(
        uid,
        {
            "PatientID": f"P{number}",
            "PatientName": name,
            "PatientBirthDate": "19700101",
            "StudyDate": "20240101",
            "AccessionNumber": "",
            "StudyDescription": "CR THORAX",
            **values,
        },
        tuple(
            Series(
                f"{uid}.{place}",
                {"Modality": modality, "SeriesNumber": str(place), "BodyPartExamined": "CHEST"},
                tuple(
                    Instance(
                        f"{uid}.{place}.{one}",
                        number * 1000 + place * 100 + one,
                        {"InstanceNumber": str(one), "Rows": "512", "SliceThickness": "1.50"},
                        MR_IMAGE if modality == "MR" else CT_IMAGE,
                    )
                    for one in range(1, instances + 1)
                ),
            )
            for place, modality in enumerate(modalities, 1)
        ),
    )


class Index:
    """A partition of an index with a reader; ``hold`` fills it."""

    def __init__(self, dsn: str, partition: str) -> None:
        self.partition = partition
        self.pool = open_pool(dsn)
        self.reader = IndexReader(self.pool)
        self._write_pool = open_pool(dsn, purpose=Purpose.WRITE)

    async def hold(self, *studies, partition=None):
        records = records_of(studies, partition or self.partition)
        for start in range(0, len(records), 3):  # several segments a series
            await IndexWriter(self._write_pool).index_chunk(records[start : start + 3])
        return records

    async def find(self, level, *params, **options):
        parsed = parse_query(level, params, partition=self.partition, **options)
        return await self.reader.search(parsed.query)

    async def answers(self, level, *params, **options):
        return [read(document) for document in (await self.find(level, *params, **options)).documents]

    async def close(self):
        await self.pool.close()
        await self._write_pool.close()


def read(document):
    """Parse a JSON object, with ``BASE`` for the base URL."""
    return orjson.loads(document.replace(b"\x1a", b"BASE"))


def values(answer, tag):
    return answer[tag].get("Value", [])


@pytest.fixture(scope="module")
def shared_dsn(postgres_server, index_template):
    yield postgres_server.create_database("reader", index_template)
    postgres_server.drop_database("reader")


_numbers = itertools.count(1)


@pytest.fixture
async def index(shared_dsn):
    """An index that is empty for the test: its own partition of a shared one."""
    index = Index(shared_dsn, f"p{next(_numbers)}")
    yield index
    await index.close()


async def test_a_study_answer_carries_what_is_computed(index):
    await index.hold(study(1, modalities=("CT", "MR"), instances=2))
    (answer,) = await index.answers(Level.STUDY)
    assert list(answer) == sorted(answer)
    assert values(answer, "00080056") == ["ONLINE"]
    assert values(answer, "00080061") == ["CT", "MR"]
    assert values(answer, "00080062") == [CT_IMAGE, MR_IMAGE]
    assert values(answer, "00081190") == ["BASE/studies/1.2.1"]
    assert values(answer, "00201206") == [2]
    assert values(answer, "00201208") == [4]
    assert values(answer, "00100010") == [{"Alphabetic": "Doe^Jane"}]
    assert "00081030" not in answer


async def test_the_retrieve_ae_title_is_answered_where_there_is_one(index):
    await index.hold(study(1))
    for level in (Level.PATIENT, Level.STUDY, Level.SERIES, Level.INSTANCE):
        page = await index.reader.search(Query(level, index.partition), retrieve_ae_title="GANTRY")
        assert values(read(page.documents[0]), "00080054") == ["GANTRY"]


async def test_series_and_instance_answers_carry_what_is_computed(index):
    await index.hold(study(1, instances=2))
    (series,) = await index.answers(Level.SERIES, study_uid="1.2.1")
    assert values(series, "00081190") == ["BASE/studies/1.2.1/series/1.2.1.1"]
    assert values(series, "00201209") == [2]
    instances = await index.answers(Level.INSTANCE, study_uid="1.2.1", series_uid="1.2.1.1")
    assert [values(one, "00081190") for one in instances] == [
        ["BASE/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1"],
        ["BASE/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.2"],
    ]
    assert [values(one, "00080056") for one in instances] == [["ONLINE"]] * 2


@pytest.mark.parametrize(
    ("level", "narrowed", "parents", "expected"),
    [
        (Level.SERIES, {}, True, {"00100020", "00080061", "00201208", "00080060"}),
        (Level.SERIES, {}, False, {"00080060"}),
        (Level.SERIES, {"study_uid": "1.2.1"}, True, {"00080060"}),
        (Level.INSTANCE, {}, True, {"00100020", "00080061", "00201208", "00080060", "00080016"}),
        (Level.INSTANCE, {"study_uid": "1.2.1"}, True, {"00080060", "00080016"}),
        (Level.INSTANCE, {"study_uid": "1.2.1", "series_uid": "1.2.1.1"}, True, {"00080016"}),
        (Level.INSTANCE, {}, False, {"00080016"}),
    ],
)
async def test_a_route_adds_the_attributes_of_the_parents_it_does_not_name(
    index, level, narrowed, parents, expected
):
    await index.hold(study(1))
    (answer,) = await index.answers(level, include_parents=parents, **narrowed)
    seen = {"00100020", "00080061", "00201208", "00080060", "00080016"} & set(answer)
    assert seen == expected
    assert list(answer) == sorted(answer)
    assert values(answer, "00081190")[0].endswith(
        {Level.SERIES: "/series/1.2.1.1", Level.INSTANCE: "/instances/1.2.1.1.1"}[level]
    )


async def test_includefield_adds_optional_attributes_of_the_level(index):
    await index.hold(study(1))
    (answer,) = await index.answers(Level.STUDY, ("includefield", "StudyDescription,BodyPartExamined"))
    assert values(answer, "00081030") == ["CR THORAX"]
    assert "00180015" not in answer
    (answer,) = await index.answers(Level.STUDY, ("includefield", "all"))
    assert values(answer, "00081030") == ["CR THORAX"]
    assert list(answer) == sorted(answer)


async def test_includefield_of_a_series_reaches_up_to_the_study_and_not_down(index):
    await index.hold(study(1))
    (answer,) = await index.answers(
        Level.SERIES,
        ("includefield", "StudyDescription,PatientName,ModalitiesInStudy"),
        ("includefield", "BodyPartExamined,InstanceNumber"),
        study_uid="1.2.1",
    )
    assert values(answer, "00081030") == ["CR THORAX"]
    assert values(answer, "00100010") == [{"Alphabetic": "Doe^Jane"}]
    assert values(answer, "00080061") == ["CT"]
    assert values(answer, "00180015") == ["CHEST"]
    assert "00200013" not in answer or not answer["00200013"].get("Value")
    assert "00100020" not in answer


async def test_includefield_of_an_instance_is_answered_from_its_metadata(index):
    await index.hold(study(1))
    (answer,) = await index.answers(Level.INSTANCE, ("includefield", "SliceThickness,StudyDescription"))
    assert values(answer, "00180050") == ["1.50"]
    assert values(answer, "00081030") == ["CR THORAX"]
    (answer,) = await index.answers(Level.INSTANCE, ("includefield", "all"))
    assert values(answer, "00180050") == ["1.50"]
    assert "00081030" not in answer


async def test_a_match_key_is_answered_too(index):
    await index.hold(study(1))
    (answer,) = await index.answers(Level.STUDY, ("StudyDescription", "CR*"))
    assert values(answer, "00081030") == ["CR THORAX"]


async def test_pages_of_twelve_studies_are_five_five_two_and_none(index):
    await index.hold(*(study(n, modalities=("CT", "MR", "SR")) for n in range(1, 13)))
    for key in ("Modality", "ModalitiesInStudy"):
        seen, sizes, remaining = [], [], []
        for offset in (0, 5, 10, 15):
            page = await index.find(Level.STUDY, (key, "CT"), ("limit", "5"), ("offset", str(offset)))
            sizes.append(len(page.documents))
            remaining.append((page.remaining, page.remaining_is_exact))
            seen += [values(read(document), "0020000D")[0] for document in page.documents]
        assert sizes == [5, 5, 2, 0]
        assert remaining == [(7, True), (2, True), (0, True), (0, True)]
        assert len(set(seen)) == 12


async def test_no_match_and_limit_zero_are_empty_pages(index):
    await index.hold(*(study(n) for n in range(1, 13)))
    nothing = await index.find(Level.STUDY, ("StudyInstanceUID", "9.9.9"))
    assert (nothing.documents, nothing.remaining) == ((), 0)
    for params in ([], [("PatientID", "P*")]):
        page = await index.find(Level.STUDY, ("limit", "0"), *params)
        assert (page.documents, page.remaining, page.remaining_is_exact) == ((), 12, True)
    unlimited = await index.find(Level.STUDY)
    assert (len(unlimited.documents), unlimited.remaining) == (12, 0)


async def test_studies_come_newest_first_and_undated_ones_last(index):
    dates = ["20240101", "", "20250101", "20240101", "not a date"]
    await index.hold(*(study(n, StudyDate=date) for n, date in enumerate(dates, 1)))
    answers = await index.answers(Level.STUDY)
    assert [values(answer, "0020000D")[0] for answer in answers] == [
        "1.2.3",
        "1.2.4",
        "1.2.1",
        "1.2.5",
        "1.2.2",
    ]


@pytest.mark.parametrize(
    ("key", "pattern", "found"),
    [
        ("PatientName", "t*", {"TEST^A", "TAST^A", "T_ST^A"}),
        ("PatientName", "T?ST*", {"TEST^A", "TAST^A", "T_ST^A"}),
        ("PatientName", "T_ST*", {"T_ST^A"}),
        ("PatientName", "100%*", {"100%^A"}),
        ("PatientName", "'", set()),
        ("PatientName", "*'*", set()),
        ("PatientName", "*", {"TEST^A", "TAST^A", "T_ST^A", "100%^A"}),
        ("PatientName", "", {"TEST^A", "TAST^A", "T_ST^A", "100%^A"}),
        ("PatientName", "\\", None),
        ("PatientName", "TEST", set()),
        ("PatientName", "test^a", {"TEST^A"}),
        ("StudyDescription", "*THORAX", {"TEST^A", "TAST^A", "T_ST^A", "100%^A"}),
        ("StudyDescription", "THORAX", set()),
        ("StudyDescription", "*thorax", set()),
        ("StudyDescription", "CR_*", set()),
        ("StudyDescription", "%", set()),
        ("StudyDescription", "'; DROP TABLE study; --", set()),
    ],
)
async def test_wild_cards_and_characters_that_mean_something_to_sql(index, key, pattern, found):
    names = ["TEST^A", "TAST^A", "T_ST^A", "100%^A"]
    await index.hold(*(study(n, name=name) for n, name in enumerate(names, 1)))
    if found is None:
        with pytest.raises(BadRequest):
            await index.answers(Level.STUDY, (key, pattern))
        return
    answers = await index.answers(Level.STUDY, (key, pattern))
    assert {values(answer, "00100010")[0]["Alphabetic"] for answer in answers} == found


@pytest.mark.parametrize(
    "pattern", ["Müller*", "Mu\N{COMBINING DIAERESIS}ller*", "MULLER^TEST", "*ll*", "müller^*", "m?ller^test"]
)
async def test_a_name_is_found_whatever_form_its_accents_have(index, pattern):
    await index.hold(study(1, name="Müller^Test"), study(2, name="Mu\N{COMBINING DIAERESIS}ller^Test"))
    assert len(await index.answers(Level.STUDY, ("PatientName", pattern))) == 2


async def test_a_name_is_found_in_every_component_group(index):
    await index.hold(study(1, name="Yamada^Tarou=山田^太郎=やまだ^たろう"))
    for pattern in ("山田^太郎", "山田*", "*太郎", "やまだ*", "yamada^*", "*=山田*"):
        assert len(await index.answers(Level.STUDY, ("PatientName", pattern))) == 1, pattern
    for pattern in ("山田", "田*", "Yamada"):
        assert await index.answers(Level.STUDY, ("PatientName", pattern)) == [], pattern


async def test_multiple_value_matching_needs_every_modality(index):
    await index.hold(study(1, modalities=("CT", "PT")), study(2, modalities=("CT",)))
    both = [("ModalitiesInStudy", "CT\\PT"), ("multiplevaluematching", "true")]
    assert [values(a, "0020000D") for a in await index.answers(Level.STUDY, *both)] == [["1.2.1"]]
    assert len(await index.answers(Level.STUDY, ("ModalitiesInStudy", "CT\\PT"))) == 2


async def test_a_number_beyond_the_column_is_no_match_and_no_error(index):
    await index.hold(study(1))
    assert await index.answers(Level.SERIES, ("SeriesNumber", "4294967295")) == []


async def test_an_overlong_identifier_is_found_whole(index):
    long = "X" * 300
    await index.hold(study(1, PatientID=long), study(2, PatientID=long + "Y"))
    answers = await index.answers(Level.STUDY, ("PatientID", long))
    assert [values(answer, "0020000D") for answer in answers] == [["1.2.1"]]


async def test_partitions_never_see_each_other(index):
    await index.hold(study(1))
    await index.hold(study(1), study(2), partition=f"{index.partition}-north")
    for level in Level:
        assert len((await index.reader.search(Query(level, index.partition))).documents) == 1
    assert await index.reader.instances(index.partition, "1.2.2") == []
    assert (await index.reader.metadata(index.partition, "1.2.2")).objects == []


async def test_a_patient_answer_counts_what_the_patient_has(index):
    await index.hold(
        study(1, modalities=("CT", "MR"), PatientID="P", IssuerOfPatientID="A"),
        study(2, PatientID="P", IssuerOfPatientID="A"),
        study(3, PatientID="P", IssuerOfPatientID="B"),
        study(4, PatientID=""),
    )
    first, second = await index.answers(Level.PATIENT, ("PatientName", "doe*"))
    assert values(first, "00100021") == ["A"]
    assert [values(first, tag) for tag in ("00201200", "00201202", "00201204")] == [[2], [3], [3]]
    assert values(first, "00100010") == [{"Alphabetic": "Doe^Jane"}]
    assert values(first, "00100030") == ["19700101"]
    assert values(second, "00100021") == ["B"]
    assert await index.answers(Level.PATIENT, ("PatientID", "Q")) == []


async def test_a_condition_on_what_the_level_does_not_have_is_refused(index):
    query = Query(Level.STUDY, index.partition, conditions=(Exact((0x00200013,), "1"),))
    with pytest.raises(BadRequest, match="InstanceNumber"):
        await index.reader.search(query)


async def test_retrieval_plans_come_in_order_and_whole(index):
    records = await index.hold(study(1, modalities=("CT", "MR"), instances=4))
    plan = await index.reader.instances(index.partition, "1.2.1")
    assert [one.sop_uid for one in plan] == [f"1.2.1.{s}.{i}" for s in (1, 2) for i in (1, 2, 3, 4)]
    by_uid = {record.reception.sop_instance_uid: record for record in records}
    for one in plan:
        record = by_uid[one.sop_uid]
        assert one.object_key == record.reception.object_key
        assert one.size == record.reception.size
        assert one.frame_table == record.frame_table
        assert one.data_set_digest == record.reception.data_set_digest
        assert (one.rows, one.instance_number) == (512, record.facts.instance.instance_number)
    assert len(await index.reader.instances(index.partition, "1.2.1", "1.2.1.2")) == 4
    assert await index.reader.instances(index.partition, "1.2.1", "1.2.1.2", "1.2.1.2.3") == [plan[6]]
    assert await index.reader.instance(index.partition, "1.2.1", None, "1.2.1.2.3") == plan[6]


@pytest.mark.parametrize(
    "uids",
    [
        ("9.9", None, None),
        ("1.2.1", "9.9", None),
        ("1.2.1", "1.2.1.2", "1.2.1.1.1"),
        ("1.2.2", "1.2.1.1", "1.2.1.1.1"),
        ("1.2.1", "1.2.1.1", "9.9"),
    ],
)
async def test_the_right_instance_under_the_wrong_parent_is_not_there(index, uids):
    await index.hold(study(1, modalities=("CT", "MR")), study(2))
    assert await index.reader.instances(index.partition, *uids) == []
    answer = await index.reader.metadata(index.partition, *uids)
    assert (answer.objects, answer.version) == ([], "")
    assert await index.reader.metadata_version(index.partition, *uids) == ""


async def test_instances_are_found_by_their_own_uid_alone(index):
    await index.hold(study(1), study(2))
    found = await index.reader.instances_by_sop_uid(index.partition, ["1.2.2.1.1", "9.9", "1.2.1.1.1"])
    assert [one.study_uid for one in found] == ["1.2.1", "1.2.2"]


async def test_metadata_is_what_was_written_in_the_order_of_retrieval(index):
    records = await index.hold(study(1, modalities=("CT", "MR"), instances=5))
    written = {record.reception.sop_instance_uid: record.facts.instance.metadata for record in records}
    plan = await index.reader.instances(index.partition, "1.2.1")
    answer = await index.reader.metadata(index.partition, "1.2.1")
    assert answer.objects == [written[one.sop_uid] for one in plan]
    of_series = await index.reader.metadata(index.partition, "1.2.1", "1.2.1.2")
    assert of_series.objects == answer.objects[5:]
    of_one = await index.reader.metadata(index.partition, "1.2.1", "1.2.1.2", "1.2.1.2.3")
    assert of_one.objects == [written["1.2.1.2.3"]]


async def test_the_version_of_metadata_changes_with_its_series_only(index):
    await index.hold(study(1, modalities=("CT", "MR"), instances=2))

    async def versions():
        of = index.reader.metadata_version
        return [await of(index.partition, "1.2.1", uid) for uid in ("1.2.1.1", "1.2.1.2", None)]

    before = await versions()
    assert len(set(before)) == 3
    assert (await index.reader.metadata(index.partition, "1.2.1", "1.2.1.1")).version == before[0]
    more = study(1, modalities=("CT", "MR"), instances=3)
    await index.hold(Study(more.uid, more.values, more.series[1:]))
    after = await versions()
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert after[2] != before[2]


async def test_verdicts_are_read_by_object_key(index):
    (record,) = await index.hold(study(1))
    key = record.reception.object_key
    verdicts = await index.reader.verdicts([key, "o/p/00/none/1"])
    assert list(verdicts) == [key]
    assert verdicts[key].state == VERDICT_STATE_INDEXED


async def test_every_read_says_unavailable_while_the_database_is_down(free_port):
    pool = open_pool(f"postgresql://gantry@127.0.0.1:{free_port}/index")
    reader = IndexReader(pool)
    reads = [
        *(reader.search(Query(level, "main")) for level in Level),
        reader.instances("main", "1.2"),
        reader.metadata("main", "1.2"),
        reader.metadata_version("main", "1.2"),
        reader.verdicts(["o/main/00/none/1"]),
    ]
    for reading in reads:
        with pytest.raises(Unavailable):
            await reading
    await pool.close()
