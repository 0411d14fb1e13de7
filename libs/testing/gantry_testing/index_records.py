"""Records for the index, built without a DICOM object: only what a test says differs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime, time

from gantry.reception.v1.reception_pb2 import (
    CHANNEL_STOW,
    LANE_LIVE,
    OUTCOME_ACKNOWLEDGED,
    Reception,
    Source,
)
from gantry_dicom.facts import (
    BASE_MARK,
    SLOT_MARK,
    Facts,
    InstanceFacts,
    PatientFacts,
    SeriesFacts,
    StudyFacts,
)
from gantry_index.records import InstanceRecord

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
# A ULID's form; `order` puts records of a test in their order of reception.
_BATCH = "01JGANTRY{:017d}"


def index_record(
    *,
    order: int = 0,
    study: str = "1.2.3",
    series: str = "1.2.3.1",
    sop: str = "1.2.3.1.1",
    content: str = "",
    partition: str = "main",
    modality: str | None = "CT",
    sop_class: str = CT,
    patient_id: str | None = "100",
    issuer: str | None = None,
    patient_name: str | None = "Doe^Jane",
    birth_date: date | None = date(1970, 1, 2),
    study_date: date | None = date(2026, 1, 2),
    accession_number: str | None = "A1",
    study_description: str | None = "Study",
    series_description: str | None = "Series",
    series_number: int | None = 1,
    instance_number: int | None = 1,
    transfer_syntax: str = EXPLICIT_VR_LITTLE_ENDIAN,
    meta_length: int = 350,
    requests: tuple[tuple[str | None, str | None], ...] = (),
    padding: int = 0,
    traceparent: str = "",
) -> InstanceRecord:
    """Return a record; ``content`` stands for the bytes of the data set beyond the UIDs.

    Documents are JSON with the level's UID and the values given, so that a test sees whose
    they are; the metadata object repeats all and grows by ``padding`` bytes.
    """
    batch = _BATCH.format(order)
    key = f"o/{partition}/{order % 256:02x}/{batch}/00000001"
    levels: Mapping[str, object] = {
        "patient": [patient_id, issuer, patient_name, str(birth_date)],
        "study": [study, str(study_date), accession_number, study_description],
        "series": [series, modality, series_number, series_description, requests],
        "instance": [sop, sop_class, instance_number, transfer_syntax],
    }
    identity = json.dumps([levels, content]).encode()
    return InstanceRecord(
        partition=partition,
        reception=Reception(
            object_key=key,
            batch=batch,
            ordinal=1,
            store_id="main",
            size=meta_length + 1000,
            meta_length=meta_length,
            data_set_digest=hashlib.sha256(identity).digest(),
            meta_digest=hashlib.sha256(batch.encode()).digest(),
            transfer_syntax_uid=transfer_syntax,
            sop_class_uid=sop_class,
            study_instance_uid=study,
            series_instance_uid=series,
            sop_instance_uid=sop,
            outcome=OUTCOME_ACKNOWLEDGED,
            source=Source(channel=CHANNEL_STOW, principal="test"),
            received_at_us=1_700_000_000_000_000 + order * 1_000_000,
            lane=LANE_LIVE,
        ),
        facts=Facts(
            patient=PatientFacts(patient_id, issuer, patient_name, birth_date, "O"),
            study=StudyFacts(
                study_instance_uid=study,
                study_date=study_date,
                study_time=time(10, 30),
                accession_number=accession_number,
                issuer_of_accession_number=None,
                referring_physician_name="Referrer^R",
                study_id="S1",
                study_description=study_description,
                timezone_offset=None,
                document=_document(levels, ("patient", "study"), slots=4),
                extra=_run({"extra": levels["study"]}),
            ),
            series=SeriesFacts(
                series_instance_uid=series,
                modality=modality,
                series_number=series_number,
                series_description=series_description,
                body_part_examined="CHEST",
                performed_procedure_step_start_date=study_date,
                performed_procedure_step_start_time=time(10, 31),
                requests=requests,
                document=_document(levels, ("series",), slots=3),
                extra=_run({"extra": levels["series"]}),
            ),
            instance=InstanceFacts(
                sop_class_uid=sop_class,
                sop_instance_uid=sop,
                instance_number=instance_number,
                content_date_time=datetime(2026, 1, 2, 10, 32),  # noqa: DTZ001 - DICOM's local time
                rows=512,
                columns=512,
                bits_allocated=16,
                number_of_frames=None,
                document=_document({**levels, "content": content}, ("instance", "content"), slots=2),
                metadata=_metadata(levels, content, padding),
            ),
            encoder_version=1,
        ),
        frame_table=meta_length.to_bytes(8, "big"),
        traceparent=traceparent,
    )


def _document(values: Mapping[str, object], names: tuple[str, ...], slots: int) -> bytes:
    return _run({name: values[name] for name in names}) + SLOT_MARK * slots


def _run(values: Mapping[str, object]) -> bytes:
    return b"".join(f"{json.dumps(name)}:{json.dumps(value)},".encode() for name, value in values.items())


def _metadata(levels: Mapping[str, object], content: str, padding: int) -> bytes:
    text = json.dumps({**levels, "content": content, "padding": "x" * padding, "bulk": "@/frames"})
    return text.encode().replace(b"@", BASE_MARK)
