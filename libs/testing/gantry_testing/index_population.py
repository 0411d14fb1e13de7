"""Studies for tests of the index, without a byte of DICOM: facts to write, attributes to compare with.

A population is made of plain values. It gives the records that ``IndexWriter`` takes, and for
each level the entities that a search must find, in the order in which it must find them, with
the attributes that ``gantry_dicom.matching`` compares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import orjson
from gantry.reception.v1.reception_pb2 import OUTCOME_ACKNOWLEDGED, Reception
from gantry_dicom.attributes import LEVELS
from gantry_dicom.errors import BadRequest
from gantry_dicom.facts import (
    INSTANCE_SLOTS,
    SERIES_SLOTS,
    SLOT_MARK,
    STUDY_SLOTS,
    Facts,
    InstanceFacts,
    PatientFacts,
    SeriesFacts,
    StudyFacts,
)
from gantry_dicom.keys import order_key
from gantry_dicom.query import Level, TagPath
from gantry_dicom.query_keys import tag_of
from gantry_dicom.query_values import date_of, time_bounds
from gantry_index.records import InstanceRecord
from pydicom.datadict import dictionary_VR

BATCH = "01JDTESTBATCH0000000000000"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

Values = Mapping[str, str]
"""Values by keyword, or dotted keywords for an attribute in a sequence."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance; ``ordinal`` is its place in the order of reception."""

    uid: str
    ordinal: int
    values: Values
    sop_class_uid: str = CT_IMAGE


@dataclass(frozen=True, slots=True)
class Series:
    """A series with its instances."""

    uid: str
    values: Values
    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """A study, with its patient's values among its own."""

    uid: str
    values: Values
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """An entity as a search must see it: its UIDs from the study down, and its attributes."""

    uids: tuple[str, ...]
    attributes: Mapping[TagPath, tuple[str, ...]]


def records_of(studies: Iterable[Study], partition: str = "main") -> list[InstanceRecord]:
    """Return the records of every instance, in the order of reception."""
    records = [
        _record(partition, study, series, instance)
        for study in studies
        for series in study.series
        for instance in series.instances
    ]
    return sorted(records, key=lambda record: record.reception.ordinal)


def found_at(level: Level, studies: Sequence[Study]) -> list[Found]:
    """Return the entities of a level in the order of answers (see ``gantry_index.search``)."""
    found = []
    for study in _newest_first(studies):
        of_study = _attributes(study.values) | _study_aggregates(study)
        if level is Level.STUDY:
            found.append(Found((study.uid,), of_study))
            continue
        for series in sorted(study.series, key=lambda s: _numbered(s.values.get("SeriesNumber"), s.uid)):
            of_series = of_study | _attributes(series.values) | _series_aggregates(series)
            if level is Level.SERIES:
                found.append(Found((study.uid, series.uid), of_series))
                continue
            for one in sorted(
                series.instances, key=lambda i: _numbered(i.values.get("InstanceNumber"), i.uid)
            ):
                own = _attributes({**one.values, **_identity(one)})
                found.append(Found((study.uid, series.uid, one.uid), of_series | own))
    return found


def _newest_first(studies: Sequence[Study]) -> list[Study]:
    by_key = sorted(studies, key=_first_key, reverse=True)
    dated = [study for study in by_key if _parsed(date_of, study.values.get("StudyDate")) is not None]
    dated.sort(key=lambda study: date_of(study.values["StudyDate"]), reverse=True)
    return dated + [study for study in by_key if study not in dated]


def _first_key(study: Study) -> str:
    return min(order_key(BATCH, one.ordinal) for series in study.series for one in series.instances)


def _instance_place(one: Instance) -> tuple[bool, int, bytes]:
    return _numbered(one.values.get("InstanceNumber"), one.uid)


def _numbered(number: str | None, uid: str) -> tuple[bool, int, bytes]:
    """Return a sort key: by number, those without one last, then by UID as bytes."""
    return not number, int(number or 0), uid.encode()


def _attributes(values: Values) -> dict[TagPath, tuple[str, ...]]:
    return {path_of(dotted): (value,) for dotted, value in values.items() if value}


def path_of(dotted: str) -> TagPath:
    """Return the tags of dotted keywords."""
    return tuple(tag_of(keyword) for keyword in dotted.split("."))


def _study_aggregates(study: Study) -> dict[TagPath, tuple[str, ...]]:
    modalities = {series.values["Modality"] for series in study.series if series.values.get("Modality")}
    classes = {one.sop_class_uid for series in study.series for one in series.instances}
    return {
        path_of("StudyInstanceUID"): (study.uid,),
        path_of("ModalitiesInStudy"): tuple(sorted(modalities)),
        path_of("SOPClassesInStudy"): tuple(sorted(classes)),
        path_of("NumberOfStudyRelatedSeries"): (str(len(study.series)),),
        path_of("NumberOfStudyRelatedInstances"): (str(sum(len(s.instances) for s in study.series)),),
    }


def _series_aggregates(series: Series) -> dict[TagPath, tuple[str, ...]]:
    return {
        path_of("SeriesInstanceUID"): (series.uid,),
        path_of("NumberOfSeriesRelatedInstances"): (str(len(series.instances)),),
    }


def _identity(one: Instance) -> Values:
    return {
        "SOPClassUID": one.sop_class_uid,
        "SOPInstanceUID": one.uid,
        "AvailableTransferSyntaxUID": EXPLICIT_LITTLE_ENDIAN,
    }


