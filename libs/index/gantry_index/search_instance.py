"""Answers of the instance level (PS3.18 Table 10.6.3-5), with parents' attributes where asked for.

The documents of instances lie in segments: each segment of the page is read and inflated once.
Segments and the pointers into them come from one statement, hence from one moment.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from gantry_dicom.attributes import level_of
from gantry_dicom.document_matching import Creators, private_creators, stored_tag
from gantry_dicom.facts import assemble
from gantry_dicom.query import Level, Query, Tag
from gantry_dicom.query_keys import is_private, is_private_creator

from gantry_index import cutting, documents
from gantry_index.document_filter import find
from gantry_index.search import Database, Row, SearchPage
from gantry_index.search_series import ParentElements, series_answer, series_columns, series_extra
from gantry_index.search_study import study_columns

_STATEMENT = """SELECT c.found, c.last, g.positions, g.sop_uids,
       g.document_offsets, g.document_lengths, {columns}
FROM counted c
LEFT JOIN (
    (SELECT i.segment_pk, array_agg(page.position::int) AS positions, array_agg(i.sop_uid) AS sop_uids,
            array_agg(i.document_offset) AS document_offsets,
            array_agg(i.document_length) AS document_lengths,
            array_agg(i.metadata_offset) AS metadata_offsets,
            array_agg(i.metadata_length) AS metadata_lengths
     FROM page JOIN instance i ON i.study_pk = page.study_pk AND i.sop_uid = page.sop_uid
     GROUP BY i.segment_pk) g
    JOIN segment x ON x.id = g.segment_pk
    JOIN series e ON e.id = x.series_pk
    JOIN study s ON s.id = e.study_pk {joins}
) ON true"""

_METADATA = ", g.metadata_offsets, g.metadata_lengths, x.metadata"


async def search_instances(database: Database, query: Query, retrieve_ae_title: str) -> SearchPage:
    """Return the page of instances. Raises ``Unavailable``, ``BadRequest`` and ``CannotProcess``.

    The attributes of those parents are added that the search is not below of (PS3.18
    10.6.3.3.3). ``includefield`` is answered from the complete metadata.
    """
    wants_more = query.include.all or bool(query.include.tags)
    adds_study = query.include_parents and query.study_uid is None
    adds_series = query.include_parents and query.series_uid is None
    columns, joins = "x.documents", ""
    if wants_more:
        columns += _METADATA
    if adds_series:
        columns += f", {series_columns(query)}, ed.extra AS series_extra"
        joins += " JOIN series_document ed ON ed.series_pk = e.id"
    else:
        columns += ", e.series_uid"
    if adds_study:
        of_study, study_joins = study_columns(query)
        columns += f", {of_study}, sd.extra AS study_extra"
        joins += f" {study_joins}"
    else:
        columns += ", s.study_uid"
    found = await find(database, query, _STATEMENT.format(columns=columns, joins=joins))
    rows = [row for row in found.rows if row["positions"] is not None]
    answers = [b""] * sum(len(row["positions"]) for row in rows)
    study_elements = ParentElements(query.include, adds_study, retrieve_ae_title)
    for row in rows:
        pieces = _answers(row, retrieve_ae_title)
        if wants_more or adds_series:
            parents: documents.Fragments = study_elements.of(row) if adds_study else {}
            if adds_series:
                own = documents.fragments(series_answer(row, retrieve_ae_title))
                parents = {**parents, **series_extra(row, query.include), **own}
            asked = _asked(row, query) if wants_more else [{}] * len(pieces)
            pieces = [
                documents.joined({**parents, **more, **documents.fragments(piece)})
                for piece, more in zip(pieces, asked, strict=True)
            ]
        cutting.placed(row["positions"], pieces, answers)
    return found.page(answers)


def _answers(row: Row, retrieve_ae_title: str) -> list[bytes]:
    """Return the answers of one segment's instances."""
    study_uid, series_uid = row["study_uid"], row["series_uid"]
    pieces = cutting.cut(row["documents"], row["document_offsets"], row["document_lengths"])
    return [
        assemble(piece, documents.instance_slots(retrieve_ae_title, study_uid, series_uid, sop_uid))
        for piece, sop_uid in zip(pieces, row["sop_uids"], strict=True)
    ]


def _asked(row: Row, query: Query) -> list[documents.Fragments]:
    """Return the elements asked for by ``includefield``, an instance each.

    ``all`` is every attribute of the instance's own level but pixel data, and any that is named.
    """
    include = query.include
    pieces = cutting.cut(row["metadata"], row["metadata_offsets"], row["metadata_lengths"])
    creators = private_creators(query.conditions)
    named = documents.tag_names(tag for tag in include.tags if not (creators and is_private(tag)))
    private = [tag for tag in include.tags if creators and is_private(tag)]
    answers: list[documents.Fragments] = []
    for piece in pieces:
        elements = documents.fragments(piece)
        wanted = named | _private_names(elements, private, creators) if private else named
        answers.append(
            {
                tag: element
                for tag, element in elements.items()
                if tag in wanted or (include.all and _belongs_to_instances(tag))
            }
        )
    return answers


def _private_names(
    elements: documents.Fragments, tags: Iterable[Tag], creators: Creators
) -> frozenset[bytes]:
    """Return the tags that an instance holds private attributes under, by their creators."""
    reserved = [name for name in elements if is_private_creator(int(name, 16))]
    item = orjson.loads(b"{" + b",".join(elements[name] for name in reserved) + b"}")
    names = (stored_tag(item, tag, creators) for tag in tags)
    return frozenset(name.encode() for name in names if name is not None)


def _belongs_to_instances(tag: bytes) -> bool:
    return not tag.startswith(b"7FE0") and level_of(int(tag, 16)) is Level.INSTANCE
