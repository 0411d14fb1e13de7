"""C-FIND identifiers to the ``Query`` that QIDO-RS asks too (PS3.4 C.2.2, C.4.1).

Kinds of matching follow from VR and value, as ``gantry_dicom.query_conditions`` says. What belongs
to C-FIND alone:

* Hierarchical searches name one value of the unique key of every level above their own. One that
  is left out beside another (images of a study, whatever their series) is not missed: devices do
  that, and the search is bounded all the same. Other keys of those levels are matched and
  answered as in relational searches: they narrow, and no requester is worse off.
* Modality at the study level asks for studies that have it, as Modalities in Study does.
* A key that cannot be matched, and has a value, is passed over; one that is not known at the level
  is not answered. Both are told by the pending status (FF01).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gantry_dicom.attributes import LEVELS, level_of
from gantry_dicom.identifiers import Identifier, Key, MismatchedIdentifier
from gantry_dicom.information_models import UNIQUE_KEYS, Model
from gantry_dicom.query import Condition, Exact, Include, Level, Query, Tag, TagPath, UidList
from gantry_dicom.query_conditions import combine_date_times, conditions_of, has_wildcard
from gantry_dicom.query_keys import (
    MATCH_KEYS,
    MODALITIES_IN_STUDY,
    MODALITY,
    RETURNED,
    levels_down_to,
    name_of,
)

_RETRIEVE_AE_TITLE = 0x00080054
_RETRIEVE_URL = 0x00081190
# Number of Patient Related Studies, Series and Instances.
_COMPUTED_OF_PATIENT = frozenset((0x00201200, 0x00201202, 0x00201204))
# Attributes of the objects themselves that no search gives: the pixels and what describes them in bulk.
_PIXEL_GROUP = 0x7FE0


@dataclass(frozen=True, slots=True)
class FindOptions:
    """What extended negotiation has agreed on (PS3.4 C.5.1)."""

    relational: bool = False
    combined_date_times: bool = False
    fuzzy_names: bool = False
    empty_values: bool = False
    multiple_values: bool = False


@dataclass(frozen=True, slots=True)
class FindRequest:
    """A search, and how its matches are answered.

    ``requested`` are the paths to answer. ``unsupported`` are the keys that were passed over in
    matching or are not answered.
    """

    query: Query
    identifier: Identifier
    requested: frozenset[TagPath]
    unsupported: tuple[TagPath, ...] = ()


def find_request(
    identifier: Identifier, model: Model, options: FindOptions, *, partition: str, limit: int
) -> FindRequest:
    """Return the search that ``identifier`` asks for, ``limit`` matches a page.

    Raises ``BadRequest`` where a key cannot be what its VR says or what the model asks for.
    """
    level = identifier.level
    parents = {} if options.relational else _parents(identifier, model)
    conditions: list[Condition] = []
    requested: set[TagPath] = set()
    unsupported: list[TagPath] = []
    for key in identifier.keys:
        is_answered = _is_answered(level, key.path)
        if is_answered:
            requested.add(key.path)
        if parents.get(level_of(key.path[0])) == key.text and key.path[0] in UNIQUE_KEYS.values():
            continue
        found = _matching(level, key, options)
        if found is not None:
            conditions += found
        if not is_answered or (found is None and key.text.strip("* \0")):
            unsupported.append(key.path)
    if options.combined_date_times:
        conditions = list(combine_date_times(conditions))
    query = Query(level=level, partition=partition, conditions=tuple(conditions), limit=limit)
    query = _below(query, parents, {path[0] for path in requested})
    return FindRequest(query, identifier, frozenset(requested), tuple(unsupported))


def _parents(identifier: Identifier, model: Model) -> dict[Level, str]:
    """Return the unique keys of the levels above: one value each, and at least one of them there."""
    parents = {}
    missing = ""
    for level in model.above(identifier.level):
        tag = UNIQUE_KEYS[level]
        value = identifier.text(tag)
        if has_wildcard(value) or "\\" in value:
            raise MismatchedIdentifier(f"{name_of((tag,))} has to have a single value at this level")
        if value.strip():
            parents[level] = value
        else:
            missing = missing or name_of((tag,))
    if missing and not parents:
        raise MismatchedIdentifier(f"{missing} has to have a single value at this level")
    return parents


def _matching(level: Level, key: Key, options: FindOptions) -> tuple[Condition, ...] | None:
    """Return the conditions of a key, or ``None`` when it cannot be matched."""
    path = (MODALITIES_IN_STUDY,) if (level, key.path) == (Level.STUDY, (MODALITY,)) else key.path
    known = MATCH_KEYS[level].get(path)
    if known is None:
        return None
    return conditions_of(
        path,
        known.vr,
        key.text,
        empty_values=options.empty_values,
        multiple_values=options.multiple_values,
        fuzzy=options.fuzzy_names,
    )


def _is_answered(level: Level, path: TagPath) -> bool:
    """Tell whether a search of ``level`` knows the attribute (existence, PS3.4 C.2.2.1)."""
    tag = path[0]
    if tag == _RETRIEVE_AE_TITLE:
        return True
    if tag == _RETRIEVE_URL or tag >> 16 == _PIXEL_GROUP:
        return False
    if level is Level.PATIENT:
        return tag in RETURNED[level] or tag in _COMPUTED_OF_PATIENT
    upper = levels_down_to(level)
    computed = (LEVELS[one].computed for one in upper if one is not Level.PATIENT)
    if any(tag in tags for tags in computed):
        return True
    return level_of(tag) in upper and tag not in _COMPUTED_OF_PATIENT and tag not in _COMPUTED_BELOW[level]


def _computed_below(level: Level) -> frozenset[Tag]:
    """Return what is computed at other levels only; no object holds it."""
    own = {tag for one in levels_down_to(level) if one is not Level.PATIENT for tag in LEVELS[one].computed}
    return frozenset(tag for attributes in LEVELS.values() for tag in attributes.computed) - own


_COMPUTED_BELOW = {level: _computed_below(level) for level in LEVELS}


def _below(query: Query, parents: dict[Level, str], requested: Iterable[Tag]) -> Query:
    """Narrow a search to its parents, and have it answer what is requested."""
    level = query.level
    tags = frozenset(requested)
    upper = [one for one in levels_down_to(level)[:-1] if one is not Level.PATIENT]
    # What is computed for a level above comes with the attributes of that level only.
    needs_parents = any(tags & LEVELS[one].computed - LEVELS[level].computed for one in upper)
    conditions = query.conditions
    if Level.PATIENT in parents:
        conditions = (*conditions, Exact((UNIQUE_KEYS[Level.PATIENT],), parents[Level.PATIENT]))
    study_uid, series_uid = parents.get(Level.STUDY), parents.get(Level.SERIES)
    # A place in the hierarchy begins at its study; a series alone is a condition like others.
    if needs_parents or study_uid is None:
        uids = ((Level.STUDY, study_uid), (Level.SERIES, series_uid))
        conditions += tuple(UidList((UNIQUE_KEYS[one],), (uid,)) for one, uid in uids if uid is not None)
        study_uid = series_uid = None
    return replace(
        query,
        conditions=conditions,
        study_uid=study_uid,
        series_uid=series_uid,
        include=Include(tags=frozenset(tags - RETURNED[level])),
        include_parents=needs_parents,
    )
