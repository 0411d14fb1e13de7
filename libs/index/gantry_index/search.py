"""Searches: from a ``Query`` to a page of answers.

The ids of the page are found first and materialised, documents are fetched for them only. Two
ways lead to the ids, because one SQL text planned for both kinds of search now and then takes the
wrong road (a walk through a million dates to find one name):

* *Gathering* lets an index find the matches, in any order, up to ``BOUND`` of them, and sorts
  them. Exact counts come for nothing.
* *Walking* reads an index that is ordered as answers are, newest first, until the page is full,
  and a bit further to count what remains. It is the way for searches by date and modality only
  (``study_newest``, ``study_modality_newest``), and for those whose matches exceed ``BOUND``:
  what is frequent is soon met.

Order: studies newest first (date, then order key, so that it does not depend on arrival at the
index); series by number and UID; instances by number and UID.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gantry_dicom.query import Condition, DateTimeRange, Exact, Level, Query, Range, TagPath
from gantry_dicom.query_keys import MODALITIES_IN_STUDY, MODALITY, tag_of

from gantry_index.columns import COLUMNS, Column, Kind
from gantry_index.predicates import Parameters, predicate

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
    the page: exactly so many, or at least so many when ``remaining_is_exact`` is false.
    """

    documents: tuple[bytes, ...]
    remaining: int
    remaining_is_exact: bool


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
        "study s JOIN series e ON e.study_pk = s.id "
        "JOIN instance i ON i.series_pk = e.id AND i.study_pk = s.id",
        "s.id AS study_pk, s.study_date, s.order_key, e.series_number, e.series_uid, "
        "i.instance_number, i.sop_uid",
        "study_date DESC NULLS LAST, order_key DESC, series_number, series_uid, instance_number, sop_uid",
    ),
}

_STUDY_DATE: TagPath = (tag_of("StudyDate"),)
_MODALITY_PATHS: tuple[TagPath, ...] = ((MODALITIES_IN_STUDY,), (MODALITY,))


@dataclass(frozen=True, slots=True)
class Hits:
    """The common table expressions ``hits`` and ``page`` (with ``position`` from 1), and parameters."""

    sql: str
    parameters: Sequence[object]


def has_ordered_index(query: Query) -> bool:
    """Tell whether walking is the first choice: only dates and one modality are asked for."""
    if query.level is Level.PATIENT or query.study_uid is not None:
        return False
    return all(_is_date(c) or c is _leading_modality(query) for c in query.conditions)


def _is_date(condition: Condition) -> bool:
    match condition:
        case Range(path, _, _) | Exact(path, _) | DateTimeRange(path, _, _, _):
            return path == _STUDY_DATE
        case _:
            return False


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
)"""  # noqa: S608 - names and placeholders only
    return Hits(sql, parameters.values)


def walked(query: Query, ahead: int = AHEAD) -> Hits:
    """Read matches in order; ``hits`` begin at the offset and end ``ahead`` and one behind the page."""
    shape = SHAPES[query.level]
    parameters = Parameters()
    conditions, columns = list(query.conditions), dict(COLUMNS[query.level])
    tables, keys, order = shape.tables, shape.keys, _qualified(shape.order, "s")
    where: list[str] = []
    modality = _leading_modality(query) if query.study_uid is None else None
    if modality is not None:
        # `study_modality` repeats the study's date and order key: its index gives the order.
        columns[_STUDY_DATE] = Column("m.study_date", Kind.DATE)
        where = [
            f"m.partition = {parameters.add(query.partition)}",
            f"m.modality = {parameters.add(modality.value)}",
        ]
        if modality.path == (MODALITIES_IN_STUDY,):
            conditions.remove(modality)
        order = _qualified(shape.order, "m")
        keys = keys.replace("s.study_date, s.order_key", "m.study_date, m.order_key")
        if query.level is Level.STUDY and not _asks_study(conditions, columns):
            tables, keys = "study_modality m", keys.replace("s.id", "m.study_pk")
            where += [predicate(condition, columns, parameters) for condition in conditions]
            conditions = []
        else:
            tables = f"study_modality m JOIN {tables}".replace("study s", "study s ON s.id = m.study_pk", 1)
    if tables != "study_modality m":
        where.append(_where(query, conditions, columns, parameters))
    limit, offset, more = (parameters.add(number) for number in (query.limit, query.offset, ahead))
    sql = f"""hits AS MATERIALIZED (
    SELECT {keys} FROM {tables} WHERE {" AND ".join(where)}
    ORDER BY {order} LIMIT {limit}::bigint + {more}::bigint + 1 OFFSET {offset}::bigint
), page AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY {shape.order}) AS position FROM hits
    ORDER BY {shape.order} LIMIT {limit}::bigint
)"""  # noqa: S608 - names and placeholders only
    return Hits(sql, parameters.values)


def _qualified(order: str, study_alias: str) -> str:
    """Return an order by table columns instead of answer columns."""
    aliases = {
        "patient_id": "p",
        "issuer": "p",
        "study_date": study_alias,
        "order_key": study_alias,
        "series_number": "e",
        "series_uid": "e",
        "instance_number": "i",
        "sop_uid": "i",
    }
    terms = (term.split(" ", 1) for term in order.split(", "))
    return ", ".join(" ".join((f"{aliases[term[0]]}.{term[0]}", *term[1:])) for term in terms)


def _asks_study(conditions: Sequence[Condition], columns: Mapping[TagPath, Column]) -> bool:
    for condition in conditions:
        if isinstance(condition, DateTimeRange):
            return True
        column = columns.get(condition.path)
        if column is None or column.alias != "m":
            return True
    return False


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
    used = set()
    for condition in conditions:
        terms.append(predicate(condition, columns, parameters))
        if not isinstance(condition, DateTimeRange):
            used.add(columns[condition.path].alias)
    # The tables below the study repeat the partition for the sake of their own indexes.
    if query.study_uid is None:
        terms += [f"{alias}.partition = {partition}" for alias in ("e", "i") if alias in used]
    return " AND ".join(terms)


async def find(
    database: Database, query: Query, statement: str, *, bound: int = BOUND, ahead: int = AHEAD
) -> tuple[Sequence[Row], int, bool]:
    """Run a search; ``statement`` follows the two common table expressions.

    Its rows must carry ``found`` (the count of ``hits``), also when ``page`` is empty. Returns
    the rows, how many matches remain behind the page, and whether that is exact.
    """
    more_than_bound = False
    if not has_ordered_index(query):
        hits = gathered(query, bound)
        rows = await database.fetch(f"WITH {hits.sql} {statement}", *hits.parameters)
        found: int = rows[0]["found"]
        if found <= bound:
            return rows, max(0, found - query.offset - query.limit), True
        more_than_bound, ahead = True, 0
    hits = walked(query, ahead)
    rows = await database.fetch(f"WITH {hits.sql} {statement}", *hits.parameters)
    beyond = max(0, rows[0]["found"] - query.limit)
    if beyond <= ahead:
        return rows, beyond, True
    known = bound + 1 - query.offset - query.limit if more_than_bound else 0
    return rows, max(beyond, known), False
