"""What the index keeps of an instance, made from its header (see ``facts`` for the contract).

The encoder's JSON fragments are the one source: documents are cut from them and typed values are
read back from them, so that an answer and a search can never disagree about a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import pairwise
from typing import Any

import orjson

from gantry_dicom.attributes import (
    AVAILABLE_TRANSFER_SYNTAX_UID,
    INSTANCE,
    SERIES,
    STUDY,
    LevelAttributes,
)
from gantry_dicom.dictionary import implicit_vr
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
from gantry_dicom.fragments import (
    BULK_MARK,
    CHARACTER_SET_FRAGMENT,
    Fragments,
    bulk_data_base,
    close_object,
    close_run,
    fragment,
)
from gantry_dicom.header import DataSetHeader
from gantry_dicom.json_encoder import ENCODER_VERSION, EncoderMemo, encode_elements
from gantry_dicom.query_values import date_of, time_bounds

_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018
_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E
_REQUEST_ATTRIBUTES_SEQUENCE = 0x00400275


@dataclass(frozen=True, slots=True)
class _Layout:
    """A level's document: for each run between slot marks its tags; ``tags`` are all it reads."""

    runs: tuple[tuple[int, ...], ...]
    required: dict[int, bytes]
    extra: tuple[int, ...]
    tags: tuple[int, ...]


def _layout(level: LevelAttributes, slots: Sequence[Sequence[str]]) -> _Layout:
    firsts = [int(slot[0], 16) for slot in slots]
    bounds = [0, *firsts, 1 << 32]
    default = sorted(level.default)
    runs = tuple(tuple(tag for tag in default if low <= tag < high) for low, high in pairwise(bounds))
    required = {tag: fragment(tag, implicit_vr(tag), b"") for tag in level.required}
    extra = tuple(sorted(level.optional))
    return _Layout(runs, required, extra, tuple(sorted((*default, *extra))))


_STUDY_LAYOUT = _layout(STUDY, STUDY_SLOTS)
_SERIES_LAYOUT = _layout(SERIES, SERIES_SLOTS)
_INSTANCE_LAYOUT = _layout(INSTANCE, INSTANCE_SLOTS)


def derive(
    header: DataSetHeader,
    *,
    sop_class_uid: str,
    study_instance_uid: str,
    series_instance_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    number_of_frames: int | None,
    memo: EncoderMemo | None = None,
) -> Facts:
    """Return what the index keeps of an instance; the UIDs are the gate's, trimmed and legal.

    ``memo`` is shared by the instances of a chunk. Raises ``Malformed`` when the header cannot
    be read at all.
    """
    encoded = encode_elements(header, memo)
    fragments = encoded.fragments
    base = bulk_data_base(study_instance_uid, series_instance_uid, sop_instance_uid)
    uids = {_STUDY_INSTANCE_UID: study_instance_uid, _SERIES_INSTANCE_UID: series_instance_uid}
    metadata = close_object(close_run(_with_assigned(fragments, uids), base, declared=encoded.declared))
    # The identifying UIDs as the gate read them; the metadata keep what the object says.
    fragments |= {
        _SOP_CLASS_UID: _uid_fragment(_SOP_CLASS_UID, sop_class_uid),
        _SOP_INSTANCE_UID: _uid_fragment(_SOP_INSTANCE_UID, sop_instance_uid),
        AVAILABLE_TRANSFER_SYNTAX_UID: _uid_fragment(AVAILABLE_TRANSFER_SYNTAX_UID, transfer_syntax_uid),
        _STUDY_INSTANCE_UID: _uid_fragment(_STUDY_INSTANCE_UID, study_instance_uid),
        _SERIES_INSTANCE_UID: _uid_fragment(_SERIES_INSTANCE_UID, series_instance_uid),
    }
    patient, study = _study(fragments, study_instance_uid, base, memo)
    series = _series(fragments, series_instance_uid, base, memo)
    instance = InstanceFacts(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        instance_number=_integer(fragments, 0x00200013),
        content_date_time=_date_time(fragments, 0x00080023, 0x00080033),
        rows=_integer(fragments, 0x00280010),
        columns=_integer(fragments, 0x00280011),
        bits_allocated=_integer(fragments, 0x00280100),
        number_of_frames=number_of_frames,
        document=_document(_INSTANCE_LAYOUT, fragments, base, labelled=False),
        metadata=metadata,
    )
    return Facts(patient, study, series, instance, ENCODER_VERSION, encoded.oddities)


def _with_assigned(fragments: Fragments, uids: Mapping[int, str]) -> Fragments:
    """Return the fragments with the UIDs that were assigned because the object names none."""
    missing = {
        tag: _uid_fragment(tag, uid) for tag, uid in uids.items() if b'"Value"' not in fragments.get(tag, b"")
    }
    return dict(sorted({**fragments, **missing}.items())) if missing else fragments


def _study(
    fragments: Fragments, study_instance_uid: str, base: bytes, memo: EncoderMemo | None
) -> tuple[PatientFacts, StudyFacts]:
    key = tuple(map(fragments.get, _STUDY_LAYOUT.tags))
    known = None if memo is None else memo.studies.get(key)
    if known is not None:
        return known
    patient = PatientFacts(
        patient_id=_text(fragments, 0x00100020),
        issuer_of_patient_id=_text(fragments, 0x00100021),
        patient_name=_person_name(fragments, 0x00100010),
        patient_birth_date=_date(fragments, 0x00100030),
        patient_sex=_text(fragments, 0x00100040),
    )
    document, extra = _level_documents(_STUDY_LAYOUT, fragments, base)
    study = StudyFacts(
        study_instance_uid=study_instance_uid,
        study_date=_date(fragments, 0x00080020),
        study_time=_time(fragments, 0x00080030),
        accession_number=_text(fragments, 0x00080050),
        issuer_of_accession_number=_issuer(fragments, 0x00080051),
        referring_physician_name=_person_name(fragments, 0x00080090),
        study_id=_text(fragments, 0x00200010),
        study_description=_text(fragments, 0x00081030),
        timezone_offset=_text(fragments, 0x00080201),
        document=document,
        extra=extra,
    )
    if memo is not None and _is_shareable(key):
        memo.studies[key] = (patient, study)
    return patient, study


