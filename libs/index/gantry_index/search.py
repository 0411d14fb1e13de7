"""Searches: from a ``Query`` to a page of answers.

The ids of the page are found first and materialised, documents are fetched for them only. Two
ways lead to the ids, because one SQL text planned for both kinds of search now and then takes the
wrong road (a walk through a million dates to find one name):

* *Gathering* lets an index find the matches, in any order, up to ``BOUND`` of them, and sorts
  them. Exact counts come for nothing.
* *Walking* reads an index that is ordered as answers are, newest first, until the page is full,
  and a bit further to count what remains. It is the way for searches by date and modality
  (``study_newest``, ``study_modality_newest``), for those by columns that have no index of their
  own, and for those whose matches exceed ``BOUND``: what is frequent is soon met.

Conditions without a column are matched in documents, by ``document_filter``.

Order: studies newest first (date, then order key, so that it does not depend on arrival at the
index); series by number and UID; instances by number and UID.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gantry_dicom.query import (
    AnyOf,
    Condition,
    DateTimeRange,
    Empty,
    Exact,
    Level,
    PersonName,
    Query,
    Range,
    TagPath,
    UidList,
    Wildcard,
)
from gantry_dicom.query_keys import MODALITIES_IN_STUDY, MODALITY, tag_of

from gantry_index import search_position
from gantry_index.columns import COLUMNS, Column, Kind
from gantry_index.predicates import Parameters, can_use_index, predicate
from gantry_index.rejections import shown
from gantry_index.search_position import Position

BOUND = 10_000
"""Matches that are gathered and sorted; beyond it counts are lower bounds."""
AHEAD = 1_000
"""How far beyond the page a walk counts what remains."""

Row = Mapping[str, Any]


class Database(Protocol):
    """What a search needs of a pool: one statement, its rows. Raises ``Unavailable``."""

    async def fetch(self, sql: str, *parameters: object) -> Sequence[Any]:
        """Run ``sql``."""
        ...


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of answers.

    ``documents`` are JSON objects that still hold ``BASE_MARK``. ``remaining`` matches follow
    the page: exactly so many, or at least so many when ``remaining_is_exact`` is false. ``end`` is
    what ``Query.after`` takes to go on behind the page; ``None`` of an empty page.
    """

    documents: tuple[bytes, ...]
    remaining: int
    remaining_is_exact: bool
    end: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of a page, how many matches follow it, whether that is exact, and where it ends."""

    rows: Sequence[Row]
    remaining: int
    remaining_is_exact: bool
    end: str | None

    def page(self, documents: Sequence[bytes]) -> SearchPage:
        """Return the page of these answers."""
        return SearchPage(tuple(documents), self.remaining, self.remaining_is_exact, self.end)


@dataclass(frozen=True, slots=True)
class Shape:
    """How a level is searched: its tables, the columns that identify a match, and the order."""

    tables: str
    keys: str
    order: str


SHAPES: Mapping[Level, Shape] = {
    Level.PATIENT: Shape("patient p", "p.id AS patient_pk, p.patient_id, p.issuer", "patient_id, issuer"),
    Level.STUDY: Shape(
        "study s",
        "s.id AS study_pk, s.study_date, s.order_key",
        "study_date DESC NULLS LAST, order_key DESC",
    ),
    Level.SERIES: Shape(
        "study s JOIN series e ON e.study_pk = s.id",
        "s.id AS study_pk, s.study_date, s.order_key, e.id AS series_pk, e.series_number, e.series_uid",
        "study_date DESC NULLS LAST, order_key DESC, series_number, series_uid",
    ),
    Level.INSTANCE: Shape(
        "study s JOIN series e ON e.study_pk = s.id JOIN instance i ON i.series_pk = e.id",
        "s.id AS study_pk, s.study_date, s.order_key, e.series_number, e.series_uid, "
        "i.instance_number, i.sop_uid",
        "study_date DESC NULLS LAST, order_key DESC, series_number, series_uid, instance_number, sop_uid",
    ),
}

_STUDY_DATE: TagPath = (tag_of("StudyDate"),)
_MODALITY_PATHS: tuple[TagPath, ...] = ((MODALITIES_IN_STUDY,), (MODALITY,))


@dataclass(frozen=True, slots=True)
class Hits:
    """The common table expressions ``hits``, ``page`` (with ``position`` from 1) and ``counted``.

    ``counted`` is one row: ``found`` is the count of ``hits``, ``last`` the place of the page's end.
    """

    sql: str
    parameters: Sequence[object]


def is_walked_first(query: Query) -> bool:
    """Tell whether walking is the first choice: no condition has an index that finds few matches."""
    if query.study_uid is not None:
        return False
    columns = COLUMNS[query.level]
    return not any(_is_selective(condition, columns) for condition in query.conditions)


def _is_selective(condition: Condition, columns: Mapping[TagPath, Column]) -> bool:
    match condition:
        case DateTimeRange() | Empty():
            return False
        case Exact(path) | AnyOf(path) | UidList(path) | Range(path) | Wildcard(path) | PersonName(path):
            return path in columns and columns[path].is_indexed and can_use_index(condition)


def _leading_modality(query: Query) -> Exact | None:
    """Return the condition that the walk by modality answers."""
    for condition in query.conditions:
        if isinstance(condition, Exact) and condition.path in _MODALITY_PATHS:
            return condition
    return None


def gathered(query: Query, bound: int = BOUND) -> Hits:
    """Find matches in any order; ``page`` stays empty when there are more than ``bound``."""
    shape = SHAPES[query.level]
    parameters = Parameters()
    where = _where(query, query.conditions, COLUMNS[query.level], parameters)
    limit, offset, most = (parameters.add(number) for number in (query.limit, query.offset, bound))
    sql = f"""hits AS MATERIALIZED (
    SELECT {shape.keys} FROM {shape.tables} WHERE {where} LIMIT {most}::bigint + 1
), page AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY {shape.order}) - {offset}::bigint AS position FROM hits
    WHERE (SELECT count(*) FROM hits) <= {most}::bigint
    ORDER BY {shape.order} LIMIT {limit}::bigint OFFSET {offset}::bigint
), {_counted(query.level)}"""  # noqa: S608 - names and placeholders only
    return Hits(sql, parameters.values)


def _counted(level: Level) -> str:
    columns = ", ".join(search_position.COLUMNS[level])
    return f"""counted AS (
    SELECT (SELECT count(*) FROM hits) AS found,
           (SELECT jsonb_build_array({columns})::text FROM page ORDER BY position DESC LIMIT 1) AS last
)"""  # noqa: S608 - names only


# What a walk reads below each study it meets. The inner order keeps the planner from turning the
# walk into a join of whole tables.
_BELOW: Mapping[Level, tuple[str, str]] = {
    Level.SERIES: (
        "SELECT e.id AS series_pk, e.series_number, e.series_uid FROM series e",
        "series_number, series_uid",
    ),
    Level.INSTANCE: (
        """SELECT e.series_number, e.series_uid, i.instance_number, i.sop_uid
        FROM series e JOIN instance i ON i.series_pk = e.id""",
        "series_number, series_uid, instance_number, sop_uid",
    ),
}


def walked(query: Query, ahead: int = AHEAD) -> Hits:
    """Read matches in order; ``hits`` begin at the offset and end ``ahead`` and one behind the page."""
    parameters = Parameters()
    limit, offset, more = (parameters.add(number) for number in (query.limit, query.offset, ahead))
    count = f"{limit}::bigint + {more}::bigint + 1"
    page_order = SHAPES[query.level].order
    if query.level is Level.PATIENT:
        selection, order = _walk_of_patients(query, parameters)
    elif query.after is None:
        selection, order = _walk_of_studies(query, parameters)
    else:
        # One index scan begins at a date, another among the studies without one.
        walks = [_walk_of_studies(query, parameters, dated=dated) for dated in (True, False)]
        parts = [f"({walk} ORDER BY {order} LIMIT {count} + {offset}::bigint)" for walk, order in walks]
        selection, order = f"SELECT * FROM ({' UNION ALL '.join(parts)}) u", page_order  # noqa: S608
    sql = f"""hits AS MATERIALIZED (
    {selection} ORDER BY {order} LIMIT {count} OFFSET {offset}::bigint
), page AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY {page_order}) AS position FROM hits
    ORDER BY {page_order} LIMIT {limit}::bigint
), {_counted(query.level)}"""  # noqa: S608 - names and placeholders only
    return Hits(sql, parameters.values)


def _walk_of_patients(query: Query, parameters: Parameters) -> tuple[str, str]:
    shape = SHAPES[query.level]
    where = _where(query, query.conditions, COLUMNS[query.level], parameters)
    return f"SELECT {shape.keys} FROM {shape.tables} WHERE {where}", "p.patient_id, p.issuer"  # noqa: S608


def _walk_of_studies(query: Query, parameters: Parameters, *, dated: bool | None = None) -> tuple[str, str]:
    """Return a selection that meets studies newest first, and its order.

    With a modality it reads ``study_modality``, which repeats the study's date and order key, and
    meets the study itself only when another of its columns is asked for. ``dated`` keeps to the
    studies with a date or to those without.
    """
    columns, conditions = dict(COLUMNS[query.level]), list(query.conditions)
    modality = _leading_modality(query) if query.study_uid is None else None
    above, below = [], []
    source, alias, study_pk = "study s", "s", "s.id"
    if modality is not None:
        source, alias, study_pk = "study_modality m", "m", "m.study_pk"
        columns[_STUDY_DATE] = Column("m.study_date", Kind.DATE)
        above = [
            f"m.partition = {parameters.add(query.partition)}",
            f"m.modality = {parameters.add(modality.value)}",
        ]
        if modality.path == (MODALITIES_IN_STUDY,):
            conditions.remove(modality)
        if not query.shows_rejected or any(_asks(condition, "s", columns) for condition in conditions):
            source += " JOIN study s ON s.id = m.study_pk"
    else:
        above = [f"s.partition = {parameters.add(query.partition)}"]
    if query.study_uid is not None:
        above.append(f"s.study_uid = {parameters.add(query.study_uid)}")
    if query.series_uid is not None:
        below.append(f"e.series_uid = {parameters.add(query.series_uid)}")
    for condition in conditions:
        is_below = _asks(condition, "e", columns) or _asks(condition, "i", columns)
        (below if is_below else above).append(predicate(condition, columns, parameters))
    if not query.shows_rejected:
        (above if query.level is Level.STUDY else below).append(shown(query.level))
    position = _position(query)
    if position is not None:
        above += search_position.study_terms(position, alias, parameters, dated=dated)
        below += search_position.terms_below(position, alias, parameters)
    keys = f"{study_pk} AS study_pk, {alias}.study_date, {alias}.order_key"
    order = f"{alias}.study_date DESC NULLS LAST, {alias}.order_key DESC"
    if query.level is not Level.STUDY:
        inner, inner_order = _BELOW[query.level]
        inner_where = " AND ".join([f"e.study_pk = {study_pk}", *below])
        source += f" CROSS JOIN LATERAL ({inner} WHERE {inner_where} ORDER BY {inner_order}) b"
        keys += ", b.*"
        order += "".join(f", b.{column}" for column in inner_order.split(", "))
    return f"SELECT {keys} FROM {source} WHERE {' AND '.join(above)}", order  # noqa: S608


# What a study with such a series or instance has among its own values.
_SUMMARIES: Mapping[TagPath, TagPath] = {
    (MODALITY,): (MODALITIES_IN_STUDY,),
    (tag_of("SOPClassUID"),): (tag_of("SOPClassesInStudy"),),
}


def _implied(query: Query) -> list[Condition]:
    """Return conditions on studies that follow from those below, so that others are passed over."""
    if query.level in (Level.PATIENT, Level.STUDY) or query.study_uid is not None:
        return []
    return [
        replace(condition, path=_SUMMARIES[condition.path])
        for condition in query.conditions
        if isinstance(condition, Exact | AnyOf | UidList)
        and condition.path in _SUMMARIES
        and condition is not _leading_modality(query)
    ]


def _position(query: Query) -> Position | None:
    return None if query.after is None else search_position.position_of(query.level, query.after)


def _asks(condition: Condition, alias: str, columns: Mapping[TagPath, Column]) -> bool:
    """Tell whether a condition reads a column of the table ``alias``."""
    if isinstance(condition, DateTimeRange):
        paths: tuple[TagPath, ...] = (condition.date_path, condition.time_path)
    else:
        paths = (condition.path,)
    return any(path in columns and columns[path].alias == alias for path in paths)


def _where(
    query: Query,
    conditions: Sequence[Condition],
    columns: Mapping[TagPath, Column],
    parameters: Parameters,
) -> str:
    partition = parameters.add(query.partition)
    terms = [f"{'p' if query.level is Level.PATIENT else 's'}.partition = {partition}"]
    if query.study_uid is not None:
        terms.append(f"s.study_uid = {parameters.add(query.study_uid)}")
    if query.series_uid is not None:
        terms.append(f"e.series_uid = {parameters.add(query.series_uid)}")
    terms += [predicate(condition, columns, parameters) for condition in conditions]
    if not query.shows_rejected and query.level is not Level.PATIENT:
        terms.append(shown(query.level))
    position = _position(query)
    if position is not None and query.level is Level.PATIENT:
        terms += search_position.patient_terms(position, parameters)
    elif position is not None:
        terms += search_position.study_terms(position, "s", parameters, dated=None)
        terms += search_position.terms_below(position, "s", parameters)
    # The tables below the study repeat the partition for the sake of their own indexes.
    for alias in ("e", "i"):
        if any(_asks(condition, alias, columns) for condition in conditions):
            terms.append(f"{alias}.partition = {partition}")
    return " AND ".join(terms)


async def find(
    database: Database, query: Query, statement: str, *, bound: int = BOUND, ahead: int = AHEAD
) -> Found:
    """Run a search; ``statement`` follows the three common table expressions.

    Its rows must carry ``found`` and ``last`` of ``counted``, also when ``page`` is empty. Raises
    ``Unavailable``, and ``BadRequest`` for a condition without a column or a wrong ``after``.
    """
    query = replace(query, conditions=(*query.conditions, *_implied(query)))
    more_than_bound = False
    if not is_walked_first(query):
        hits = gathered(query, bound)
        rows = await database.fetch(f"WITH {hits.sql} {statement}", *hits.parameters)
        found: int = rows[0]["found"]
        if found <= bound:
            return _found(rows, max(0, found - query.offset - query.limit))
        more_than_bound, ahead = True, 0
    hits = walked(query, ahead)
    rows = await database.fetch(f"WITH {hits.sql} {statement}", *hits.parameters)
    beyond = max(0, rows[0]["found"] - query.limit)
    if beyond <= ahead:
        return _found(rows, beyond)
    known = bound + 1 - query.offset - query.limit if more_than_bound else 0
    return _found(rows, max(beyond, known), is_exact=False)


def _found(rows: Sequence[Row], remaining: int, *, is_exact: bool = True) -> Found:
    last: str | None = rows[0]["last"]
    return Found(rows, remaining, is_exact, None if last is None else search_position.token_of(last))