def _record(partition: str, study: Study, series: Series, one: Instance) -> InstanceRecord:
    reception = Reception(
        object_key=f"o/{partition}/00/{BATCH}/{one.ordinal}",
        batch=BATCH,
        ordinal=one.ordinal,
        store_id="store",
        size=1000 + one.ordinal,
        meta_length=300,
        data_set_digest=hashlib.sha256(f"{study.uid} {one.uid}".encode()).digest(),
        transfer_syntax_uid=EXPLICIT_LITTLE_ENDIAN,
        sop_class_uid=one.sop_class_uid,
        study_instance_uid=study.uid,
        series_instance_uid=series.uid,
        sop_instance_uid=one.uid,
        outcome=OUTCOME_ACKNOWLEDGED,
        received_at_us=1_700_000_000_000_000 + one.ordinal,
    )
    return InstanceRecord(partition, reception, _facts(study, series, one), b"frames")


def _facts(study: Study, series: Series, one: Instance) -> Facts:
    of_study, of_series, own = study.values, series.values, {**one.values, **_identity(one)}
    whole = {**of_study, **of_series, **own}
    whole |= {"StudyInstanceUID": study.uid, "SeriesInstanceUID": series.uid}
    return Facts(
        patient=PatientFacts(
            patient_id=of_study.get("PatientID"),
            issuer_of_patient_id=of_study.get("IssuerOfPatientID"),
            patient_name=of_study.get("PatientName"),
            patient_birth_date=_parsed(date_of, of_study.get("PatientBirthDate")),
            patient_sex=of_study.get("PatientSex"),
        ),
        study=StudyFacts(
            study_instance_uid=study.uid,
            study_date=_parsed(date_of, of_study.get("StudyDate")),
            study_time=_parsed(lambda text: time_bounds(text)[0], of_study.get("StudyTime")),
            accession_number=of_study.get("AccessionNumber"),
            issuer_of_accession_number=of_study.get("IssuerOfAccessionNumberSequence.LocalNamespaceEntityID"),
            referring_physician_name=of_study.get("ReferringPhysicianName"),
            study_id=of_study.get("StudyID"),
            study_description=of_study.get("StudyDescription"),
            timezone_offset=None,
            document=_document(Level.STUDY, {**of_study, "StudyInstanceUID": study.uid}, STUDY_SLOTS),
            extra=_extra(Level.STUDY, of_study),
        ),
        series=SeriesFacts(
            series_instance_uid=series.uid,
            modality=of_series.get("Modality"),
            series_number=_parsed(int, of_series.get("SeriesNumber")),
            series_description=of_series.get("SeriesDescription"),
            body_part_examined=of_series.get("BodyPartExamined"),
            performed_procedure_step_start_date=_parsed(
                date_of, of_series.get("PerformedProcedureStepStartDate")
            ),
            performed_procedure_step_start_time=_parsed(
                lambda text: time_bounds(text)[0], of_series.get("PerformedProcedureStepStartTime")
            ),
            requests=(
                (
                    of_series.get("RequestAttributesSequence.ScheduledProcedureStepID"),
                    of_series.get("RequestAttributesSequence.RequestedProcedureID"),
                ),
            ),
            document=_document(Level.SERIES, {**of_series, "SeriesInstanceUID": series.uid}, SERIES_SLOTS),
            extra=_extra(Level.SERIES, of_series),
        ),
        instance=InstanceFacts(
            sop_class_uid=one.sop_class_uid,
            sop_instance_uid=one.uid,
            instance_number=_parsed(int, own.get("InstanceNumber")),
            content_date_time=None,
            rows=_parsed(int, own.get("Rows")),
            columns=_parsed(int, own.get("Columns")),
            bits_allocated=_parsed(int, own.get("BitsAllocated")),
            number_of_frames=_parsed(int, own.get("NumberOfFrames")),
            document=_document(Level.INSTANCE, own, INSTANCE_SLOTS),
            metadata=b"{" + _run(_elements(whole)).removesuffix(b",") + b"}",
        ),
        encoder_version=1,
    )


def _parsed(read: Callable[[str], T], text: str | None) -> T | None:
    try:
        return read(text) if text else None
    except (BadRequest, ValueError):
        return None


def _elements(values: Values) -> dict[int, bytes]:
    """Return the JSON elements of values; attributes of one sequence stand in one item."""
    whole: dict[int, dict[str, object]] = {}
    for dotted, value in values.items():
        tag, *inner = path_of(dotted)
        if not inner:
            whole[tag] = _element(tag, value)
            continue
        sequence = whole.setdefault(tag, {"vr": "SQ", "Value": [{}]})
        sequence["Value"][0][f"{inner[0]:08X}"] = _element(inner[0], value)  # type: ignore[index]
    return {tag: b'"%08X":%s,' % (tag, orjson.dumps(element)) for tag, element in whole.items()}


def _element(tag: int, value: str) -> dict[str, object]:
    vr = dictionary_VR(tag)
    return {"vr": vr, "Value": [_json_value(vr, value)]} if value else {"vr": vr}


def _json_value(vr: str, value: str) -> object:
    if vr == "PN":
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), value.split("="), strict=False)
        return {group: text for group, text in groups if text}
    return int(value) if vr in ("IS", "US") else value


def _run(elements: Mapping[int, bytes]) -> bytes:
    return b"".join(elements[tag] for tag in sorted(elements))


def _document(level: Level, values: Values, slots: Sequence[tuple[str, ...]]) -> bytes:
    elements = {t: element for t, element in _elements(values).items() if t in LEVELS[level].default}
    return _run(elements | {int(slot[0], 16): SLOT_MARK for slot in slots})


def _extra(level: Level, values: Values) -> bytes:
    return _run({t: e for t, e in _elements(values).items() if t not in LEVELS[level].default})
