"""The auditor's own counting against a real index, right and then spoilt in every way it must notice."""

import psycopg
import pytest
from gantry_index.pools import open_pool
from gantry_index.writer import IndexWriter
from gantry_testing.auditor.evidence import RECOUNTS, read_index
from gantry_testing.index_records import index_record

MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"

# One statement for each recount that must make it differ.
SPOILT = {
    "study-series-count": "UPDATE study SET series_count = series_count + 1",
    "study-instance-count": "UPDATE study SET instance_count = 1",
    "series-instance-count": "UPDATE series SET instance_count = instance_count + 1",
    "study-modalities": "UPDATE study SET modalities = '{CT}'",
    "study-sop-classes": "UPDATE study SET sop_classes = sop_classes || '{1.2.3}'::text[]",
    "study-modality-table": "DELETE FROM study_modality WHERE modality = 'MR'",
    "study-order-key": "UPDATE study SET order_key = 'zzz'",
    "study-patient": "UPDATE study SET patient_pk = NULL",
    "series-partition": "UPDATE series SET partition = 'other'",
    "instance-place": "UPDATE instance SET partition = 'other'",
    "instance-segment": "UPDATE instance SET segment_pk = -1",
    "documents-present": "DELETE FROM study_document",
}


@pytest.fixture
async def indexed(index_dsn):
    """Connection string of an index with a study of two series and three instances, and a duplicate."""
    pool = open_pool(index_dsn)
    records = [
        index_record(order=1, series="1.2.3.1", sop="1.2.3.1.1"),
        index_record(order=2, series="1.2.3.1", sop="1.2.3.1.2"),
        index_record(order=3, series="1.2.3.2", sop="1.2.3.2.1", modality="MR", sop_class=MR_CLASS),
        index_record(order=4, series="1.2.3.1", sop="1.2.3.1.1"),
    ]
    await IndexWriter(pool).index_chunk(records)
    await pool.close()
    return index_dsn


async def test_an_index_that_the_writer_made_counts_right(indexed):
    verdicts, instances, findings = read_index(indexed)
    assert findings == []
    assert sorted(verdict.state for verdict in verdicts.values()) == ["duplicate", *["indexed"] * 3]
    assert {instance.sop_uid for instance in instances} == {"1.2.3.1.1", "1.2.3.1.2", "1.2.3.2.1"}


def test_every_recount_has_a_way_to_fail():
    assert set(SPOILT) == set(RECOUNTS)


@pytest.mark.parametrize("rule", SPOILT)
async def test_a_spoilt_index_is_found(indexed, rule):
    with psycopg.connect(indexed) as connection:
        connection.execute(SPOILT[rule])
    _, _, findings = read_index(indexed)
    assert f"recount:{rule}" in {finding.rule for finding in findings}
