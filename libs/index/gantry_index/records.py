"""The values that go into and come out of the index."""

from __future__ import annotations

from dataclasses import dataclass

from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.facts import Facts


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
