"""Common searches over 20,000 studies are answered by an index, whatever the planner thinks of."""

from __future__ import annotations

import asyncio
import json
import zlib
from dataclasses import replace

import asyncpg
import pytest
from gantry_dicom.errors import TooLarge
from gantry_dicom.facts import SLOT_MARK
from gantry_dicom.query import Level
from gantry_dicom.query_params import parse_query
from gantry_index.metadata import read_metadata
from gantry_index.pools import open_pool
from gantry_index.reader import IndexReader
from gantry_index.retrieval import find_instance, find_instances

STUDIES = 20_000
BIG_STUDY, BIG_SERIES = "1.2.826.77", "1.2.826.77.1"
SEGMENT_INSTANCES = 64

_NAMES = (
    "ARRAY['MUELLER','SMITH','JONES','NAKAMURA','OKAFOR','IVANOVA','GARCIA','NGUYEN','KOWALSKI','HANSEN']"
)
_NAME = f"({_NAMES})[1 + n % 10] || n / 10 % 500 || '^' || (ARRAY['ANNA','BEN','CARLA','DAVID'])[1 + n % 4]"
_MODALITY = "(ARRAY['CT','MR','CR','US'])[1 + n % 4]"

POPULATION = f"""
INSERT INTO study (partition, study_uid, order_key, study_date, study_time, accession_number, patient_id,
    patient_name, patient_name_norm, patient_birth_date, patient_sex, study_id, study_description,
    series_count, instance_count, modalities, sop_classes, first_received_at, updated_at)
SELECT 'main', '1.2.826.' || n, lpad(to_hex(n * 7919 % 1000003), 34, '0'), date '2026-01-01' - n * 31 % 3650,
    time '08:00' + n % 600 * interval '1 minute', 'ACC' || n, 'PID' || n % 7000, {_NAME}, lower({_NAME}),
    date '1950-01-01' + n % 20000, (ARRAY['F','M','O'])[1 + n % 3], 'S' || n,
    (ARRAY['CT THORAX','MR HEAD','CR CHEST','US ABDOMEN'])[1 + n % 4] || ' ' || n % 900, 2, 2,
    ARRAY[{_MODALITY}, 'SR'], '{{1.2.840.10008.5.1.4.1.1.2}}', now(), now()
FROM generate_series(1, $1) n;
"""

AFTER_STUDIES = (
    """INSERT INTO study_modality
       SELECT partition, unnest(modalities), study_date, order_key, id FROM study""",
    """INSERT INTO series (study_pk, partition, series_uid, order_key, modality, series_number,
           series_description, instance_count, updated_at)
       SELECT id, partition, study_uid || '.' || k, order_key, modalities[k], k, 'series ' || k, 1, now()
       FROM study, generate_series(1, 2) k""",
    """INSERT INTO study_document SELECT id, $1, ''::bytea FROM study""",
    """INSERT INTO series_document SELECT id, $1, ''::bytea FROM series""",
)

SEGMENTS = """INSERT INTO segment (series_pk, encoder_version, instance_count, metadata, documents, levels)
SELECT id, 1, 1, $1, $2, ''::bytea FROM series WHERE series_uid <> $3"""

BIG_SEGMENTS = """INSERT INTO segment
    (series_pk, encoder_version, instance_count, metadata, documents, levels)
SELECT id, 1, $4, $1, $2, ''::bytea FROM series, generate_series(1, 8) WHERE series_uid = $3"""

INSTANCES = """INSERT INTO instance (study_pk, sop_uid, series_pk, partition, sop_class_uid, instance_number,
    order_key, object_key, store_id, size, meta_length, data_set_digest, transfer_syntax_uid, frame_table,
    segment_pk, metadata_offset, metadata_length, document_offset, document_length, level_offset,
    level_length, received_at)
SELECT e.study_pk, e.series_uid || '.' || x.id || '.' || k, e.id, 'main', '1.2.840.10008.5.1.4.1.1.2',
    row_number() OVER (PARTITION BY e.id ORDER BY x.id, k), e.order_key, 'o/main/' || x.id || '/' || k, 's',
    530000, 300, sha256(''), '1.2.840.10008.1.2.1', '\\x00', x.id, k * $1, $1, k * $2, $2, 0, 0, now()
FROM segment x JOIN series e ON e.id = x.series_pk, generate_series(0, x.instance_count - 1) k"""

