"""Answers of the study level (PS3.18 Table 10.6.3-3)."""

from __future__ import annotations

from gantry_dicom.facts import assemble
from gantry_dicom.query import Include, Query

from gantry_index import documents
from gantry_index.document_filter import find
from gantry_index.rejections import study_numbers
from gantry_index.search import Database, Row, SearchPage

_STATEMENT = """SELECT c.found, c.last, {columns}
FROM counted c
LEFT JOIN (page JOIN study s ON s.id = page.study_pk {joins}) ON true
ORDER BY page.position"""


async def search_studies(database: Database, query: Query, retrieve_ae_title: str) -> SearchPage:
    """Return the page of studies. Raises ``Unavailable`` and ``BadRequest``."""
    wants_more = query.include.all or bool(query.include.tags)
    columns, joins = study_columns(query)
    if wants_more:
        columns += ", sd.extra AS study_extra"
    found = await find(database, query, _STATEMENT.format(columns=columns, joins=joins))
    answers = []
    for row in found.rows:
        if row["study_uid"] is None:  # the row that carries `found` of an empty page
            continue
        answer = study_answer(row, retrieve_ae_title)
        if wants_more:
            elements = documents.fragments(answer)
            answer = documents.joined({**study_extra(row, query.include), **elements})
        answers.append(answer)
    return found.page(answers)


def study_columns(query: Query) -> tuple[str, str]:
    """Return the columns that ``study_answer`` needs of the study ``s``, and the joins for them."""
    numbers, join = study_numbers(query)
    return (
        f"s.study_uid, {numbers}, sd.document AS study_document",
        f"JOIN study_document sd ON sd.study_pk = s.id{join}",
    )


def study_answer(row: Row, retrieve_ae_title: str) -> bytes:
    """Return the study's JSON object with its computed attributes."""
    slots = documents.study_slots(
        retrieve_ae_title,
        row["study_uid"],
        row["modalities"],
        row["sop_classes"],
        row["series_count"],
        row["instance_count"],
    )
    return assemble(row["study_document"], slots)


def study_extra(row: Row, include: Include) -> documents.Fragments:
    """Return those optional attributes of the study that are asked for."""
    return documents.chosen(documents.fragments(row["study_extra"]), include)
