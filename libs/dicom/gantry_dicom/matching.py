"""Attribute matching on plain values: the reference that the index's SQL is tested against.

Everything follows PS3.4 C.2.2.2 literally and slowly; the SQL of ``gantry_index`` says the same
in another language. Worklists that fit into memory may use it as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation

from gantry_dicom.errors import BadRequest
from gantry_dicom.fuzzy_names import name_is_like
from gantry_dicom.names import fold_name, name_matches
from gantry_dicom.query import (
    AnyOf,
    Condition,
    DateTimeRange,
    Empty,
    Exact,
    PersonName,
    Range,
    TagPath,
    UidList,
    Wildcard,
)
from gantry_dicom.query_keys import vr_of
from gantry_dicom.query_values import date_of, date_time_bounds, time_bounds

Attributes = Mapping[TagPath, tuple[str, ...]]
"""Values by path, as decoded and trimmed text; an absent or empty attribute has no values."""

_ABSENT_COMPONENTS = re.compile(r"(?:\^\**)+$")
_INTEGER_VRS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_DECIMAL_VRS = frozenset({"DS", "FD", "FL"})


def matches(conditions: Iterable[Condition], attributes: Attributes) -> bool:
    """Tell whether an entity with these attributes satisfies every condition."""
    return all(matches_one(condition, attributes) for condition in conditions)


def matches_one(condition: Condition, attributes: Attributes) -> bool:
    """Tell whether one condition holds. An attribute without a value satisfies only ``Empty``.

    Of a multi-valued attribute one value must match (PS3.4 C.2.2.3). A date, time or number that
    does not parse as its VR is no value: it matches nothing but ``Empty``.
    """
    if isinstance(condition, DateTimeRange):
        return _instant_matches(condition, attributes)
    vr = vr_of(condition.path)
    values = [value for value in attributes.get(condition.path, ()) if value and _is_readable(vr, value)]
    match condition:
        case Empty():
            return not values
        case Exact(_, wanted):
            return any(_equal(vr, wanted, value) for value in values)
        case AnyOf(_, wanted_values) | UidList(_, wanted_values):
            return any(value in wanted_values for value in values)
        case Wildcard(_, pattern):
            return any(wildcard_matches(pattern, value) for value in values)
        case PersonName(_, pattern, fuzzy):
            return any(person_name_matches(pattern, value, fuzzy=fuzzy) for value in values)
        case Range(_, first, last):
            return any(_in_range(vr, first, last, value) for value in values)


def wildcard_matches(pattern: str, value: str) -> bool:
    """Wild card matching, case-sensitive (PS3.4 C.2.2.2.4)."""
    translated = {"*": ".*", "?": "."}
    expression = "".join(translated.get(character) or re.escape(character) for character in pattern)
    return re.fullmatch(expression, value, re.DOTALL) is not None


def name_alternatives(pattern: str) -> tuple[str, ...]:
    """Return the folded patterns of which one must match (see ``gantry_dicom.names``).

    Components at the end may be absent instead of empty (PS3.5 6.2.1.1), so ``Doe^*`` asks for
    ``Doe`` too.
    """
    folded = fold_name(pattern)
    shorter = _ABSENT_COMPONENTS.sub("", folded)
    return (folded,) if shorter in ("", folded) else (folded, shorter)


def person_name_matches(pattern: str, value: str, *, fuzzy: bool = False) -> bool:
    """Tell whether a PN value matches, as a whole or by one of its component groups."""
    folded = fold_name(value)
    if any(name_matches(folded, alternative) for alternative in name_alternatives(pattern)):
        return True
    return fuzzy and name_is_like(folded, fold_name(pattern))


def _equal(vr: str, wanted: str, value: str) -> bool:
    if vr in ("DA", "TM", "DT"):
        return _in_range(vr, wanted, wanted, value)
    if vr in _INTEGER_VRS:
        return int(wanted) == int(value)
    if vr in _DECIMAL_VRS:
        return Decimal(wanted) == Decimal(value)
    return wanted == value


def _bounds(vr: str, text: str) -> tuple[str, str]:
    """Return the first and last instant of a text in a form that sorts."""
    if vr == "DA":
        day = date_of(text).isoformat()
        return day, day
    if vr == "TM":
        begin, end = time_bounds(text)
        return begin.isoformat("microseconds"), end.isoformat("microseconds")
    first, last = date_time_bounds(text)
    return first.isoformat("T", "microseconds"), last.isoformat("T", "microseconds")


def _is_readable(vr: str, value: str) -> bool:
    try:
        if vr in ("DA", "TM", "DT"):
            _bounds(vr, value)
        elif vr in _INTEGER_VRS:
            int(value)
        elif vr in _DECIMAL_VRS:
            Decimal(value)
    except (BadRequest, ValueError, InvalidOperation):
        return False
    return True


def _in_range(vr: str, first: str | None, last: str | None, value: str) -> bool:
    instant, _ = _bounds(vr, value)
    if first is not None and instant < _bounds(vr, first)[0]:
        return False
    return last is None or instant <= _bounds(vr, last)[1]


def _instant_matches(condition: DateTimeRange, attributes: Attributes) -> bool:
    days = [text for text in attributes.get(condition.date_path, ()) if _is_readable("DA", text)]
    hours = [text for text in attributes.get(condition.time_path, ()) if _is_readable("TM", text)]
    day = date_of(days[0]) if days else None
    hour = time_bounds(hours[0])[0] if hours else None
    if day is None:
        return False
    for bound, later in ((condition.first, True), (condition.last, False)):
        if bound is None:
            continue
        instant = date_time_bounds(bound)[0]
        if day == instant.date():
            # On the day of a bound an unknown time decides nothing: no match.
            if hour is None or (hour < instant.time() if later else hour > instant.time()):
                return False
        elif (day < instant.date()) is later:
            return False
    return True