def _series(
    fragments: Fragments, series_instance_uid: str, base: bytes, memo: EncoderMemo | None
) -> SeriesFacts:
    key = tuple(map(fragments.get, _SERIES_LAYOUT.tags))
    known = None if memo is None else memo.series.get(key)
    if known is not None:
        return known
    document, extra = _level_documents(_SERIES_LAYOUT, fragments, base)
    series = SeriesFacts(
        series_instance_uid=series_instance_uid,
        modality=_text(fragments, 0x00080060),
        series_number=_integer(fragments, 0x00200011),
        series_description=_text(fragments, 0x0008103E),
        body_part_examined=_text(fragments, 0x00180015),
        performed_procedure_step_start_date=_date(fragments, 0x00400244),
        performed_procedure_step_start_time=_time(fragments, 0x00400245),
        requests=_requests(fragments),
        document=document,
        extra=extra,
    )
    if memo is not None and _is_shareable(key):
        memo.series[key] = series
    return series


def _is_shareable(key: Sequence[bytes | None]) -> bool:
    """Whether a level's values are the same for each instance: no bulk data URI in them."""
    return not any(found is not None and BULK_MARK in found for found in key)


def _level_documents(layout: _Layout, fragments: Fragments, base: bytes) -> tuple[bytes, bytes]:
    extra = b"".join([fragments[tag] for tag in layout.extra if tag in fragments])
    document = _document(layout, fragments, base, labelled=not extra.isascii())
    return document, extra.replace(BULK_MARK, base)


def _document(layout: _Layout, fragments: Fragments, base: bytes, *, labelled: bool) -> bytes:
    """Return a level's document with its slot marks.

    It carries Specific Character Set when it has text beyond ASCII, or is ``labelled`` because
    the attributes that may be added to it have.
    """
    empty = layout.required
    runs = [b"".join([fragments.get(tag) or empty.get(tag, b"") for tag in tags]) for tags in layout.runs]
    document = SLOT_MARK.join(runs)
    if labelled or not document.isascii():
        document = CHARACTER_SET_FRAGMENT + document
    return document.replace(BULK_MARK, base)


def _uid_fragment(tag: int, uid: str) -> bytes:
    return fragment(tag, "UI", orjson.dumps([uid]))


def _values(fragments: Fragments, tag: int) -> list[Any]:
    """Return the Value array of a fragment; empty when there is none."""
    found = fragments.get(tag)
    if found is None or b'"Value":' not in found:
        return []
    attribute = orjson.loads(b"{" + found[:-1].replace(BULK_MARK, b"") + b"}")[f"{tag:08X}"]
    values = attribute.get("Value")
    return values if isinstance(values, list) else []


def _first(values: Sequence[object]) -> object:
    return values[0] if values else None


def _as_text(value: object) -> str | None:
    """Return a value as text without insignificant spaces; ``None`` when nothing is left."""
    if value is None or isinstance(value, dict | list):
        return None
    return str(value).strip(" \0") or None


def _text(fragments: Fragments, tag: int) -> str | None:
    return _as_text(_first(_values(fragments, tag)))


def _person_name(fragments: Fragments, tag: int) -> str | None:
    name = _first(_values(fragments, tag))
    if not isinstance(name, dict):
        return _as_text(name)
    groups = [name.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
    return "=".join(groups).rstrip("= ") or None


def _integer(fragments: Fragments, tag: int) -> int | None:
    value = _first(_values(fragments, tag))
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


def _date(fragments: Fragments, tag: int) -> date | None:
    text = _text(fragments, tag)
    try:
        return None if text is None else date_of(text)
    except BadRequest:
        return None


def _time(fragments: Fragments, tag: int) -> time | None:
    text = _text(fragments, tag)
    try:
        return None if text is None else time_bounds(text)[0]
    except BadRequest:
        return None


def _date_time(fragments: Fragments, date_tag: int, time_tag: int) -> datetime | None:
    day = _date(fragments, date_tag)
    return None if day is None else datetime.combine(day, _time(fragments, time_tag) or time())


def _item_text(item: object, tag: str) -> str | None:
    attribute = item.get(tag) if isinstance(item, dict) else None
    return _as_text(_first(attribute.get("Value") or [])) if isinstance(attribute, dict) else None


def _issuer(fragments: Fragments, tag: int) -> str | None:
    """Return the local namespace or universal entity ID of an issuer sequence (PS3.3 10.6.1)."""
    item = _first(_values(fragments, tag))
    return _item_text(item, "00400031") or _item_text(item, "00400032")


def _requests(fragments: Fragments) -> tuple[tuple[str | None, str | None], ...]:
    pairs = (
        (_item_text(item, "00400009"), _item_text(item, "00401001"))
        for item in _values(fragments, _REQUEST_ATTRIBUTES_SEQUENCE)
    )
    return tuple(pair for pair in pairs if pair != (None, None))
