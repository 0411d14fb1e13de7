"""What the index keeps of one instance, as plain values (produced by ``derive.py``).

Text is decoded and trimmed as PS3.5 6.2 says; a typed value that does not parse is
``None`` while the original text stays in the JSON documents (a wrong date must neither
block storage nor be altered).

JSON documents are DICOM JSON (PS3.18 Annex F) objects as UTF-8 bytes, ordered by tag, with
two kinds of marks that cannot occur in JSON text, because JSON escapes control characters:

* ``BASE_MARK`` stands for the public base URL of the partition's DICOMweb service;
* ``SLOT_MARK`` stands at each place where the reader splices in attributes that are not
  the level's own (see ``STUDY_SLOTS``, ``SERIES_SLOTS`` and ``INSTANCE_SLOTS``). A document
  has exactly as many marks as its level has slots. The comma rules: every run of
  attributes between marks is either empty or ends with a comma, and what is spliced in at
  a slot ends with a comma too; ``assemble`` joins the runs and closes the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time

BASE_MARK = b"\x1a"
SLOT_MARK = b"\x1c"

# Dynamic attributes a slot, by the tag order that PS3.18 F.2.2 asks for.
STUDY_SLOTS = (
    ("00080054", "00080056"),  # Retrieve AE Title, Instance Availability
    ("00080061", "00080062"),  # Modalities in Study, SOP Classes in Study
    ("00081190",),  # Retrieve URL
    ("00201206", "00201208"),  # Number of Study Related Series, Instances
)
SERIES_SLOTS = (
    ("00080054", "00080056"),
    ("00081190",),
    ("00201209",),  # Number of Series Related Instances
)
INSTANCE_SLOTS = (
    ("00080054", "00080056"),
    ("00081190",),
)


def assemble(document: bytes, slots: Sequence[bytes]) -> bytes:
    """Return the JSON object of ``document`` with ``slots`` spliced in at its marks.

    Each slot is empty or a run of ``"GGGGEEEE":{...},`` fragments ending with a comma.
    Raises ``ValueError`` when the number of marks differs from the number of slots.
    """
    runs = document.split(SLOT_MARK)
    parts = [runs[0]]
    for slot, run in zip(slots, runs[1:], strict=True):
        parts.append(slot)
        parts.append(run)
    body = b"".join(parts)
    return b"{" + body.removesuffix(b",") + b"}"


@dataclass(frozen=True, slots=True)
class PatientFacts:
    """Patient IE (PS3.3 C.7.1.1)."""

    patient_id: str | None
    issuer_of_patient_id: str | None
    patient_name: str | None
    patient_birth_date: date | None
    patient_sex: str | None


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """Study IE with its patient's attributes, as QIDO-RS answers a study."""

    study_instance_uid: str
    study_date: date | None
    study_time: time | None
    accession_number: str | None
    issuer_of_accession_number: str | None
    referring_physician_name: str | None
    study_id: str | None
    study_description: str | None
    timezone_offset: str | None
    # Answer without includefield, and the level's other attributes; see the module docstring.
    # `extra` has no marks and is a run of fragments ending with a comma, or empty.
    document: bytes
    extra: bytes


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """Series IE."""

    series_instance_uid: str
    modality: str | None
    series_number: int | None
    series_description: str | None
    body_part_examined: str | None
    performed_procedure_step_start_date: date | None
    performed_procedure_step_start_time: time | None
    # (Scheduled Procedure Step ID, Requested Procedure ID) of Request Attributes Sequence.
    requests: tuple[tuple[str | None, str | None], ...]
    document: bytes
    extra: bytes


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """The instance itself."""

    sop_class_uid: str
    sop_instance_uid: str
    instance_number: int | None
    content_date_time: datetime | None
    rows: int | None
    columns: int | None
    bits_allocated: int | None
    number_of_frames: int | None
    # QIDO-RS answer of the instance level (with marks), and the complete metadata object:
    # a whole JSON object without slot marks, with BASE_MARK in front of each bulk data URI.
    document: bytes
    metadata: bytes


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the index keeps of one instance."""

    patient: PatientFacts
    study: StudyFacts
    series: SeriesFacts
    instance: InstanceFacts
    encoder_version: int
    # Elements that could not be encoded as they are, by tag path, for the log and for QC.
    oddities: tuple[str, ...] = ()
