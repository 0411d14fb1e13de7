"""Which column answers which match key, as data.

Aliases in every search: ``s`` study, ``e`` series, ``i`` instance, ``p`` patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from gantry_dicom.query import Level, TagPath
from gantry_dicom.query_keys import tag_of


class Kind(Enum):
    """How values of a column compare."""

    TEXT = "text"
    IDENTIFIER = "identifier"  # as gantry_index.levels.identifier keeps it
    TEXTS = "text[]"
    NAME = "name"  # folded by gantry_dicom.names
    DATE = "date"
    TIME = "time"
    INTEGER = "integer"


@dataclass(frozen=True, slots=True)
class Column:
    """A column, with the alias of its table, how its values compare, and whether an index finds them."""

    sql: str
    kind: Kind
    is_indexed: bool = False

    @property
    def alias(self) -> str:
        """The table the column belongs to."""
        return self.sql.partition(".")[0]


# Columns that few rows share a value of, with an index (migrations 0001 and 0003). The others are
# matched while an ordered index is walked.
_INDEXED = frozenset(
    (
        *("p.patient_id", "p.name_norm", "p.birth_date"),
        *("s.patient_id", "s.patient_name_norm", "s.patient_birth_date", "s.accession_number"),
        *("s.referring_name_norm", "s.study_id", "s.study_description", "s.study_uid", "s.sop_classes"),
        *("e.series_uid", "e.series_description", "e.scheduled_step_ids", "e.requested_procedure_ids"),
        "i.sop_uid",
    )
)


def _columns(table: Mapping[str, tuple[str, Kind]]) -> dict[TagPath, Column]:
    return {
        tuple(tag_of(keyword) for keyword in dotted.split(".")): Column(sql, kind, sql in _INDEXED)
        for dotted, (sql, kind) in table.items()
    }


_PATIENT = _columns(
    {
        "PatientID": ("p.patient_id", Kind.IDENTIFIER),
        "IssuerOfPatientID": ("p.issuer", Kind.IDENTIFIER),
        "PatientName": ("p.name_norm", Kind.NAME),
        "PatientBirthDate": ("p.birth_date", Kind.DATE),
        "PatientSex": ("p.sex", Kind.TEXT),
    }
)

_STUDY = _columns(
    {
        "PatientID": ("s.patient_id", Kind.IDENTIFIER),
        "IssuerOfPatientID": ("s.patient_issuer", Kind.IDENTIFIER),
        "PatientName": ("s.patient_name_norm", Kind.NAME),
        "PatientBirthDate": ("s.patient_birth_date", Kind.DATE),
        "PatientSex": ("s.patient_sex", Kind.TEXT),
        "StudyDate": ("s.study_date", Kind.DATE),
        "StudyTime": ("s.study_time", Kind.TIME),
        "AccessionNumber": ("s.accession_number", Kind.IDENTIFIER),
        "IssuerOfAccessionNumberSequence.LocalNamespaceEntityID": ("s.accession_issuer", Kind.IDENTIFIER),
        "ModalitiesInStudy": ("s.modalities", Kind.TEXTS),
        "SOPClassesInStudy": ("s.sop_classes", Kind.TEXTS),
        "ReferringPhysicianName": ("s.referring_name_norm", Kind.NAME),
        "StudyDescription": ("s.study_description", Kind.TEXT),
        "StudyInstanceUID": ("s.study_uid", Kind.TEXT),
        "StudyID": ("s.study_id", Kind.TEXT),
        "NumberOfStudyRelatedSeries": ("s.series_count", Kind.INTEGER),
        "NumberOfStudyRelatedInstances": ("s.instance_count", Kind.INTEGER),
    }
)

_SERIES = _STUDY | _columns(
    {
        "Modality": ("e.modality", Kind.TEXT),
        "SeriesDescription": ("e.series_description", Kind.TEXT),
        "BodyPartExamined": ("e.body_part_examined", Kind.TEXT),
        "SeriesInstanceUID": ("e.series_uid", Kind.TEXT),
        "SeriesNumber": ("e.series_number", Kind.INTEGER),
        "PerformedProcedureStepStartDate": ("e.pps_start_date", Kind.DATE),
        "PerformedProcedureStepStartTime": ("e.pps_start_time", Kind.TIME),
        "RequestAttributesSequence.ScheduledProcedureStepID": ("e.scheduled_step_ids", Kind.TEXTS),
        "RequestAttributesSequence.RequestedProcedureID": ("e.requested_procedure_ids", Kind.TEXTS),
        "NumberOfSeriesRelatedInstances": ("e.instance_count", Kind.INTEGER),
    }
)

_INSTANCE = _SERIES | _columns(
    {
        "SOPClassUID": ("i.sop_class_uid", Kind.TEXT),
        "SOPInstanceUID": ("i.sop_uid", Kind.TEXT),
        "AvailableTransferSyntaxUID": ("i.transfer_syntax_uid", Kind.TEXT),
        "InstanceNumber": ("i.instance_number", Kind.INTEGER),
        "Rows": ("i.rows", Kind.INTEGER),
        "Columns": ("i.columns", Kind.INTEGER),
        "BitsAllocated": ("i.bits_allocated", Kind.INTEGER),
        "NumberOfFrames": ("i.number_of_frames", Kind.INTEGER),
    }
)

COLUMNS: Mapping[Level, Mapping[TagPath, Column]] = {
    Level.PATIENT: _PATIENT,
    Level.STUDY: _STUDY,
    Level.SERIES: _SERIES,
    Level.INSTANCE: _INSTANCE,
}