REJECTIONS = """INSERT INTO rejection
SELECT 'main', '1.2.826.' || n * 7, '1.2.826.' || n * 7 || '.' || k, '1.2.3', '1.2.3.' || n, '113001'
FROM generate_series(1, 2500) n, generate_series(1, 3) k"""

METADATA = b'{"00080018":{"vr":"UI","Value":["1.2.3"]},' + b'"00204000":{"vr":"LT","Value":["%s"]}}' % (
    b"x" * 5000
)
INSTANCE_DOCUMENT = (
    b'"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},"00080018":{"vr":"UI","Value":["1.2.3"]},'
    + SLOT_MARK * 2
    + b'"00200013":{"vr":"IS","Value":[1]},"00280010":{"vr":"US","Value":[512]},'
)
STUDY_DOCUMENT = (
    b'"00080020":{"vr":"DA","Value":["20260101"]},'
    + SLOT_MARK * 3
    + b'"0020000D":{"vr":"UI","Value":["1.2"]},'
    + SLOT_MARK
)
SERIES_DOCUMENT = (
    SLOT_MARK
    + b'"00080060":{"vr":"CS","Value":["CT"]},'
    + SLOT_MARK
    + b'"0020000E":{"vr":"UI","Value":["1.2"]},'
    + SLOT_MARK
)


