"""Conditions that no column answers, matched in the stored documents of few candidates.

The conditions with a column find candidates as in every search; their documents are read and
compared one by one with ``gantry_dicom.document_matching``. That takes a search that leaves no
more than ``CANDIDATES`` of them: another one is refused, never answered in part.

Conditions on one sequence are checked here also when each has a column: columns do not know
which values stand in one item (PS3.4 C.2.2.2.6).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson
from gantry_dicom.document_matching import matches_document
from gantry_dicom.errors import BadRequest, TooLarge
from gantry_dicom.facts import BASE_MARK, SLOT_MARK
from gantry_dicom.query import Condition, DateTimeRange, Level, Query
from gantry_dicom.query_keys import is_document_key, name_of

from gantry_index import cutting, search, search_position
from gantry_index.columns import COLUMNS
from gantry_index.search import Database, Found, Row

CANDIDATES = 5_000
"""Most entities that one search compares by their documents."""
# Documents read at a time: a few megabytes, and other requests get their turn in between.
_BATCH = 500

_ALL_HITS = "SELECT c.found, c.last, page.* FROM counted c LEFT JOIN page ON true ORDER BY page.position"

_STUDY_DOCUMENTS = """SELECT k.position, d.document, d.extra
FROM unnest($1::bigint[]) WITH ORDINALITY AS k(study_pk, position)
JOIN study_document d ON d.study_pk = k.study_pk"""

_SERIES_DOCUMENTS = """SELECT k.position, d.document, d.extra, s.document AS above, s.extra AS above_extra
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS k(study_pk, series_pk, position)
JOIN series_document d ON d.series_pk = k.series_pk
JOIN study_document s ON s.study_pk = k.study_pk"""

# The planner does not know how many keys there are; OFFSET keeps it to one lookup each.
_INSTANCE_DOCUMENTS = """SELECT g.*, x.metadata FROM (
    SELECT i.segment_pk, array_agg(k.position::int) AS positions,
           array_agg(i.metadata_offset) AS offsets, array_agg(i.metadata_length) AS lengths
    FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS k(study_pk, sop_uid, position)
    CROSS JOIN LATERAL (
        SELECT * FROM instance WHERE instance.study_pk = k.study_pk AND instance.sop_uid = k.sop_uid OFFSET 0
    ) i
    GROUP BY i.segment_pk
) g JOIN segment x ON x.id = g.segment_pk"""


@dataclass(frozen=True, slots=True)
class _Level:
    """How the documents of a level are read: statement, and the columns and types of a match."""

    documents: str
    keys: Mapping[str, str]


_LEVELS: Mapping[Level, _Level] = {
    Level.STUDY: _Level(_STUDY_DOCUMENTS, {"study_pk": "bigint"}),
    Level.SERIES: _Level(_SERIES_DOCUMENTS, {"study_pk": "bigint", "series_pk": "bigint"}),
    Level.INSTANCE: _Level(_INSTANCE_DOCUMENTS, {"study_pk": "bigint", "sop_uid": "text"}),
}


async def find(database: Database, query: Query, statement: str, *, candidates: int = CANDIDATES) -> Found:
    """Run a search as ``search.find`` does, whatever its conditions need.

    Raises ``Unavailable``, ``BadRequest``, ``CannotProcess`` for a damaged segment, and ``TooLarge``
    when too many documents would have to be compared.
    """
    in_columns, in_documents = _parted(query)
    if not in_documents or query.level not in _LEVELS:
        return await search.find(database, query, statement)
    level = _LEVELS[query.level]
    wide = replace(query, conditions=tuple(in_columns), limit=candidates, offset=0)
    found = await search.find(database, wide, _ALL_HITS, bound=candidates, ahead=0)
    if found.remaining:
        names = ", ".join(sorted({name_of(path) for one in in_documents for path in _paths(one)}))
        raise TooLarge(
            f"{names} can be compared in at most {candidates} objects at a time and more are left by the"
            " other keys: add a key that narrows the search, as a patient, a study, a series or a date"
        )
    rows = [row for row in found.rows if row["position"] is not None]
    matches: list[Row] = []
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        keys = ([row[column] for row in batch] for column in level.keys)
        documents = await database.fetch(level.documents, *keys)
        matching = await asyncio.to_thread(_matching, query.level, documents, in_documents)
        matches += [row for position, row in enumerate(batch, 1) if position in matching]
    page = matches[query.offset : query.offset + query.limit]
    return await _given(database, query, statement, page, max(0, len(matches) - query.offset - query.limit))


def _parted(query: Query) -> tuple[list[Condition], list[Condition]]:
    """Return the conditions for columns and those for documents; some are both.

    Raises ``BadRequest`` for an attribute that the level does not have.
    """
    columns = COLUMNS[query.level]
    items = Counter(path[:-1] for one in query.conditions for path in _paths(one) if len(path) > 1)
    in_columns, in_documents = [], []
    for condition in query.conditions:
        paths = _paths(condition)
        has_column = all(path in columns for path in paths)
        if has_column:
            in_columns.append(condition)
        elif not all(is_document_key(query.level, path) for path in paths):
            raise BadRequest(f"{name_of(paths[0])} cannot be matched here")
        if not has_column or any(items[path[:-1]] > 1 for path in paths):
            in_documents.append(condition)
    return in_columns, in_documents


def _paths(condition: Condition) -> tuple[tuple[int, ...], ...]:
    if isinstance(condition, DateTimeRange):
        return condition.date_path, condition.time_path
    return (condition.path,)


def _matching(level: Level, rows: Iterable[Row], conditions: Sequence[Condition]) -> set[int]:
    """Return the positions, from 1, of the candidates that match."""
    if level is not Level.INSTANCE:
        return {row["position"] for row in rows if matches_document(conditions, _joined(row))}
    found: set[int] = set()
    for row in rows:
        pieces = cutting.cut(row["metadata"], row["offsets"], row["lengths"])
        found.update(
            position
            for position, piece in zip(row["positions"], pieces, strict=True)
            if matches_document(conditions, orjson.loads(piece.replace(BASE_MARK, b"")))
        )
    return found


def _joined(row: Row) -> dict[str, object]:
    """Return what is stored of a study, or of a series and its study, as one document."""
    runs = [row[column] for column in ("above", "above_extra", "document", "extra") if column in row.keys()]  # noqa: SIM118 - of a record
    whole: dict[str, object] = {}
    for run in runs:
        text = run.replace(SLOT_MARK, b"").replace(BASE_MARK, b"").removesuffix(b",")
        whole |= orjson.loads(b"{" + text + b"}")
    return whole


async def _given(
    database: Database, query: Query, statement: str, page: Sequence[Row], remaining: int
) -> Found:
    keys = _LEVELS[query.level].keys
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(keys.values(), 1))
    sql = f"""WITH page AS MATERIALIZED (
    SELECT * FROM unnest({arrays}) WITH ORDINALITY AS k({", ".join(keys)}, position)
), counted AS (SELECT 0::bigint AS found, NULL::text AS last) {statement}"""  # noqa: S608 - names only
    rows = await database.fetch(sql, *([row[column] for row in page] for column in keys))
    end = None
    if page:
        place = [page[-1][column] for column in search_position.COLUMNS[query.level]]
        end = search_position.token_of(orjson.dumps(place).decode())
    return Found(rows, remaining, remaining_is_exact=True, end=end)
