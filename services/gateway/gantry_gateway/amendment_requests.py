"""Amendments out of what administrators ask for: JSON objects, checked before anything is permanent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gantry.amendment.v1.amendment_pb2 import (
    AMENDMENT_KIND_CORRECT,
    AMENDMENT_KIND_HIDE,
    AMENDMENT_KIND_MERGE,
    AMENDMENT_KIND_MOVE,
    AMENDMENT_KIND_REJECT,
    AMENDMENT_KIND_RESTORE,
    AMENDMENT_KIND_UNDO,
    Amendment,
    Code,
    PatientIdentity,
)
from gantry_dicom.correction_rules import (
    ISSUER_OF_PATIENT_ID,
    PATIENT_ID,
    Correction,
    read_correction,
    tag_named,
)
from gantry_dicom.errors import BadRequest
from gantry_dicom.query import Level
from gantry_dicom.rejection_notes import REASONS
from gantry_dicom.uids import is_valid_uid

STUDY_KINDS = {
    "correct": AMENDMENT_KIND_CORRECT,
    "move": AMENDMENT_KIND_MOVE,
    "reject": AMENDMENT_KIND_REJECT,
    "hide": AMENDMENT_KIND_HIDE,
}
PATIENT_KINDS = {"correct": AMENDMENT_KIND_CORRECT, "merge": AMENDMENT_KIND_MERGE}

_PLACE = {"kind", "series", "instance", "reason"}
_STUDY_MEMBERS = {
    "correct": _PLACE | {"attributes", "remove"},
    "move": _PLACE | {"target", "attributes", "remove"},
    "reject": _PLACE | {"code"},
    "hide": _PLACE,
}
_PATIENT = {"kind", "patient", "reason", "attributes", "remove"}
_PATIENT_MEMBERS = {"correct": _PATIENT, "merge": _PATIENT | {"into"}}
_UNDONE_BY = {
    AMENDMENT_KIND_HIDE: AMENDMENT_KIND_RESTORE,
    AMENDMENT_KIND_CORRECT: AMENDMENT_KIND_UNDO,
    AMENDMENT_KIND_MERGE: AMENDMENT_KIND_UNDO,
    AMENDMENT_KIND_MOVE: AMENDMENT_KIND_UNDO,
    AMENDMENT_KIND_REJECT: AMENDMENT_KIND_UNDO,
}
# LO (PS3.5 6.2).
_LONGEST_IDENTIFIER = 64


def study_amendment(study_uid: str, body: Mapping[str, object]) -> Amendment:
    """Return what ``body`` wants of a study, without its receptions. Raises ``BadRequest``."""
    kind = _kind(body, _STUDY_MEMBERS)
    series_uid, sop_uid = _uid(body, "series"), _uid(body, "instance")
    if sop_uid and not series_uid:
        raise BadRequest("an instance is named with its series")
    amendment = Amendment(
        study_instance_uid=study_uid,
        kind=STUDY_KINDS[kind],
        series_instance_uid=series_uid,
        sop_instance_uid=sop_uid,
    )
    if kind == "correct":
        level = Level.INSTANCE if sop_uid else Level.SERIES if series_uid else Level.STUDY
        _set(amendment, _correction(body, level))
    elif kind == "move":
        amendment.target_study_instance_uid = _uid(body, "target")
        if amendment.target_study_instance_uid in ("", study_uid):
            raise BadRequest("target is the UID of another study")
        if body.get("attributes") or body.get("remove"):
            # Those of the patient and study that it goes to.
            _set(amendment, _correction(body, Level.STUDY))
    elif kind == "reject":
        code = str(body.get("code", ""))
        if code not in REASONS:
            raise BadRequest(f"code is one of {', '.join(sorted(REASONS))} (PS3.16 CID 7011)")
        amendment.rejection.CopyFrom(Code(value=code, scheme="DCM", meaning=REASONS[code]))
    return amendment


def patient_amendment(body: Mapping[str, object]) -> Amendment:
    """Return what ``body`` wants of a patient. Raises ``BadRequest``."""
    kind = _kind(body, _PATIENT_MEMBERS)
    patient = patient_in(body.get("patient"), "patient")
    amendment = Amendment(kind=PATIENT_KINDS[kind], patient=patient)
    if kind == "correct":
        _set(amendment, _correction(body, Level.PATIENT))
        return amendment
    into = patient_in(body.get("into"), "into")
    if into == patient:
        raise BadRequest("into is another patient")
    amendment.into.CopyFrom(into)
    identity = {"PatientID": into.patient_id, "IssuerOfPatientID": into.issuer_of_patient_id}
    _set(amendment, _correction(body, Level.PATIENT, identity))
    return amendment


def undoing(amendment: Amendment) -> Amendment:
    """Return what undoes an amendment. Raises ``BadRequest`` for one that cannot be undone."""
    kind = _UNDONE_BY.get(amendment.kind)
    if kind is None:
        raise BadRequest("an amendment of this kind is not undone")
    undo = Amendment(
        partition=amendment.partition,
        study_instance_uid=amendment.study_instance_uid,
        kind=kind,
        undoes=amendment.revision,
    )
    if amendment.HasField("patient"):
        undo.patient.CopyFrom(amendment.patient)
    return undo


def patient_in(value: object, name: str) -> PatientIdentity:
    """Return the patient of ``{"id": ..., "issuer": ...}``. Raises ``BadRequest``."""
    if not isinstance(value, dict) or set(value) - {"id", "issuer"}:
        raise BadRequest(f"{name} is an object with id and, if there is one, issuer")
    patient_id, issuer = _identifier(value.get("id"), name), _identifier(value.get("issuer", ""), name)
    if not patient_id:
        raise BadRequest(f"{name} has an id")
    return PatientIdentity(patient_id=patient_id, issuer_of_patient_id=issuer)


def _kind(body: Mapping[str, object], members: Mapping[str, set[str]]) -> str:
    kind = body.get("kind")
    if not isinstance(kind, str) or kind not in members:
        raise BadRequest(f"kind is one of {', '.join(members)}")
    if set(body) - members[kind]:
        raise BadRequest(f"the members of {kind} are {', '.join(sorted(members[kind]))}")
    return kind


def _correction(
    body: Mapping[str, object],
    level: Level,
    identity: Mapping[str, str] | None = None,
) -> Correction:
    attributes: Any = body.get("attributes", {})
    removed: Any = body.get("remove", [])
    if not isinstance(attributes, dict) or not isinstance(removed, list):
        raise BadRequest("attributes is an object and remove a list")
    if not all(isinstance(name, str) for name in removed):
        raise BadRequest("remove is a list of keywords or tags")
    if identity and {tag_named(name) for name in attributes} & {PATIENT_ID, ISSUER_OF_PATIENT_ID}:
        raise BadRequest("into names the identifier that stays")
    return read_correction({**attributes, **(identity or {})}, removed, level, identity=bool(identity))


def _set(amendment: Amendment, correction: Correction) -> None:
    amendment.attributes = correction.document
    amendment.removed_tags.extend(sorted(correction.removed))


def _uid(body: Mapping[str, object], name: str) -> str:
    value = body.get(name, "")
    if value in ("", None):
        return ""
    if not isinstance(value, str) or not is_valid_uid(value):
        raise BadRequest(f"{name} is a UID")
    return value


def _identifier(value: object, name: str) -> str:
    text = value.strip() if isinstance(value, str) else None
    if text is None or len(text) > _LONGEST_IDENTIFIER or "\\" in text or not text.isprintable():
        raise BadRequest(f"{name} has an id and an issuer of at most {_LONGEST_IDENTIFIER} characters")
    return text
