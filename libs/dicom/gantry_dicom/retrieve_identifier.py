"""Identifiers of C-MOVE and C-GET to the unique keys of what is to be sent (PS3.4 C.4.2.1.4, C.4.2.2)."""

from __future__ import annotations

from dataclasses import dataclass

from gantry_dicom.identifiers import Identifier, MismatchedIdentifier
from gantry_dicom.information_models import UNIQUE_KEYS, Model
from gantry_dicom.query import Level, UidList
from gantry_dicom.query_conditions import conditions_of, has_wildcard
from gantry_dicom.query_keys import name_of

# A list of UIDs longer than this is no request of a person or of a workstation.
_MOST_UIDS = 100_000


@dataclass(frozen=True, slots=True)
class RetrieveKeys:
    """What is to be sent: everything under these keys; an empty tuple does not narrow."""

    level: Level
    patient_id: str | None = None
    study_uids: tuple[str, ...] = ()
    series_uids: tuple[str, ...] = ()
    sop_uids: tuple[str, ...] = ()


def retrieve_keys(identifier: Identifier, model: Model, *, relational: bool = False) -> RetrieveKeys:
    """Return the unique keys of ``identifier``.

    The level's own key holds one value or, but for Patient ID, a list; those of the levels above
    hold one value each, and may be missing only in a relational retrieval (PS3.4 C.4.2.2.1,
    C.4.2.2.2). Raises ``MismatchedIdentifier``.
    """
    found: dict[Level, tuple[str, ...]] = {}
    for level in (*model.above(identifier.level), identifier.level):
        values = _values(identifier, level)
        is_own = level is identifier.level
        if not values and (is_own or not relational):
            raise MismatchedIdentifier(f"{name_of((UNIQUE_KEYS[level],))} has no value")
        if len(values) > 1 and not is_own and not relational:
            raise MismatchedIdentifier(f"{name_of((UNIQUE_KEYS[level],))} has more than one value")
        found[level] = values
    patient_ids = found.get(Level.PATIENT, ())
    return RetrieveKeys(
        identifier.level,
        patient_ids[0] if patient_ids else None,
        found.get(Level.STUDY, ()),
        found.get(Level.SERIES, ()),
        found.get(Level.INSTANCE, ()),
    )


def _values(identifier: Identifier, level: Level) -> tuple[str, ...]:
    tag = UNIQUE_KEYS[level]
    text = identifier.text(tag).strip(" \0")
    if level is Level.PATIENT:
        if has_wildcard(text) or "\\" in text:
            raise MismatchedIdentifier("Patient ID is not a single value")
        return (text,) if text else ()
    values: tuple[str, ...] = ()
    for condition in conditions_of((tag,), "UI", text):
        if isinstance(condition, UidList):
            values += condition.uids
    if len(values) > _MOST_UIDS:
        raise MismatchedIdentifier(f"{name_of((tag,))} has more values than are taken")
    return values
