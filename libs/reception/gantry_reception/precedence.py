"""Which corrections an instance goes through, and in what order: pure.

First those of its study, as they are numbered, whether they name the study, its series or the
instance; a move goes on with those of the study that it leads to. Then those of the patient that
this comes to, and a merge goes on with those of the patient that stays. None is taken twice, so
there is always an end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from gantry.amendment.v1.amendment_pb2 import Amendment
from gantry_dicom.correction_rules import ISSUER_OF_PATIENT_ID, PATIENT_ID
from gantry_objectstore.amendments import scope_of
from gantry_objectstore.keys import amendment_scope, patient_scope

Standing = Mapping[str, Sequence[Amendment]]
"""The corrections, merges and moves that stand, by scope and in the order of their revisions."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What an instance is: where it lies, and whose it is. Without a Patient ID it is nobody's."""

    study_uid: str
    series_uid: str
    sop_uid: str
    patient_id: str | None
    issuer_of_patient_id: str = ""


@dataclass(frozen=True, slots=True)
class Course:
    """The corrections of an instance in their order, and what it is after them.

    ``missing`` is a scope that has to be looked up before more can be said.
    """

    amendments: tuple[Amendment, ...]
    shown: Identity
    missing: str | None = None

    @property
    def taken(self) -> tuple[tuple[str, int], ...]:
        """Scope and revision of each correction."""
        return tuple((scope_of(each), each.revision) for each in self.amendments)


def course_of(received: Identity, standing: Standing) -> Course:
    """Return which of the corrections in ``standing`` the instance ``received`` goes through."""
    shown = received
    taken: list[Amendment] = []
    seen: set[tuple[str, int]] = set()
    for scope_for in (_study_scope, _patient_scope):
        while (scope := scope_for(shown)) is not None:
            if scope not in standing:
                return Course(tuple(taken), shown, scope)
            rest = [
                each
                for each in standing[scope]
                if (scope, each.revision) not in seen and _is_about(each, shown)
            ]
            if not rest:
                break
            taken.append(rest[0])
            seen.add((scope, rest[0].revision))
            shown = _after(shown, rest[0])
    return Course(tuple(taken), shown)


def _study_scope(identity: Identity) -> str | None:
    return amendment_scope(identity.study_uid)


def _patient_scope(identity: Identity) -> str | None:
    if identity.patient_id is None:
        return None
    return patient_scope(identity.patient_id, identity.issuer_of_patient_id)


def _is_about(amendment: Amendment, identity: Identity) -> bool:
    return amendment.series_instance_uid in ("", identity.series_uid) and amendment.sop_instance_uid in (
        "",
        identity.sop_uid,
    )


def _after(identity: Identity, amendment: Amendment) -> Identity:
    """Return what an instance is after a correction."""
    document = orjson.loads(amendment.attributes) if amendment.attributes else {}
    removed = set(amendment.removed_tags)
    patient_id, issuer = identity.patient_id, identity.issuer_of_patient_id
    if PATIENT_ID in removed or f"{PATIENT_ID:08X}" in document:
        patient_id = _text(document, PATIENT_ID) or None
    if ISSUER_OF_PATIENT_ID in removed or f"{ISSUER_OF_PATIENT_ID:08X}" in document:
        issuer = _text(document, ISSUER_OF_PATIENT_ID)
    study_uid = amendment.target_study_instance_uid or identity.study_uid
    return replace(identity, study_uid=study_uid, patient_id=patient_id, issuer_of_patient_id=issuer)


def _text(document: Mapping[str, Any], tag: int) -> str:
    values = document.get(f"{tag:08X}", {}).get("Value") or [""]
    return str(values[0]).strip(" \0")
