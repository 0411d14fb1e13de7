"""Where a page ends, as a token that the next page begins behind.

A page found by offset skips what moved up when something before it went, and repeats what moved
down when something came. The token holds the last match's place in the order instead: whatever
comes or goes, nothing that was there at the first page is skipped or given twice, unless its own
place changes (another date, another number).
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import orjson
from gantry_dicom.errors import BadRequest
from gantry_dicom.query import Level

if TYPE_CHECKING:
    from gantry_index.predicates import Parameters

_STUDY = ("study_date", "order_key")
_SERIES = ("series_number", "series_uid")
_INSTANCE = ("instance_number", "sop_uid")

COLUMNS: Mapping[Level, Sequence[str]] = {
    Level.PATIENT: ("patient_id", "issuer"),
    Level.STUDY: _STUDY,
    Level.SERIES: (*_STUDY, *_SERIES),
    Level.INSTANCE: (*_STUDY, *_SERIES, *_INSTANCE),
}
"""The columns that answers are ordered by, which say where a match stands."""

# Numbers that are not known come last; no number of a column is larger.
_LAST_NUMBER = 2**31
_LONGEST_TOKEN = 2048
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """The place of one match: the values of ``COLUMNS``; ``study_date`` is a date or ``None``."""

    level: Level
    values: tuple[Any, ...]


def token_of(place: str) -> str:
    """Return the token of a place, the values of ``COLUMNS`` as a JSON array."""
    return urlsafe_b64encode(place.encode()).decode().rstrip("=")


def position_of(level: Level, token: str) -> Position:
    """Return the place that a token stands for. Raises ``BadRequest`` when it is none of this level."""
    try:
        return Position(level, tuple(_values(COLUMNS[level], token)))
    except ValueError:
        raise BadRequest("the page token is not one of this search") from None


def _values(columns: Sequence[str], token: str) -> list[Any]:
    if len(token) > _LONGEST_TOKEN or _TOKEN.fullmatch(token) is None:
        raise ValueError("no token")
    values = orjson.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    if not isinstance(values, list) or len(values) != len(columns):
        raise ValueError("another level's token")
    return [_value(column, value) for column, value in zip(columns, values, strict=True)]


def _value(column: str, value: object) -> object:
    if column == "study_date":
        if isinstance(value, str) and _DATE.fullmatch(value):
            return date.fromisoformat(value)
        is_right = value is None
    elif column.endswith("_number"):
        is_right = value is None or (type(value) is int and abs(value) <= _LAST_NUMBER)
    else:
        is_right = isinstance(value, str) and "\0" not in value
    if not is_right:
        raise ValueError(f"{column} is of another kind")
    return value


def study_terms(position: Position, alias: str, parameters: Parameters, *, dated: bool | None) -> list[str]:
    """Return the terms for the studies at or behind a place.

    ``dated`` asks for those with a date only (``True``) or without one (``False``), which an
    ordered index answers one after the other; ``None`` asks for both.
    """
    day, key = position.values[:2]
    reached = "<" if position.level is Level.STUDY else "<="
    date_column = f"{alias}.study_date"
    # A statement may have no parameter that it does not use.
    if day is None and dated:
        return ["false"]
    if day is not None and dated is False:
        return [f"{date_column} IS NULL"]
    behind = f"{alias}.order_key {reached} {parameters.add(key)}"
    if day is None:
        return [f"{date_column} IS NULL", behind]
    until = parameters.add(day)
    on_day = f"({date_column} < {until}::date OR ({date_column} = {until}::date AND {behind}))"
    if dated:
        return [f"{date_column} <= {until}::date", on_day]
    return [f"({date_column} IS NULL OR {on_day})"]


def terms_below(position: Position, alias: str, parameters: Parameters) -> list[str]:
    """Return the terms for what stands behind a place within the place's own study (``alias``)."""
    _, key, *below = position.values
    if not below:
        return []
    columns = ("e.series_number", "e.series_uid", "i.instance_number", "i.sop_uid")[: len(below)]
    ours, theirs = [], []
    for column, value in zip(columns, below, strict=True):
        if column.endswith("_number"):
            ours.append(f"coalesce({column}::bigint, {_LAST_NUMBER})")
            theirs.append(f"{parameters.add(_LAST_NUMBER if value is None else value)}::bigint")
        else:
            ours.append(column)
            theirs.append(parameters.add(value))
    behind = f"({', '.join(ours)}) > ({', '.join(theirs)})"
    return [f"({alias}.order_key <> {parameters.add(key)} OR {behind})"]


def patient_terms(position: Position, parameters: Parameters) -> list[str]:
    """Return the term for the patients behind a place."""
    placeholders = ", ".join(parameters.add(value) for value in position.values)
    return [f"(p.patient_id, p.issuer) > ({placeholders})"]