async def populate(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(POPULATION.replace("$1", str(STUDIES)))
        await connection.execute(AFTER_STUDIES[0])
        await connection.execute(AFTER_STUDIES[1])
        await connection.execute(AFTER_STUDIES[2], STUDY_DOCUMENT)
        await connection.execute(AFTER_STUDIES[3], SERIES_DOCUMENT)
        await connection.execute(
            SEGMENTS, zlib.compress(METADATA), zlib.compress(INSTANCE_DOCUMENT), BIG_SERIES
        )
        await connection.execute(
            BIG_SEGMENTS,
            zlib.compress(METADATA * SEGMENT_INSTANCES),
            zlib.compress(INSTANCE_DOCUMENT * SEGMENT_INSTANCES),
            BIG_SERIES,
            SEGMENT_INSTANCES,
        )
        await connection.execute(INSTANCES, len(METADATA), len(INSTANCE_DOCUMENT))
        await connection.execute(REJECTIONS)
        await connection.execute("VACUUM (ANALYZE)")
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def populated_dsn(postgres_server, index_template):
    dsn = postgres_server.create_database("search_plans", index_template)
    asyncio.run(populate(dsn))
    yield dsn
    postgres_server.drop_database("search_plans")


class Explaining:
    """A database that answers and keeps the plan of each statement it ran."""

    def __init__(self, pool) -> None:
        self.pool = pool
        self.plans = []

    async def fetch(self, sql, *parameters):
        explained = await self.pool.fetch(f"EXPLAIN (FORMAT JSON) {sql}", *parameters)
        self.plans.append(json.loads(explained[0][0])[0]["Plan"])
        return await self.pool.fetch(sql, *parameters)

    @property
    def nodes(self):
        found = []
        pending = list(self.plans)
        while pending:
            node = pending.pop()
            found.append(node)
            pending += node.get("Plans", [])
        return found

    @property
    def indexes(self):
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def tables_read_whole(self):
        return {node["Relation Name"] for node in self.nodes if node["Node Type"] == "Seq Scan"}


@pytest.fixture
async def explaining(populated_dsn):
    pool = open_pool(populated_dsn)
    yield Explaining(pool)
    await pool.close()


SEARCHES = {
    "patient id": (Level.STUDY, "PatientID=PID77", {"study_patient"}),
    "accession number": (Level.STUDY, "AccessionNumber=ACC4711", {"study_accession"}),
    "study uid": (Level.STUDY, "StudyInstanceUID=1.2.826.77,1.2.826.78", {"study_partition_study_uid_key"}),
    "name": (Level.STUDY, "PatientName=MUELLER77^BEN", {"study_name_prefix", "study_name_infix"}),
    "name prefix": (Level.STUDY, "PatientName=Mueller77*", {"study_name_prefix", "study_name_infix"}),
    "name infix": (Level.STUDY, "PatientName=*akamura77*", {"study_name_infix"}),
    "description infix": (Level.STUDY, "StudyDescription=*THORAX 77*", {"study_description_infix"}),
    "14 days of a modality": (
        Level.STUDY,
        "StudyDate=20251218-20260101&ModalitiesInStudy=CT",
        {"study_modality_newest"},
    ),
    "a modality": (Level.STUDY, "ModalitiesInStudy=CT", {"study_modality_newest"}),
    "a modality that is not there": (Level.STUDY, "ModalitiesInStudy=NM", {"study_modality_newest"}),
    "14 days": (Level.STUDY, "StudyDate=20251218-20260101", {"study_newest"}),
    "newest": (Level.STUDY, "", {"study_newest"}),
    "deep page": (Level.STUDY, "offset=10000", {"study_newest"}),
    "series of a modality": (
        Level.SERIES,
        "Modality=CT",
        {"study_modality_newest", "series_study_pk_series_uid_key"},
    ),
    "series uid": (Level.SERIES, "SeriesInstanceUID=1.2.826.77.1", {"series_uid"}),
    "newest series": (Level.SERIES, "", {"study_newest", "series_study_pk_series_uid_key"}),
    "instance uid": (Level.INSTANCE, "SOPInstanceUID=1.2.826.77.1.1.0", {"instance_sop"}),
    "newest instances": (Level.INSTANCE, "", {"study_newest"}),
    "accession prefix": (Level.STUDY, "AccessionNumber=ACC471*", {"study_identifiers_infix"}),
    "patient id infix": (Level.STUDY, "PatientID=*D77?", {"study_identifiers_infix"}),
    "study id": (Level.STUDY, "StudyID=S77", {"study_identifiers_infix"}),
    "birth date": (Level.STUDY, "PatientBirthDate=19500110", {"study_birth_date"}),
    "fuzzy name": (Level.STUDY, "PatientName=Nakamora77&fuzzymatching=true", {"study_name_infix"}),
    "sex": (Level.STUDY, "PatientSex=F", {"study_newest"}),
    "counts": (Level.STUDY, "NumberOfStudyRelatedSeries=2", {"study_newest"}),
    "classes": (Level.STUDY, "SOPClassesInStudy=1.2.3", {"study_classes"}),
    "one letter of a name": (Level.STUDY, "PatientName=*a*", {"study_newest"}),
    "two modalities": (
        Level.STUDY,
        "ModalitiesInStudy=CT\\SR&multiplevaluematching=true",
        {"study_modality_newest"},
    ),
    "series description": (Level.SERIES, "SeriesDescription=*ries 3", {"series_description_infix"}),
    "series of modalities": (Level.SERIES, "Modality=CT,MR", {"study_newest"}),
    "body part": (Level.SERIES, "BodyPartExamined=HEAD&StudyDate=20251201-", {"study_newest"}),
    "instances of a patient": (Level.INSTANCE, "PatientID=PID77&InstanceNumber=1", {"study_patient"}),
    "a study by its comments": (
        Level.STUDY,
        "PatientID=PID77&PatientComments=x*",
        {"study_patient", "study_document_pkey"},
    ),
    "an instance by its comments": (
        Level.INSTANCE,
        "PatientID=PID77&ImageComments=x*",
        {"study_patient", "segment_pkey"},
    ),
}


@pytest.mark.parametrize("name", SEARCHES)
async def test_a_common_search_reads_no_table_whole(explaining, name):
    level, text, expected = SEARCHES[name]
    params = [tuple(part.split("=", 1)) for part in text.split("&") if part]
    query = parse_query(level, params, partition="main").query
    await IndexReader(explaining).search(query)
    assert expected <= explaining.indexes
    assert explaining.tables_read_whole == set()


@pytest.mark.parametrize(
    ("level", "text", "table"),
    [
        (Level.STUDY, "StudyTime=0801", "study"),
        (Level.STUDY, 'AccessionNumber=""&emptyvaluematching=true', "study"),
        # Indexes answer these in an archive where passing over the table costs more than here.
        (Level.SERIES, "RequestAttributesSequence.RequestedProcedureID=RP1", "study"),
        (Level.INSTANCE, "SOPClassUID=1.2.3", "instance"),
    ],
)
async def test_a_rare_value_costs_one_pass_of_one_narrow_table_at_most(explaining, level, text, table):
    params = [tuple(part.split("=", 1)) for part in text.split("&")]
    await IndexReader(explaining).search(parse_query(level, params, partition="main").query)
    assert explaining.tables_read_whole <= {table}


@pytest.mark.parametrize("level", [Level.STUDY, Level.SERIES, Level.INSTANCE])
@pytest.mark.parametrize("text", ["", "ModalitiesInStudy=CT", "PatientSex=F"])
async def test_the_next_page_begins_where_the_last_ended(explaining, level, text):
    params = [tuple(part.split("=", 1)) for part in text.split("&") if part]
    query = parse_query(level, [*params, ("limit", "50"), ("offset", "2000")], partition="main").query
    reader = IndexReader(explaining)
    deep = await reader.search(query)
    assert deep.remaining
    explaining.plans.clear()
    behind = await reader.search(replace(query, offset=0, after=deep.end))
    assert behind.documents
    assert behind.end != deep.end
    assert explaining.tables_read_whole == set()
    index = "study_modality_newest" if "CT" in text else "study_newest"
    walks = [node for node in explaining.nodes if node.get("Index Name") == index]
    assert any("study_date <=" in node.get("Index Cond", "") for node in walks)


async def test_too_many_candidates_for_documents_are_refused_with_advice(explaining):
    query = parse_query(Level.STUDY, [("PatientComments", "x")], partition="main").query
    with pytest.raises(TooLarge, match=r"PatientComments.*add a key"):
        await IndexReader(explaining).search(query)


@pytest.mark.parametrize("level", [Level.SERIES, Level.INSTANCE])
async def test_a_search_below_a_study_reads_no_table_whole(explaining, level):
    query = parse_query(level, [], partition="main", study_uid=BIG_STUDY).query
    page = await IndexReader(explaining).search(query)
    assert len(page.documents) == {Level.SERIES: 2, Level.INSTANCE: 100}[level]
    assert explaining.tables_read_whole == set()


async def test_instances_of_a_series_are_cut_from_a_few_segments(explaining):
    query = parse_query(
        Level.INSTANCE, [("limit", "500")], partition="main", study_uid=BIG_STUDY, series_uid=BIG_SERIES
    ).query
    page = await IndexReader(explaining).search(query)
    assert len(page.documents) == 500
    assert (page.remaining, page.remaining_is_exact) == (12, True)
    assert explaining.tables_read_whole == set()


async def test_one_frame_needs_one_lookup_by_unique_keys(explaining):
    (first, *_) = await find_instances(explaining, "main", BIG_STUDY, BIG_SERIES)
    explaining.plans.clear()
    found = await find_instance(explaining, "main", BIG_STUDY, BIG_SERIES, first.sop_uid)
    assert found == first
    assert len(explaining.plans) == 1
    by_sop_uid = explaining.indexes & {"instance_pkey", "instance_sop"}
    assert explaining.indexes - by_sop_uid <= {"study_partition_study_uid_key", "study_pkey", "series_pkey"}
    assert by_sop_uid
    assert explaining.tables_read_whole == set()


async def test_metadata_of_a_series_is_one_statement_that_reads_each_segment_once(explaining):
    answer = await read_metadata(explaining, "main", BIG_STUDY, BIG_SERIES)
    assert len(answer.objects) == 8 * SEGMENT_INSTANCES
    assert set(answer.objects) == {METADATA}
    assert len(explaining.plans) == 1
    assert explaining.tables_read_whole == set()
