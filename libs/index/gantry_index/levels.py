"""What the index keeps of a patient, a study and a series: values that fit PostgreSQL's columns.

A value that cannot be stored never stops an instance: U+0000 is removed, lone surrogates
become question marks, text beyond what an index entry holds is cut (the documents keep it
whole), and a number outside the column's range is left out.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date, time

import orjson
from gantry_dicom.facts import Facts, PatientFacts, SeriesFacts, StudyFacts
from gantry_dicom.names import fold_name

# An entry of a B-tree holds 2,704 bytes; a character takes up to four.
_KEY_LENGTH = 256
_NAME_LENGTH = 600
_TEXT_LENGTH = 4096
_INT32 = 2**31
_LENGTHS = struct.Struct(">5I")


@dataclass(frozen=True, slots=True)
class StudyLevel:
    """Columns and documents of a study with its patient."""

    patient_id: str | None
    patient_issuer: str | None
    patient_name: str | None
    patient_name_norm: str | None
    patient_birth_date: date | None
    patient_sex: str | None
    study_date: date | None
    study_time: time | None
    accession_number: str | None
    accession_issuer: str | None
    referring_name_norm: str | None
    study_id: str | None
    study_description: str | None
    document: bytes
    extra: bytes

    @property
    def patient(self) -> tuple[str | None, str]:
        """Patient ID and issuer: the issuer qualifies the ID (PS3.3 C.7.1.1)."""
        return self.patient_id, self.patient_issuer or ""

    @property
    def identifying(self) -> tuple[object, ...]:
        """What ought to be the same in every instance of a study."""
        return self.study_date, self.accession_number, self.accession_issuer, self.study_id


@dataclass(frozen=True, slots=True)
class SeriesLevel:
    """Columns and documents of a series."""

    modality: str | None
    series_number: int | None
    series_description: str | None
    body_part_examined: str | None
    pps_start_date: date | None
    pps_start_time: time | None
    scheduled_step_ids: tuple[str, ...]
    requested_procedure_ids: tuple[str, ...]
    document: bytes
    extra: bytes


_DOCUMENTS = ("document", "extra")
_STUDY_COLUMNS = [field.name for field in fields(StudyLevel) if field.name not in _DOCUMENTS]
_SERIES_COLUMNS = [field.name for field in fields(SeriesLevel) if field.name not in _DOCUMENTS]


@dataclass(frozen=True, slots=True)
class Levels:
    """The levels above one instance."""

    study: StudyLevel
    series: SeriesLevel


class LevelReader:
    """Makes ``Levels`` of ``Facts``; the instances of a chunk mostly share them, so it remembers."""

    def __init__(self) -> None:
        self._studies: dict[tuple[PatientFacts, StudyFacts], StudyLevel] = {}
        self._series: dict[SeriesFacts, SeriesLevel] = {}
        self._pairs: dict[tuple[int, int], Levels] = {}

    def read(self, facts: Facts) -> Levels:
        """Return the levels above the instance of ``facts``."""
        study_key = (facts.patient, facts.study)
        study = self._studies.get(study_key)
        if study is None:
            study = self._studies[study_key] = study_level(facts.patient, facts.study)
        series = self._series.get(facts.series)
        if series is None:
            series = self._series[facts.series] = series_level(facts.series)
        pair = (id(study), id(series))  # both live as long as this reader
        levels = self._pairs.get(pair)
        if levels is None:
            levels = self._pairs[pair] = Levels(study, series)
        return levels


def study_level(patient: PatientFacts, study: StudyFacts) -> StudyLevel:
    """Return what is stored of a study with its patient."""
    return StudyLevel(
        patient_id=identifier(patient.patient_id),
        patient_issuer=identifier(patient.issuer_of_patient_id),
        patient_name=storable(patient.patient_name),
        patient_name_norm=_folded(patient.patient_name),
        patient_birth_date=patient.patient_birth_date,
        patient_sex=storable(patient.patient_sex, _KEY_LENGTH),
        study_date=study.study_date,
        study_time=_local(study.study_time),
        accession_number=identifier(study.accession_number),
        accession_issuer=identifier(study.issuer_of_accession_number),
        referring_name_norm=_folded(study.referring_physician_name),
        study_id=storable(study.study_id),
        study_description=storable(study.study_description),
        document=study.document,
        extra=study.extra,
    )


def series_level(series: SeriesFacts) -> SeriesLevel:
    """Return what is stored of a series."""
    return SeriesLevel(
        modality=storable(series.modality, _KEY_LENGTH),
        series_number=integer(series.series_number),
        series_description=storable(series.series_description),
        body_part_examined=storable(series.body_part_examined),
        pps_start_date=series.performed_procedure_step_start_date,
        pps_start_time=_local(series.performed_procedure_step_start_time),
        scheduled_step_ids=_distinct(step for step, _ in series.requests),
        requested_procedure_ids=_distinct(procedure for _, procedure in series.requests),
        document=series.document,
        extra=series.extra,
    )


def storable(text: str | None, limit: int = _TEXT_LENGTH) -> str | None:
    """Return ``text`` as PostgreSQL can keep it, cut at ``limit`` characters; ``None`` for nothing."""
    if text is None:
        return None
    if "\0" in text:
        text = text.replace("\0", "")
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text[:limit] or None


def identifier(text: str | None) -> str | None:
    """Return an identifier as it can be kept and indexed; long ones end with a digest, so none collide."""
    kept = storable(text, 1 << 20)
    if kept is None or len(kept) <= _KEY_LENGTH:
        return kept
    digest = hashlib.sha256(kept.encode()).hexdigest()
    return f"{kept[: _KEY_LENGTH - len(digest)]}{digest}"


def integer(value: int | None) -> int | None:
    """Return ``value`` unless a PostgreSQL integer cannot hold it."""
    return value if value is not None and -_INT32 <= value < _INT32 else None


def pack(levels: Levels) -> bytes:
    """Serialise ``levels`` for a segment."""
    study, series = levels.study, levels.series
    columns = {
        "study": {name: getattr(study, name) for name in _STUDY_COLUMNS},
        "series": {name: getattr(series, name) for name in _SERIES_COLUMNS},
    }
    parts = (
        # Not by orjson's own dates: it writes 10,000 microseconds as ".10000".
        orjson.dumps(columns, default=_iso, option=orjson.OPT_PASSTHROUGH_DATETIME),
        *(study.document, study.extra, series.document, series.extra),
    )
    return _LENGTHS.pack(*map(len, parts)) + b"".join(parts)


def unpack(data: bytes) -> Levels:
    """Return what ``pack`` was given."""
    lengths = _LENGTHS.unpack_from(data)
    parts, offset = [], _LENGTHS.size
    for length in lengths:
        parts.append(data[offset : offset + length])
        offset += length
    columns = orjson.loads(parts[0])
    study, series = columns["study"], columns["series"]
    study |= {"document": parts[1], "extra": parts[2]}
    series |= {"document": parts[3], "extra": parts[4]}
    for name in ("patient_birth_date", "study_date"):
        study[name] = study[name] and date.fromisoformat(study[name])
    study["study_time"] = study["study_time"] and time.fromisoformat(study["study_time"])
    series["pps_start_date"] = series["pps_start_date"] and date.fromisoformat(series["pps_start_date"])
    series["pps_start_time"] = series["pps_start_time"] and time.fromisoformat(series["pps_start_time"])
    for name in ("scheduled_step_ids", "requested_procedure_ids"):
        series[name] = tuple(series[name])
    return Levels(StudyLevel(**study), SeriesLevel(**series))


def _iso(value: date | time) -> str:
    return value.isoformat()


def _folded(name: str | None) -> str | None:
    return storable(fold_name(name), _NAME_LENGTH) if name is not None else None


def _local(value: time | None) -> time | None:
    return value.replace(tzinfo=None) if value is not None else None


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    kept = (storable(value, _KEY_LENGTH) for value in values)
    return tuple(dict.fromkeys(value for value in kept if value is not None))
