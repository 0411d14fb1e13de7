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
    # What was decided about the instance could not be done to it: it is shown as it was.
    NOT_AMENDED = "not-amended"

    # What reading everything again finds (``STORAGE_FINDINGS``); ``object_key`` is the object's, or
    # the manifest's.
    # The bytes that were acknowledged are not there.
    OBJECT_MISSING = "object-missing"
    # They are others than the manifest says.
    OBJECT_DAMAGED = "object-damaged"
    # An object of a batch that its manifest does not name.
    OBJECT_UNLISTED = "object-unlisted"
    # A manifest that cannot be read or is not sealed by us: what it names was not examined.
    BAD_MANIFEST = "bad-manifest"
    # Whole, and without a verdict in the index.
    NOT_INDEXED = "not-indexed"
    # The index says something else of the object than its manifest, or shows it without a right to.
    INDEX_DIFFERS = "index-differs"
    # The index has an object that neither manifest nor bucket know.
    INDEX_STALE = "index-stale"
    # The numbers of a study are not those of a recount.
    AGGREGATES_DIFFER = "aggregates-differ"


STORAGE_FINDINGS = frozenset(
    {
        *(FindingKind.OBJECT_MISSING, FindingKind.OBJECT_DAMAGED, FindingKind.OBJECT_UNLISTED),
        *(FindingKind.BAD_MANIFEST, FindingKind.NOT_INDEXED, FindingKind.INDEX_DIFFERS),
        *(FindingKind.INDEX_STALE, FindingKind.AGGREGATES_DIFFER),
    }
)


@dataclass(frozen=True, slots=True)
class CorrectedRecord:
    """What corrections made of an instance.

    Without a header key they left its object as it was. The UIDs are those that it was received
    with, where it is shown under others; the record's reception has those.
    """

    # Scope and revision of each correction.
    taken: tuple[tuple[str, int], ...]
    header_key: str | None = None
    size: int | None = None
    frame_table: bytes | None = None
    received_study_uid: str | None = None
    received_series_uid: str | None = None


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """One instance to be indexed: its reception (a manifest line) and what was derived."""

    partition: str
    reception: Reception
    facts: Facts
    # Packed frame table (gantry_dicom.frames), offsets absolute in the stored object.
    frame_table: bytes
    traceparent: str = ""
    correction: CorrectedRecord | None = None
    # Which state of the partition's corrections it was derived under (``corrections``).
    corrections_seen: int = 0


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """Where one instance lies: enough to answer WADO-RS, C-MOVE and C-GET without a parse.

    ``object_key``, ``size`` and ``frame_table`` are of the instance as it is shown: of a corrected
    one, those that ``gantry_objectstore.corrected`` reads. The received object is told apart.
    """

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
    # Of the object as it was received, whose File Meta is as long as that of a corrected one.
    received_key: str
    received_size: int
    data_set_digest: bytes
