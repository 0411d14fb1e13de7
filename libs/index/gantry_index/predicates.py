"""Conditions to SQL. Values only ever travel as parameters; patterns are escaped.

The meaning is that of ``gantry_dicom.matching``; tests hold the two equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gantry_dicom.errors import BadRequest
from gantry_dicom.fuzzy_names import LEAST, WORD_SEPARATORS, literal_parts, words_of
from gantry_dicom.matching import name_alternatives
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
from gantry_dicom.query_keys import name_of
from gantry_dicom.query_values import date_of, date_time_bounds, time_bounds

from gantry_index.columns import Column, Kind
from gantry_index.levels import identifier


@dataclass(slots=True)
class Parameters:
    """The numbered parameters of one statement."""

    values: list[object] = field(default_factory=list)

    def add(self, value: object) -> str:
        """Append a value and return its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"


def predicate(condition: Condition, columns: Mapping[TagPath, Column], parameters: Parameters) -> str:
    """Return the SQL expression of a condition. Raises ``BadRequest`` for a key without a column."""
    if isinstance(condition, DateTimeRange):
        days = _column(condition.date_path, columns)
        hours = _column(condition.time_path, columns)
        return " AND ".join(_instants(condition, days.sql, hours.sql, parameters))
    column = _column(condition.path, columns)
    match condition:
        case Exact(_, value):
            return _equal(column, value, parameters)
        case AnyOf(_, values) | UidList(_, values):
            return _any_of(column, values, parameters)
        case Wildcard(_, pattern):
            return _like(column, pattern, parameters)
        case PersonName(_, pattern, fuzzy):
            literal = person_name(column.sql, pattern, parameters)
            return fuzzy_name(column.sql, pattern, literal, parameters) if fuzzy else literal
        case Range(_, first, last):
            return " AND ".join(_range(column, first, last, parameters))
        case Empty():
            return _empty(column)


def _column(path: TagPath, columns: Mapping[TagPath, Column]) -> Column:
    column = columns.get(path)
    if column is None:
        raise BadRequest(f"{name_of(path)} cannot be matched here")
    return column


def _equal(column: Column, value: str, parameters: Parameters) -> str:
    match column.kind:
        case Kind.TEXT:
            return f"{column.sql} = {parameters.add(value)}"
        case Kind.IDENTIFIER:
            return f"{column.sql} = {parameters.add(identifier(value))}"
        case Kind.TEXTS:
            return f"{column.sql} @> {parameters.add([value])}::text[]"
        case Kind.INTEGER:
            # As bigint, so that a number beyond the column's type is no match and no error.
            return f"{column.sql} = {parameters.add(int(value))}::bigint"
        case Kind.NAME:
            return person_name(column.sql, value, parameters)
        case Kind.DATE | Kind.TIME:
            return " AND ".join(_range(column, value, value, parameters))


def _any_of(column: Column, values: tuple[str, ...], parameters: Parameters) -> str:
    match column.kind:
        case Kind.TEXT:
            if len(values) == 1:
                return f"{column.sql} = {parameters.add(values[0])}"
            return f"{column.sql} = ANY({parameters.add(list(values))}::text[])"
        case Kind.TEXTS:
            return f"{column.sql} && {parameters.add(list(values))}::text[]"
        case _:
            alternatives = (_equal(column, value, parameters) for value in values)
            return f"({' OR '.join(alternatives)})"


def _like(column: Column, pattern: str, parameters: Parameters) -> str:
    placeholder = parameters.add(like_pattern(pattern))
    if column.kind is Kind.TEXTS:
        values = f"SELECT 1 FROM unnest({column.sql}) AS v(value)"  # noqa: S608 - a column's name
        return f"EXISTS ({values} WHERE v.value LIKE {placeholder})"
    if column.kind not in (Kind.TEXT, Kind.IDENTIFIER):
        raise BadRequest("wild cards match text only")
    return f"{column.sql} LIKE {placeholder}"


def _range(column: Column, first: str | None, last: str | None, parameters: Parameters) -> Iterator[str]:
    match column.kind:
        case Kind.DATE:
            low, high = (None if bound is None else date_of(bound) for bound in (first, last))
            yield from _between(column.sql, low, high, "date", parameters)
        case Kind.TIME:
            begin = None if first is None else time_bounds(first)[0]
            end = None if last is None else time_bounds(last)[1]
            yield from _between(column.sql, begin, end, "time", parameters)
        case _:
            raise BadRequest("ranges match dates and times only")


def _between(sql: str, low: object, high: object, cast: str, parameters: Parameters) -> Iterator[str]:
    if low is not None:
        yield f"{sql} >= {parameters.add(low)}::{cast}"
    if high is not None:
        yield f"{sql} <= {parameters.add(high)}::{cast}"
    if low is None and high is None:
        yield f"{sql} IS NOT NULL"


def _instants(condition: DateTimeRange, days: str, hours: str, parameters: Parameters) -> Iterator[str]:
    """Row comparison: on the day of a bound an unknown time is no match, on other days no matter.

    The date is compared once more by itself, because that is what an index can use.
    """
    for bound, operator in ((condition.first, ">="), (condition.last, "<=")):
        if bound is None:
            continue
        instant: datetime = date_time_bounds(bound)[0]
        day = parameters.add(instant.date())
        hour = parameters.add(instant.time())
        yield f"{days} {operator} {day}::date"
        yield f"({days}, {hours}) {operator} ({day}::date, {hour}::time)"


