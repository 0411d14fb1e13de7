"""The values that go into and come out of the index."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.facts import Facts


class ConflictPolicy(Enum):
    """What happens when an instance comes again with other bytes; a setting of its source."""

    # The reception with the smallest order key stays.
    KEEP_FIRST = "keep-first"
    # A reception under this policy takes the place of every earlier one.
    REPLACE = "replace"


class FindingKind(Enum):
    """What a human should look at (column ``finding.kind``)."""

    # The reception ``object_key`` lost against other bytes under the same UIDs.
    INSTANCE_CONFLICT = "instance-conflict"
    # The SOP Instance UID is in use in another study of the partition.
    INSTANCE_IN_STUDIES = "instance-in-studies"
    # The Series Instance UID is in use in another study of the partition.
    SERIES_IN_STUDIES = "series-in-studies"
    # Instances of the study name different patients (Patient ID with its issuer).
    PATIENT_MIX = "patient-mix"
    # Instances of the study differ in study date, accession number or study ID.
    STUDY_ATTRIBUTES_DIFFER = "study-attributes-differ"


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """One instance to be indexed: its reception (a manifest line) and what was derived."""

    partition: str
    reception: Reception
    facts: Facts
    # Packed frame table (gantry_dicom.frames), offsets absolute in the stored object.
    frame_table: bytes
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """Where one instance lies: enough to answer WADO-RS, C-MOVE and C-GET without a parse."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class_uid: str
    instance_number: int | None
    transfer_syntax_uid: str
    store_id: str
    object_key: str
    size: int
    meta_length: int
    frame_table: bytes
    rows: int | None
    columns: int | None
    number_of_frames: int | None
    data_set_digest: bytes
