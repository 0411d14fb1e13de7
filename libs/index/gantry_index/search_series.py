"""Answers of the series level (PS3.18 Table 10.6.3-4), with the study's attributes where asked for."""

from __future__ import annotations

from gantry_dicom.facts import assemble
from gantry_dicom.query import Include, Query

from gantry_index import documents
from gantry_index.document_filter import find
from gantry_index.rejections import series_count
from gantry_index.search import Database, Row, SearchPage
from gantry_index.search_study import study_answer, study_columns, study_extra

_STATEMENT = """SELECT c.found, c.last, {columns}
FROM counted c
LEFT JOIN (page JOIN series e ON e.id = page.series_pk JOIN study s ON s.id = page.study_pk {joins}) ON true
ORDER BY page.position"""

_DOCUMENT = "JOIN series_document ed ON ed.series_pk = e.id"


async def search_series(database: Database, query: Query, retrieve_ae_title: str) -> SearchPage:
    """Return the page of series. Raises ``Unavailable`` and ``BadRequest``.

    The study's attributes are added when the search is not below one study (PS3.18
    10.6.3.3.2); single ones of them also by ``includefield``.
    """
    wants_more = query.include.all or bool(query.include.tags)
    adds_study = query.include_parents and query.study_uid is None
    columns = series_columns(query) + (", ed.extra AS series_extra" if wants_more else "")
    joins = _DOCUMENT
    if wants_more or adds_study:
        of_study, study_joins = study_columns(query)
        columns += f", {of_study}, sd.extra AS study_extra"
        joins += f" {study_joins}"
    else:
        columns += ", s.study_uid"
    found = await find(database, query, _STATEMENT.format(columns=columns, joins=joins))
    parents = ParentElements(query.include, adds_study, retrieve_ae_title)
    answers = []
    for row in found.rows:
        if row["series_uid"] is None:
            continue
        answer = series_answer(row, retrieve_ae_title)
        if wants_more or adds_study:
            elements = {**parents.of(row), **documents.fragments(answer)}
            if wants_more:
                elements |= series_extra(row, query.include)
            answer = documents.joined(elements)
        answers.append(answer)
    return found.page(answers)


def series_columns(query: Query) -> str:
    """Return the columns that ``series_answer`` needs of the series ``e``."""
    return f"e.series_uid, {series_count(query)} AS series_instance_count, ed.document AS series_document"


def series_answer(row: Row, retrieve_ae_title: str) -> bytes:
    """Return the series' JSON object with its computed attributes."""
    slots = documents.series_slots(
        retrieve_ae_title, row["study_uid"], row["series_uid"], row["series_instance_count"]
    )
    return assemble(row["series_document"], slots)


def series_extra(row: Row, include: Include) -> documents.Fragments:
    """Return those optional attributes of the series that are asked for."""
    return documents.chosen(documents.fragments(row["series_extra"]), include)


class ParentElements:
    """The study's elements in the answers of a page, cut once a study."""

    def __init__(self, include: Include, adds_study: bool, retrieve_ae_title: str) -> None:
        self._include = include
        self._adds_study = adds_study
        self._retrieve_ae_title = retrieve_ae_title
        self._known: dict[str, documents.Fragments] = {}

    def of(self, row: Row) -> documents.Fragments:
        """Return the elements that the study of ``row`` adds."""
        uid: str = row["study_uid"]
        if uid not in self._known:
            own = documents.fragments(study_answer(row, self._retrieve_ae_title))
            if self._adds_study:
                self._known[uid] = {**study_extra(row, self._include), **own}
            else:
                # `all` means all of the level itself; a study's attribute must be named.
                named = Include(tags=self._include.tags)
                everything = {**documents.fragments(row["study_extra"]), **own}
                self._known[uid] = documents.chosen(everything, named)
        return self._known[uid]
