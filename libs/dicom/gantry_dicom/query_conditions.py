"""From the text of one match key to conditions: what QIDO-RS and C-FIND share.

The kind of matching follows from the VR and the text (PS3.4 C.2.2.2):

* nothing, or asterisks only: universal matching, no condition, for every VR;
* UI: list of UID, cut at backslashes and commas (PS3.18 8.3.4.1);
* DA, TM, DT: a single value or a range; a text that is neither is an error, never "no match";
* IS, DS and the binary numbers: equal as numbers (``007`` finds 7, PS3.4 C.2.2.2.1.3);
* PN: `gantry_dicom.names` says how names compare;
* other text: exact and case-sensitive, or with ``*`` and ``?`` where the VR takes wild cards.
  Several values (at backslashes; for CS, which cannot hold one, at commas too) match any of
  them, or each of them when multiple value matching is asked for (PS3.4 C.2.2.2.8).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal, InvalidOperation

from gantry_dicom.errors import BadRequest
from gantry_dicom.names import fold_name
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
from gantry_dicom.query_keys import DATE_TIME_PAIRS, name_of
from gantry_dicom.query_values import (
    date_of,
    date_time_bounds,
    split_date_time_range,
    split_range,
    time_bounds,
)

# PS3.4 C.2.2.2.4; PN is among them and handled apart.
WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"})
# VRs whose values may hold a backslash or be only one (PS3.5 6.2).
_SINGLE_VALUED_VRS = frozenset({"LT", "ST", "UR", "UT"})
# The least and the largest value of each (PS3.5 6.2).
_INTEGER_RANGES = {
    **dict.fromkeys(("IS", "SL", "SS", "UL", "US"), (-(2**31), 2**32 - 1)),
    "SV": (-(2**63), 2**63 - 1),
    "UV": (0, 2**64 - 1),
}
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL_VRS = frozenset({"DS", "FD", "FL"})
# Lenient on purpose: stored UIDs break the rules of PS3.5 9.1 more often than one would think.
_UID = re.compile(r"[0-9.]{1,64}")
_UID_SEPARATORS = re.compile(r"[\\,]")

EMPTY_VALUE = '""'
"""What stands for an empty value when empty value matching is on (PS3.4 C.2.2.2.9)."""


def conditions_of(
    path: TagPath,
    vr: str,
    text: str,
    *,
    empty_values: bool = False,
    multiple_values: bool = False,
    fuzzy: bool = False,
) -> tuple[Condition, ...]:
    """Return the conditions that the key ``path`` with the value ``text`` asks for.

    An empty tuple is universal matching. Raises ``BadRequest`` naming the attribute when the
    text cannot be a value of ``vr``; the text itself is not repeated, it may be patient data.
    """
    try:
        found = _conditions(path, vr, _clean(vr, text), empty_values, multiple_values)
    except BadRequest as error:
        raise BadRequest(f"{name_of(path)}: {error.detail}") from None
    if fuzzy and vr == "PN":
        return tuple(replace(one, fuzzy=True) if isinstance(one, PersonName) else one for one in found)
    return found


def _clean(vr: str, text: str) -> str:
    """Drop insignificant spaces (PS3.5 6.2) and refuse what is no text at all."""
    if "\0" in text.rstrip("\0 "):
        raise BadRequest("holds a NUL character")
    text = text.rstrip("\0 ")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest("is not encoded in UTF-8") from None
    return text if vr in _SINGLE_VALUED_VRS else text.lstrip(" ")


def _conditions(path: TagPath, vr: str, text: str, empty: bool, multiple: bool) -> tuple[Condition, ...]:
    if not text.strip("*"):
        return ()
    if empty and text == EMPTY_VALUE:
        return (Empty(path),)
    if vr == "UI":
        return _uid_list(path, text)
    if vr in ("DA", "TM", "DT"):
        return _temporal(path, vr, text)
    if vr in _INTEGER_RANGES:
        return (Exact(path, str(_integer(vr, text))),)
    if vr in _DECIMAL_VRS:
        return (Exact(path, str(_decimal(text))),)
    if vr == "PN":
        if "\\" in text:
            raise BadRequest("takes a single name")
        # Delimiters alone name nobody: as universal as no name at all.
        return (PersonName(path, text),) if fold_name(text) else ()
    return _textual(path, vr, text, multiple)


def _uid_list(path: TagPath, text: str) -> tuple[Condition, ...]:
    uids = tuple(uid for uid in (part.strip() for part in _UID_SEPARATORS.split(text)) if uid)
    if not uids:
        return ()
    if not all(_UID.fullmatch(uid) for uid in uids):
        raise BadRequest("not a UID; UIDs take no wild cards")
    return (UidList(path, tuple(dict.fromkeys(uids))),)


def _temporal(path: TagPath, vr: str, text: str) -> tuple[Condition, ...]:
    bounds = split_date_time_range(text) if vr == "DT" else split_range(text)
    check = {"DA": date_of, "TM": time_bounds, "DT": date_time_bounds}[vr]
    for part in (text,) if bounds is None else bounds:
        if part is not None:
            check(part)
    return (Exact(path, text),) if bounds is None else (Range(path, *bounds),)


def _integer(vr: str, text: str) -> int:
    value = int(text) if _INTEGER.fullmatch(text) else None
    least, most = _INTEGER_RANGES[vr]
    if value is None or not least <= value <= most:
        raise BadRequest("not an integer")
    return value


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise BadRequest("not a number") from None
    if not value.is_finite():
        raise BadRequest("not a number")
    return value


def _textual(path: TagPath, vr: str, text: str, multiple: bool) -> tuple[Condition, ...]:
    takes_wildcards = vr in WILDCARD_VRS
    values = _values(vr, text)
    if not values:
        return ()
    if len(values) > 1:
        if takes_wildcards and any(has_wildcard(value) for value in values):
            raise BadRequest("several values take no wild cards")
        if multiple:
            return tuple(Exact(path, value) for value in values)
        return (AnyOf(path, values),)
    if takes_wildcards and has_wildcard(values[0]):
        return (Wildcard(path, values[0]),)
    return (Exact(path, values[0]),)


def _values(vr: str, text: str) -> tuple[str, ...]:
    if vr in _SINGLE_VALUED_VRS:
        return (text,)
    parts = text.replace(",", "\\").split("\\") if vr == "CS" else text.split("\\")
    return tuple(dict.fromkeys(value for value in (part.strip(" ") for part in parts) if value))


def has_wildcard(text: str) -> bool:
    """Tell whether ``text`` holds ``*`` or ``?``."""
    return "*" in text or "?" in text


def combine_date_times(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """Unite the ranges of a date and its time attribute to one range of instants.

    ``StudyDate=20240101-20240103`` with ``StudyTime=1000-1200`` means from 10:00 on the first
    day to 12:00 on the third, not these hours of each day (PS3.4 C.2.2.2.5.3). Where only one
    of the two is open at an end, there is no such instant: they stay as they are.
    """
    kept = list(conditions)
    for date_path, time_path in DATE_TIME_PAIRS:
        dates = [c for c in kept if isinstance(c, Range) and c.path == date_path]
        times = [c for c in kept if isinstance(c, Range) and c.path == time_path]
        if len(dates) != 1 or len(times) != 1:
            continue
        days, hours = dates[0], times[0]
        if (days.first is None, days.last is None) != (hours.first is None, hours.last is None):
            continue
        kept[kept.index(days)] = DateTimeRange(
            date_path,
            time_path,
            _instant(days.first, hours.first, last=False),
            _instant(days.last, hours.last, last=True),
        )
        kept.remove(hours)
    return tuple(kept)


def _instant(day: str | None, hour: str | None, *, last: bool) -> str | None:
    """Return a complete DT text."""
    if day is None or hour is None:
        return None
    on, at = date_of(day), time_bounds(hour)[last]
    return f"{on.year:04}{on.month:02}{on.day:02}{at.hour:02}{at.minute:02}{at.second:02}.{at.microsecond:06}"
