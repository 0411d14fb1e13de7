"""Recounting a study, and finding studies that need it."""

from __future__ import annotations

import pytest
from gantry_index.aggregates import Difference, differences, recount
from gantry_testing.index_records import index_record
from gantry_testing.index_state import index_state

DAMAGES = {
    "series_count": "UPDATE study SET series_count = 7 WHERE study_uid = '1.1'",
    "instance_count": "UPDATE study SET instance_count = 7 WHERE study_uid = '1.1'",
    "modalities": "UPDATE study SET modalities = '{CT,XA}' WHERE study_uid = '1.1'",
    "sop_classes": "UPDATE study SET sop_classes = '{}' WHERE study_uid = '1.1'",
    "order_key": "UPDATE study SET order_key = 'x' || order_key WHERE study_uid = '1.1'",
    "series": "UPDATE series SET instance_count = 0 WHERE series_uid = '1.1.1'",
    "modality_rows": "DELETE FROM study_modality WHERE modality = 'MR'",
    "patient": "UPDATE study SET patient_pk = NULL WHERE study_uid = '1.1'",
}


@pytest.fixture
async def indexed(writer):
    await writer.index_chunk(
        [
            index_record(
                order=n,
                study=f"1.{n % 2}",
                series=f"1.{n % 2}.{n % 3}",
                sop=f"9.{n}",
                modality=("CT", "MR", "SR")[n % 3],
                study_description=f"description {n}",
            )
            for n in range(12)
        ]
    )


@pytest.mark.parametrize("field", list(DAMAGES))
async def test_a_wrong_aggregate_is_found_and_a_recount_mends_it(pool, indexed, index_dsn, field):
    state = await index_state(index_dsn)
    await pool.execute(DAMAGES[field])
    found = [difference async for difference in differences(pool)]
    assert {difference.study_uid for difference in found} <= {"1.0", "1.1"}
    assert all(field in difference.fields for difference in found)
    assert found
    for difference in found:
        assert await recount(pool, difference.partition, difference.study_uid)
    assert [difference async for difference in differences(pool)] == []
    assert await index_state(index_dsn) == state


async def test_an_instance_without_its_segment_is_found(pool, indexed):
    await pool.execute("DELETE FROM segment WHERE id = (SELECT min(segment_pk) FROM instance)")
    [found] = [difference async for difference in differences(pool)]
    assert found.fields == ("segments",)


async def test_studies_are_read_page_by_page(pool, writer):
    await writer.index_chunk(
        [index_record(order=n, study=f"1.{n}", series=f"2.{n}", sop=f"3.{n}") for n in range(7)]
    )
    await pool.execute("UPDATE study SET instance_count = 0 WHERE study_uid IN ('1.1', '1.5')")
    found = [difference async for difference in differences(pool, page=2)]
    assert found == [
        Difference("main", "1.1", ("instance_count",)),
        Difference("main", "1.5", ("instance_count",)),
    ]


async def test_a_recount_after_deletions_takes_values_from_the_instances_that_are_left(
    pool, indexed, index_dsn
):
    await pool.execute("DELETE FROM instance WHERE sop_uid IN ('9.1', '9.3')")
    assert await recount(pool, "main", "1.1")
    study = await pool.fetchrow("SELECT * FROM study WHERE study_uid = '1.1'")
    assert (study["instance_count"], study["study_description"]) == (4, "description 5")
    assert [difference async for difference in differences(pool)] == []


async def test_a_recount_of_an_empty_study_removes_it_with_its_patient(pool, writer):
    await writer.index_chunk([index_record()])
    await pool.execute("DELETE FROM instance")
    assert await recount(pool, "main", "1.2.3")
    for table in ("study", "series", "patient", "study_modality"):
        assert await pool.fetch(f"SELECT 1 FROM {table}") == []


async def test_a_recount_of_an_unknown_study_says_so(pool):
    assert not await recount(pool, "main", "1.9.9")