def _empty(column: Column) -> str:
    match column.kind:
        case Kind.TEXTS:
            return f"cardinality({column.sql}) = 0"
        case Kind.TEXT | Kind.IDENTIFIER | Kind.NAME:
            return f"coalesce({column.sql}, '') = ''"
        case _:
            return f"{column.sql} IS NULL"


def can_use_index(condition: Condition) -> bool:
    """Tell whether an index of trigrams or prefixes helps with a pattern; of other conditions always."""
    match condition:
        case Wildcard(_, pattern):
            literals = _WILDCARDS.split(pattern)
        case PersonName(_, pattern):
            literals = _WILDCARDS.split(fold_name(pattern))
        case _:
            return True
    return bool(literals[0]) or len(max(literals, key=len)) >= _TRIGRAM


_LIKE_SPECIAL = re.compile(r"[\\%_]")
_LIKE_WILDCARDS = str.maketrans({"*": "%", "?": "_"})


def escape_like(text: str) -> str:
    """Return ``text`` so that LIKE takes every character of it literally."""
    return _LIKE_SPECIAL.sub(r"\\\g<0>", text)


def like_pattern(pattern: str) -> str:
    """Return the LIKE pattern of a DICOM wild card pattern (PS3.4 C.2.2.2.4)."""
    return escape_like(pattern).translate(_LIKE_WILDCARDS)


_WILDCARDS = re.compile(r"[*?]+")
_TRIGRAM = 3
# Only ASCII punctuation: PostgreSQL takes a backslash before a letter, also 山, for an escape.
_REGEX_LITERAL = re.compile(r"[!-/:-@\[-^`{-~]")


def person_name(sql: str, pattern: str, parameters: Parameters) -> str:
    """Return the expression for a name of one, two or three component groups.

    A pattern matches the whole name or one group of it. Where LIKE can say that, it does: the
    prefix index answers ``Doe*``, the trigram index the rest.
    """
    alternatives = name_alternatives(pattern)
    return f"({' OR '.join(_one_name(sql, text, parameters) for text in alternatives)})"


def fuzzy_name(sql: str, pattern: str, literal: str, parameters: Parameters) -> str:
    """Return the expression for a name that matches as ``literal`` says or is like the pattern.

    ``%>>`` finds candidates by the trigram index; the words of each are then compared one by one.
    """
    folded = fold_name(pattern)
    terms = [f"{sql} LIKE {parameters.add(f'%{escape_like(part)}%')}" for part in literal_parts(folded)]
    for word in words_of(folded):
        wanted = parameters.add(word)
        words = f"regexp_split_to_table({sql}, '{WORD_SEPARATORS}') AS w(word)"
        # `word` is never empty where similarity is above nothing.
        alike = f"similarity(w.word, {wanted}) >= {float(LEAST)}::real"
        terms.append(f"{sql} %>> {wanted} AND EXISTS (SELECT 1 FROM {words} WHERE {alike})")  # noqa: S608
    return f"({literal} OR ({' AND '.join(terms)}))" if terms else literal


def _one_name(sql: str, folded: str, parameters: Parameters) -> str:
    literals = _WILDCARDS.split(folded)
    wildcards = _WILDCARDS.findall(folded)
    if "=" not in folded and not any("?" in found for found in wildcards):
        match literals:
            case [whole]:
                return f"{sql} = {parameters.add(whole)} OR " + _likes(
                    sql,
                    parameters,
                    f"{escape_like(whole)}=%",
                    f"%={escape_like(whole)}=%",
                    f"%={escape_like(whole)}",
                )
            case [prefix, ""] if prefix:
                return _likes(sql, parameters, f"{escape_like(prefix)}%", f"%={escape_like(prefix)}%")
            case ["", suffix] if suffix:
                return _likes(sql, parameters, f"%{escape_like(suffix)}", f"%{escape_like(suffix)}=%")
            case ["", infix, ""]:
                return _likes(sql, parameters, f"%{escape_like(infix)}%")
    decided = f"{sql} ~ {parameters.add(_regex(folded))}"
    longest = max(literals, key=len)
    return f"({_likes(sql, parameters, f'%{escape_like(longest)}%')} AND {decided})" if longest else decided


def _likes(sql: str, parameters: Parameters, *patterns: str) -> str:
    return " OR ".join(f"{sql} LIKE {parameters.add(pattern)}" for pattern in patterns)


def _regex(folded: str) -> str:
    """Return a PostgreSQL regular expression for the whole name or one of its groups."""
    whole = f"^{_translated(folded, '.')}$"
    if "=" in folded:
        return whole
    return f"{whole}|(^|=){_translated(folded, '[^=]')}(=|$)"


def _translated(folded: str, any_character: str) -> str:
    wildcards = {"*": f"{any_character}*", "?": any_character}
    return "".join(wildcards.get(c) or _REGEX_LITERAL.sub(r"\\\g<0>", c) for c in folded)
