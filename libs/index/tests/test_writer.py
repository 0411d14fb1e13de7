"""What a chunk does to the index when nothing is in conflict."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime

import pytest
from gantry.events.v1.events_pb2 import EVENT_KIND_INSTANCES_INDEXED, IndexEvent
from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_DUPLICATE,
    VERDICT_STATE_INDEXED,
    VERDICT_STATE_TOMBSTONED,
)
from gantry.reception.v1.reception_pb2 import OUTCOME_REFUSED, OUTCOME_UNANSWERED
from gantry_index import writer as module
from gantry_index.aggregates import differences
from gantry_index.records import FindingKind
from gantry_testing.index_records import index_record
from gantry_testing.index_state import index_state

MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"


async def findings(pool) -> set[tuple[str, str]]:
    return {(row["kind"], row["study_uid"]) for row in await pool.fetch("SELECT * FROM finding")}


async def test_a_study_of_two_series_is_counted(pool, writer):
    records = [
        index_record(order=1, series="1.2.3.1", sop="1.2.3.1.1"),
        index_record(order=2, series="1.2.3.1", sop="1.2.3.1.2"),
        index_record(order=3, series="1.2.3.2", sop="1.2.3.2.1", modality="MR", sop_class=MR_CLASS),
    ]
    verdicts = await writer.index_chunk(records)
    assert [verdict.state for verdict in verdicts] == [VERDICT_STATE_INDEXED] * 3
    assert [verdict.object_key for verdict in verdicts] == [record.reception.object_key for record in records]
    study = await pool.fetchrow("SELECT * FROM study")
    assert (study["series_count"], study["instance_count"]) == (2, 3)
    assert study["modalities"] == ["CT", "MR"]
    assert study["sop_classes"] == ["1.2.840.10008.5.1.4.1.1.2", MR_CLASS]
    assert study["patient_name_norm"] == "doe^jane"
    assert study["first_received_at"] == datetime.fromtimestamp(1_700_000_001, UTC)
    series = await pool.fetch("SELECT * FROM series ORDER BY series_uid")
    assert [row["instance_count"] for row in series] == [2, 1]
    side = await pool.fetch("SELECT modality, study_date, order_key FROM study_modality ORDER BY 1")
    assert [tuple(row) for row in side] == [
        ("CT", date(2026, 1, 2), study["order_key"]),
        ("MR", date(2026, 1, 2), study["order_key"]),
    ]
    assert await findings(pool) == set()
    assert [row async for row in differences(pool)] == []


async def test_later_chunks_add_to_what_is_there_and_raise_versions(pool, writer):
    await writer.index_chunk([index_record(order=1, sop="1.1")])
    before = await pool.fetchrow("SELECT study.version, series.version AS series FROM study, series")
    await writer.index_chunk([index_record(order=2, sop="1.2"), index_record(order=3, sop="1.3")])
    study = await pool.fetchrow("SELECT * FROM study")
    assert study["instance_count"] == 3
    assert study["series_count"] == 1
    after = await pool.fetchrow("SELECT study.version, series.version AS series FROM study, series")
    assert after["version"] > before["version"]
    assert after["series"] > before["series"]


async def test_a_replayed_chunk_changes_nothing_and_gets_the_standing_verdicts(pool, writer, index_dsn):
    records = [index_record(order=n, sop=f"1.{n}") for n in range(5)]
    first = await writer.index_chunk(records)
    state = await index_state(index_dsn)
    version = await pool.fetchrow("SELECT version FROM study")
    await pool.execute("DELETE FROM outbox")
    assert await writer.index_chunk(records[::-1]) == first[::-1]
    assert await index_state(index_dsn) == state
    assert await pool.fetchrow("SELECT version FROM study") == version
    assert await pool.fetch("SELECT * FROM outbox") == []


async def test_documents_are_cut_out_of_segments_one_a_series(index_dsn, pool, writer):
    records = [
        index_record(order=n, series=f"1.2.3.{n % 2}", sop=f"1.{n}", content=f"content {n}") for n in range(9)
    ]
    await writer.index_chunk(records)
    assert len(await pool.fetch("SELECT 1 FROM segment")) == 2
    state = await index_state(index_dsn)
    stored = {row[5]: row[6] for row in state["instance"]}
    assert stored == {record.facts.instance.metadata: record.facts.instance.document for record in records}


async def test_study_values_come_from_the_first_received_whatever_comes_first(pool, writer):
    late = index_record(order=9, sop="1.9", study_description="late", study_date=date(2020, 1, 1))
    early = index_record(order=1, sop="1.1", study_description="early", study_date=date(2026, 5, 5))
    middle = index_record(order=5, sop="1.5", study_description="middle", study_date=date(2024, 1, 1))
    for record in (late, early, middle):
        await writer.index_chunk([record])
    study = await pool.fetchrow("SELECT * FROM study JOIN study_document ON study_pk = id")
    assert study["study_description"] == "early"
    assert study["document"] == early.facts.study.document
    assert study["extra"] == early.facts.study.extra
    side = await pool.fetchrow("SELECT * FROM study_modality")
    assert (side["study_date"], side["order_key"]) == (date(2026, 5, 5), study["order_key"])
    series = await pool.fetchrow("SELECT document FROM series_document")
    assert series["document"] == early.facts.series.document


async def test_a_modality_that_the_first_instance_of_a_series_contradicts_goes(pool, writer):
    await writer.index_chunk([index_record(order=5, sop="1.5", modality="OT")])
    await writer.index_chunk([index_record(order=1, sop="1.1", modality="CT")])
    assert (await pool.fetchrow("SELECT modalities FROM study"))["modalities"] == ["CT"]
    assert [row["modality"] for row in await pool.fetch("SELECT modality FROM study_modality")] == ["CT"]
    assert [row async for row in differences(pool)] == []


async def test_twenty_new_studies_in_one_chunk(pool, writer):
    records = [
        index_record(
            order=n, study=f"1.{n % 20}", series=f"1.{n % 20}.1", sop=f"2.{n}", patient_id=f"P{n % 4}"
        )
        for n in range(60)
    ]
    await writer.index_chunk(records)
    assert {row["instance_count"] for row in await pool.fetch("SELECT instance_count FROM study")} == {3}
    assert len(await pool.fetch("SELECT 1 FROM patient")) == 4
    assert [row async for row in differences(pool)] == []


async def test_one_chunk_may_span_partitions_that_do_not_see_each_other(pool, writer):
    records = [index_record(order=1, partition="north"), index_record(order=2, partition="south")]
    verdicts = await writer.index_chunk(records)
    assert {verdict.state for verdict in verdicts} == {VERDICT_STATE_INDEXED}
    assert len(await pool.fetch("SELECT 1 FROM study")) == 2
    assert len(await pool.fetch("SELECT 1 FROM patient")) == 2
    assert await findings(pool) == set()


async def test_the_same_record_twice_in_a_chunk_is_one(pool, writer):
    record = index_record()
    verdicts = await writer.index_chunk([record, record])
    assert [verdict.state for verdict in verdicts] == [VERDICT_STATE_INDEXED] * 2
    assert (await pool.fetchrow("SELECT instance_count FROM study"))["instance_count"] == 1


async def test_the_same_instance_twice_in_a_chunk_is_a_duplicate_of_the_first(pool, writer):
    verdicts = await writer.index_chunk([index_record(order=8), index_record(order=3)])
    assert [verdict.state for verdict in verdicts] == [VERDICT_STATE_DUPLICATE, VERDICT_STATE_INDEXED]
    assert verdicts[0].survivor_key == verdicts[1].object_key
    assert (await pool.fetchrow("SELECT instance_count FROM study"))["instance_count"] == 1


async def test_events_leave_with_the_chunk(pool, writer):
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await writer.index_chunk(
        [index_record(order=n, sop=f"1.{n}", series=f"2.{n % 2}", traceparent=traceparent) for n in range(4)]
    )
    rows = await pool.fetch("SELECT payload FROM outbox ORDER BY sequence")
    events = [IndexEvent.FromString(row["payload"]) for row in rows]
    assert {event.kind for event in events} == {EVENT_KIND_INSTANCES_INDEXED}
    assert {event.series_instance_uid: list(event.sop_instance_uids) for event in events} == {
        "2.0": ["1.0", "1.2"],
        "2.1": ["1.1", "1.3"],
    }
    assert {event.traceparent for event in events} == {traceparent}
    assert all(event.occurred_at_us > 0 for event in events)


async def test_a_tombstoned_object_is_never_indexed(pool, writer):
    record = index_record()
    await writer.index_chunk([record])
    await pool.execute("DELETE FROM study")
    await pool.execute("UPDATE reception SET state = $1", VERDICT_STATE_TOMBSTONED)
    [verdict] = await writer.index_chunk([record])
    assert verdict.state == VERDICT_STATE_TOMBSTONED
    assert await pool.fetch("SELECT 1 FROM instance") == []


async def test_a_tombstone_that_knows_only_the_object_key_holds_too(pool, writer):
    record = index_record()
    await writer.index_chunk([record])
    await pool.execute("DELETE FROM study")
    await pool.execute(
        "UPDATE reception SET state = $1, study_uid = '', series_uid = '', sop_uid = ''",
        VERDICT_STATE_TOMBSTONED,
    )
    verdicts = await writer.index_chunk([record, index_record(order=7, sop="7")])
    assert [verdict.state for verdict in verdicts] == [VERDICT_STATE_TOMBSTONED, VERDICT_STATE_INDEXED]
    assert (await pool.fetchrow("SELECT instance_count FROM study"))["instance_count"] == 1


async def test_a_new_reception_of_a_tombstoned_instance_is_indexed(pool, writer):
    await writer.index_chunk([index_record(order=1)])
    await pool.execute("DELETE FROM study")
    await pool.execute("UPDATE reception SET state = $1", VERDICT_STATE_TOMBSTONED)
    [verdict] = await writer.index_chunk([index_record(order=2)])
    assert verdict.state == VERDICT_STATE_INDEXED
    assert [row async for row in differences(pool)] == []


async def test_a_refused_reception_is_a_programming_error(pool, writer):
    record = index_record()
    record.reception.outcome = OUTCOME_REFUSED
    with pytest.raises(ValueError, match="refused"):
        await writer.index_chunk([record])
    assert await pool.fetch("SELECT 1 FROM reception") == []


async def test_an_unanswered_reception_may_be_indexed(writer):
    record = index_record()
    record.reception.outcome = OUTCOME_UNANSWERED
    [verdict] = await writer.index_chunk([record])
    assert verdict.state == VERDICT_STATE_INDEXED


async def test_an_empty_chunk_is_nothing(pool, writer):
    assert await writer.index_chunk([]) == []


async def test_more_than_a_transaction_takes_is_split(pool, writer):
    records = [index_record(order=n, sop=f"1.{n}") for n in range(1100)]
    verdicts = await writer.index_chunk(records)
    assert len(verdicts) == 1100
    study = await pool.fetchrow("SELECT instance_count, version FROM study")
    assert study["instance_count"] == 1100
    assert study["version"] == 5


async def test_documents_beyond_the_bound_of_a_statement_are_split(pool, writer, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_BYTES", 10_000)
    await writer.index_chunk([index_record(order=n, sop=f"1.{n}", padding=4000) for n in range(7)])
    study = await pool.fetchrow("SELECT instance_count, version FROM study")
    assert tuple(study) == (7, 4)


async def test_instances_without_a_patient_id_have_no_patient_row(pool, writer):
    await writer.index_chunk([index_record(patient_id=None)])
    assert await pool.fetch("SELECT 1 FROM patient") == []
    study = await pool.fetchrow("SELECT patient_pk, patient_name FROM study")
    assert tuple(study) == (None, "Doe^Jane")


async def test_the_issuer_distinguishes_patients(pool, writer):
    await writer.index_chunk(
        [
            index_record(order=1, study="1.1", series="1.1.1", sop="9.1", issuer="H1", patient_name="A"),
            index_record(order=2, study="1.2", series="1.2.1", sop="9.2", issuer="H2", patient_name="B"),
        ]
    )
    rows = await pool.fetch("SELECT patient_id, issuer, name FROM patient ORDER BY issuer")
    assert [tuple(row) for row in rows] == [("100", "H1", "A"), ("100", "H2", "B")]
    assert await findings(pool) == set()


@pytest.mark.parametrize("orders", [(1, 2), (2, 1)])
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_study_of_two_patients_keeps_the_first_and_is_flagged(pool, writer, orders, at_once):
    patients = {1: "100", 2: "200"}
    records = [index_record(order=n, sop=f"1.{n}", patient_id=patients[n]) for n in orders]
    for chunk in [records] if at_once else [[record] for record in records]:
        await writer.index_chunk(chunk)
    study = await pool.fetchrow(
        "SELECT s.patient_id, p.patient_id AS linked FROM study AS s JOIN patient AS p ON p.id = s.patient_pk"
    )
    assert tuple(study) == ("100", "100")
    assert [row["patient_id"] for row in await pool.fetch("SELECT patient_id FROM patient")] == ["100"]
    assert await findings(pool) == {(FindingKind.PATIENT_MIX.value, "1.2.3")}
    assert (await pool.fetchrow("SELECT instance_count FROM study"))["instance_count"] == 2


async def test_another_issuer_or_none_in_one_study_is_another_patient(pool, writer):
    await writer.index_chunk([index_record(order=1, sop="1.1", issuer="H1")])
    await writer.index_chunk([index_record(order=2, sop="1.2", issuer=None)])
    assert await findings(pool) == {(FindingKind.PATIENT_MIX.value, "1.2.3")}
    assert (await pool.fetchrow("SELECT patient_issuer FROM study"))["patient_issuer"] == "H1"


async def test_a_changed_study_date_and_accession_is_flagged_and_the_first_stays(pool, writer):
    await writer.index_chunk([index_record(order=1, sop="1.1")])
    await writer.index_chunk(
        [index_record(order=2, sop="1.2", study_date=date(2026, 2, 2), accession_number="B2")]
    )
    study = await pool.fetchrow("SELECT study_date, accession_number FROM study")
    assert tuple(study) == (date(2026, 1, 2), "A1")
    assert await findings(pool) == {(FindingKind.STUDY_ATTRIBUTES_DIFFER.value, "1.2.3")}


async def test_a_patient_that_its_only_study_leaves_goes_but_one_with_another_study_stays(pool, writer):
    await writer.index_chunk([index_record(order=5, study="1.1", sop="1.5", patient_id="200")])
    await writer.index_chunk(
        [
            index_record(
                order=6, study="1.2", series="7", sop="1.6", patient_id="200", patient_name="Other^Name"
            )
        ]
    )
    await writer.index_chunk([index_record(order=1, study="1.1", sop="1.1", patient_id="100")])
    rows = await pool.fetch("SELECT patient_id, name FROM patient ORDER BY patient_id")
    assert [tuple(row) for row in rows] == [("100", "Doe^Jane"), ("200", "Other^Name")]


async def test_a_series_uid_in_two_studies_is_stored_in_both_and_flagged(pool, writer):
    await writer.index_chunk([index_record(order=1, study="1.1", series="5", sop="9.1")])
    await writer.index_chunk([index_record(order=2, study="1.2", series="5", sop="9.2")])
    assert len(await pool.fetch("SELECT 1 FROM series WHERE series_uid = '5'")) == 2
    kind = FindingKind.SERIES_IN_STUDIES.value
    assert await findings(pool) == {(kind, "1.1"), (kind, "1.2")}


async def test_a_sop_uid_in_two_studies_is_stored_in_both_and_flagged(pool, writer):
    await writer.index_chunk([index_record(order=1, study="1.1", series="5", sop="9.1")])
    [verdict] = await writer.index_chunk([index_record(order=2, study="1.2", series="6", sop="9.1")])
    assert verdict.state == VERDICT_STATE_INDEXED
    assert len(await pool.fetch("SELECT 1 FROM instance WHERE sop_uid = '9.1'")) == 2
    kind = FindingKind.INSTANCE_IN_STUDIES.value
    assert await findings(pool) == {(kind, "1.1"), (kind, "1.2")}


HOSTILE = ["nul\0in\0side", "\0", "lone \ud800 surrogate", "x" * 5000, "ü" * 5000, "\U0001f600" * 3000]


@pytest.mark.parametrize("text", HOSTILE, ids=["nul", "only-nul", "surrogate", "long", "long-2", "long-4"])
async def test_text_that_postgresql_cannot_store_never_fails_a_chunk(pool, writer, text):
    verdicts = await writer.index_chunk(
        [
            index_record(
                order=1,
                patient_id=text,
                issuer=text,
                patient_name=text,
                accession_number=text,
                study_description=text,
                series_description=text,
                modality=text,
                requests=((text, text), (None, text)),
            ),
            index_record(order=2, sop="1.2"),
        ]
    )
    assert {verdict.state for verdict in verdicts} == {VERDICT_STATE_INDEXED}
    study = await pool.fetchrow("SELECT * FROM study")
    assert "\0" not in f"{study}"
    assert study["instance_count"] == 2


async def test_two_long_patient_ids_with_one_beginning_stay_two_patients(pool, writer):
    for n in (1, 2):
        await writer.index_chunk(
            [
                index_record(
                    order=n, study=f"1.{n}", series=f"2.{n}", sop=f"3.{n}", patient_id="x" * 3000 + f"{n}"
                )
            ]
        )
    assert len(await pool.fetch("SELECT 1 FROM patient")) == 2


async def test_numbers_beyond_the_columns_range_are_left_out(pool, writer):
    record = index_record(series_number=456115117112105110101)
    instance = dataclasses.replace(
        record.facts.instance, instance_number=2**31, rows=-(2**40), number_of_frames=2**31 - 1
    )
    await writer.index_chunk(
        [dataclasses.replace(record, facts=dataclasses.replace(record.facts, instance=instance))]
    )
    row = await pool.fetchrow("SELECT instance_number, rows, number_of_frames FROM instance")
    assert tuple(row) == (None, None, 2**31 - 1)
    assert (await pool.fetchrow("SELECT series_number FROM series"))["series_number"] is None
