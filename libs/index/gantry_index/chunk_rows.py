"""Turns the decisions on a chunk into the rows that are written: pure, no SQL."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from gantry.index.v1.index_pb2 import VERDICT_STATE_INDEXED

from gantry_index.arrivals import StoredObject
from gantry_index.decisions import Decided, Decisions, Finding, Placement
from gantry_index.events import chunk_events
from gantry_index.levels import StudyLevel, integer
from gantry_index.records import FindingKind, InstanceRecord
from gantry_index.segments import build_segment
from gantry_index.statements import SERIES_VALUES, STUDY_VALUES

StudyKey = tuple[str, str]
"""Partition and Study Instance UID."""

PlaceKey = tuple[str, str, str]
"""Partition, Study Instance UID and Series Instance UID."""

Row = tuple[Any, ...]


class KnownLevels(NamedTuple):
    """Study and series row of one place, as ``statements.KNOWN_LEVELS`` returns it."""

    partition: str
    study_uid: str
    series_uid: str
    study_pk: int | None
    study_order_key: str | None
    patient_pk: int | None
    patient_id: str | None
    patient_issuer: str | None
    study_date: date | None
    accession_number: str | None
    accession_issuer: str | None
    study_id: str | None
    modalities: list[str] | None
    series_pk: int | None
    series_order_key: str | None
    modality: str | None
    # Studies of the partition that have a series of this UID too.
    elsewhere: list[str]


@dataclass(slots=True)
class ChunkRows:
    """The groups of ``statements.WRITE_CHUNK``, and what must be done after it."""

    patients: dict[Row, Row] = field(default_factory=dict)
    studies: list[Row] = field(default_factory=list)
    study_classes: list[Row] = field(default_factory=list)
    study_modalities: list[Row] = field(default_factory=list)
    series: list[Row] = field(default_factory=list)
    objects: list[Row] = field(default_factory=list)
    redecided: list[Row] = field(default_factory=list)
    findings: list[Row] = field(default_factory=list)
    settled: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    receptions: int = 0
    new_instances: int = 0
    # Positions in `studies` of those whose numbers cannot be had by adding up.
    recounted: set[int] = field(default_factory=set)
    # Those of them whose values are others now although their first instance is not.
    renewed: set[int] = field(default_factory=set)
    # Patient rows that a study has left.
    left_patients: set[int] = field(default_factory=set)

    def groups(self) -> tuple[list[Row], ...]:
        """Return the rows in the order of ``statements.CHUNK_GROUPS``."""
        patients = list(self.patients.values())
        return (
            *(patients, self.studies, self.study_classes, self.study_modalities, self.series),
            *(self.objects, self.redecided, self.findings, self.settled, self.events),
        )


def chunk_rows(decisions: Decisions, known: Mapping[PlaceKey, KnownLevels]) -> ChunkRows:
    """Return everything that the chunk writes."""
    rows = ChunkRows(receptions=len(decisions.decided))
    rows.redecided = list(decisions.redecided)
    rows.settled = sorted(decisions.settled)
    rows.new_instances = sum(placement.is_new for placement in decisions.placements)
    studies: dict[StudyKey, list[Placement]] = defaultdict(list)
    for placement in decisions.placements:
        studies[placement.source.identity.partition, placement.source.identity.study_uid].append(placement)
    for key in sorted(studies):
        _add_study(rows, key, studies[key], known)
    rows.objects += [
        (
            *_object(decided.arrival.record, decided.arrival.stored),
            *(True, *_decision(decided), *_NOWHERE),
            *_correction(decided.arrival.record),
        )
        for decided in decisions.decided
        if decided.state != VERDICT_STATE_INDEXED
    ]
    rows.findings = sorted(decisions.findings | _level_findings(decisions, known))
    rows.events = [(payload,) for payload in chunk_events(decisions)]
    return rows


def _add_study(
    rows: ChunkRows, key: StudyKey, placements: Sequence[Placement], known: Mapping[PlaceKey, KnownLevels]
) -> None:
    partition, study_uid = key
    number = len(rows.studies)
    all_series: dict[str, list[Placement]] = defaultdict(list)
    for placement in placements:
        all_series[placement.source.series_uid].append(placement)
    before = known[partition, study_uid, placements[0].source.series_uid]
    first = min(placements, key=_order)
    level = first.source.levels.study
    is_first = before.study_order_key is None or first.stored.order_key < before.study_order_key
    if is_first:
        if level.patient_id is not None:
            _add_patient(rows, partition, first)
        if before.patient_pk is not None and level.patient != _known_patient(before):
            rows.left_patients.add(before.patient_pk)
    if not all(placement.is_new for placement in placements):
        rows.recounted.add(number)
    if any(placement.is_renewed for placement in placements):
        rows.renewed.add(number)

    modalities = set(before.modalities or ()) if is_first else set()
    new_series = 0
    for series_uid in sorted(all_series):
        there = known[partition, study_uid, series_uid]
        first_modality = min(all_series[series_uid], key=_order).source.levels.series.modality
        _add_series(rows, number, series_uid, all_series[series_uid], there)
        if there.series_pk is None:
            new_series += 1
            if first_modality is not None and first_modality not in (before.modalities or ()):
                modalities.add(first_modality)
        elif first_modality != there.modality:
            # Its first instance may say otherwise now, and a modality may have gone: only a
            # recount can take one away.
            rows.recounted.add(number)

    rows.study_modalities += [(number, modality) for modality in sorted(modalities)]
    classes = {placement.source.record.reception.sop_class_uid for placement in placements}
    rows.study_classes += [(number, sop_class) for sop_class in sorted(classes)]
    rows.studies.append(
        (
            *(number, partition, study_uid, first.stored.order_key),
            *(getattr(level, name) for name in STUDY_VALUES),
            *((level.document, level.extra) if is_first else (None, None)),
            *(new_series, sum(placement.is_new for placement in placements)),
            min(placement.stored.received_at for placement in placements),
        )
    )


def _add_series(
    rows: ChunkRows, study: int, series_uid: str, placements: Sequence[Placement], there: KnownLevels
) -> None:
    number = len(rows.series)
    first = min(placements, key=_order)
    level = first.source.levels.series
    is_first = there.series_order_key is None or first.stored.order_key < there.series_order_key
    segment = build_segment(
        [(placement.source.record.facts.instance, placement.source.levels) for placement in placements]
    )
    rows.series.append(
        (
            *(number, study, series_uid, first.stored.order_key),
            *(_series_value(level, name) for name in SERIES_VALUES),
            *((level.document, level.extra) if is_first else (None, None)),
            sum(placement.is_new for placement in placements),
            min(placement.source.record.facts.encoder_version for placement in placements),
            _corrections(placement.source.record for placement in placements),
            *(len(placements), segment.metadata, segment.documents, segment.levels),
        )
    )
    for placement, pointers in zip(placements, segment.pointers, strict=True):
        facts, decided = placement.source.record.facts.instance, placement.decided
        moment = facts.content_date_time
        rows.objects.append(
            (
                *_object(placement.source.record, placement.stored),
                *((False, *_KNOWN) if decided is None else (True, *_decision(decided))),
                *(number, integer(facts.instance_number), moment and moment.replace(tzinfo=None)),
                *(integer(facts.rows), integer(facts.columns), integer(facts.bits_allocated)),
                integer(facts.number_of_frames),
                *pointers,
                *_correction(placement.source.record),
            )
        )


def _add_patient(rows: ChunkRows, partition: str, first: Placement) -> None:
    level = first.source.levels.study
    row = patient_row(partition, first.stored.order_key, level)
    key, order_key = row[:3], row[3]
    if key not in rows.patients or order_key < rows.patients[key][3]:
        rows.patients[key] = row


def patient_row(partition: str, order_key: str, level: StudyLevel) -> Row:
    """Return the row of ``statements.PATIENTS`` for the patient of ``level``."""
    return (
        *(partition, level.patient_id, level.patient_issuer or "", order_key),
        *(level.patient_name, level.patient_name_norm, level.patient_birth_date, level.patient_sex),
    )


# The columns of an object that no instance row points at, and of one whose reception is there.
_NOWHERE = (None,) * 13
_KNOWN = (None,) * 4


def _object(record: InstanceRecord, stored: StoredObject) -> Row:
    reception = record.reception
    return (
        *(stored.object_key, record.partition, stored.store_id, stored.order_key),
        *(reception.study_instance_uid, reception.series_instance_uid, reception.sop_instance_uid),
        *(reception.sop_class_uid, reception.transfer_syntax_uid, stored.size, stored.meta_length),
        *(reception.data_set_digest, stored.frame_table, stored.received_at),
    )


def _correction(record: InstanceRecord) -> Row:
    made = record.correction
    if made is None:
        return (None,) * 5
    received = made.received_study_uid, made.received_series_uid
    return made.header_key, made.size, made.frame_table, *received


def _corrections(records: Iterable[InstanceRecord]) -> str:
    """Return a digest of the corrections that records went through; empty without any."""
    taken = sorted({one for record in records if record.correction for one in record.correction.taken})
    return hashlib.sha256(repr(taken).encode()).hexdigest()[:16] if taken else ""


def _decision(decided: Decided) -> Row:
    arrival = decided.arrival
    source = arrival.record.reception.source.SerializeToString()
    return decided.state, decided.survivor_key, arrival.candidate.replaces, source


def _level_findings(decisions: Decisions, known: Mapping[PlaceKey, KnownLevels]) -> set[Finding]:
    findings: set[Finding] = set()
    patients: dict[StudyKey, set[object]] = defaultdict(set)
    attributes: dict[StudyKey, set[object]] = defaultdict(set)
    # The arrivals of a study mostly share their levels: one of each is enough.
    distinct = {
        (arrival.identity.partition, arrival.identity.study_uid, id(arrival.levels.study)): arrival
        for arrival in decisions.fresh
    }
    for (partition, study_uid, _), arrival in distinct.items():
        key = (partition, study_uid)
        patients[key].add(arrival.levels.study.patient)
        attributes[key].add(arrival.levels.study.identifying)
        there = known[partition, study_uid, arrival.series_uid]
        if there.study_pk is not None:
            patients[key].add(_known_patient(there))
            attributes[key].add(
                (there.study_date, there.accession_number, there.accession_issuer, there.study_id)
            )
    findings |= _differing(patients, FindingKind.PATIENT_MIX)
    findings |= _differing(attributes, FindingKind.STUDY_ATTRIBUTES_DIFFER)

    series: dict[tuple[str, str], set[str]] = defaultdict(set)
    for placement in decisions.placements:
        partition, study_uid, _ = placement.source.identity
        places = series[partition, placement.source.series_uid]
        places.add(study_uid)
        places.update(known[partition, study_uid, placement.source.series_uid].elsewhere)
    for (partition, series_uid), study_uids in series.items():
        if len(study_uids) > 1:
            kind = FindingKind.SERIES_IN_STUDIES.value
            findings |= {Finding(partition, kind, uid, series_uid, "", "") for uid in study_uids}
    return findings


def _differing(values: Mapping[StudyKey, set[object]], kind: FindingKind) -> set[Finding]:
    return {
        Finding(partition, kind.value, study_uid, "", "", "")
        for (partition, study_uid), seen in values.items()
        if len(seen) > 1
    }


def _known_patient(there: KnownLevels) -> tuple[str | None, str]:
    return there.patient_id, there.patient_issuer or ""


def _series_value(level: object, name: str) -> object:
    value = getattr(level, name)
    return json.dumps(value) if isinstance(value, tuple) else value


def _order(placement: Placement) -> str:
    return placement.stored.order_key
