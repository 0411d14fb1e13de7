"""What an index says, without what depends on when and in which order it was told.

Two indexes that were given the same receptions must have equal states: ids, versions and
times of writing are left out, references are spelled as UIDs, segments are inflated.
"""

from __future__ import annotations

from typing import Any

import asyncpg
from gantry_index.segments import inflate, read_levels

_QUERIES = {
    "reception": """
        SELECT object_key, partition, study_uid, series_uid, sop_uid, order_key, state, survivor_key, reason,
               replaces, frame_table, size, meta_length, data_set_digest, transfer_syntax_uid, received_at
        FROM reception ORDER BY object_key""",
    "patient": """
        SELECT partition, patient_id, issuer, order_key, name, name_norm, birth_date, sex
        FROM patient ORDER BY 1, 2, 3""",
    "study": """
        SELECT to_jsonb(s) - '{id,patient_pk,version,updated_at}'::text[] AS columns,
               p.patient_id AS linked_patient, p.issuer AS linked_issuer, d.document, d.extra
        FROM study AS s LEFT JOIN patient AS p ON p.id = s.patient_pk
        JOIN study_document AS d ON d.study_pk = s.id ORDER BY s.partition, s.study_uid""",
    "study_modality": """
        SELECT m.partition, s.study_uid, m.modality, m.study_date, m.order_key
        FROM study_modality AS m JOIN study AS s ON s.id = m.study_pk ORDER BY 1, 2, 3""",
    "series": """
        SELECT to_jsonb(e) - '{id,study_pk,version,updated_at}'::text[] AS columns, s.study_uid,
               d.document, d.extra
        FROM series AS e JOIN study AS s ON s.id = e.study_pk
        JOIN series_document AS d ON d.series_pk = e.id ORDER BY e.partition, s.study_uid, e.series_uid""",
    "instance": """
        SELECT to_jsonb(i) - '{study_pk,series_pk,segment_pk,metadata_offset,document_offset,level_offset,
                               level_length}'::text[] AS columns,
               s.study_uid, e.series_uid, e.study_pk = i.study_pk AS one_study,
               g.series_pk = i.series_pk AS own_segment,
               g.metadata, g.documents, g.levels,
               i.metadata_offset, i.metadata_length, i.document_offset, i.document_length,
               i.level_offset, i.level_length
        FROM instance AS i JOIN series AS e ON e.id = i.series_pk JOIN study AS s ON s.id = i.study_pk
        JOIN segment AS g ON g.id = i.segment_pk ORDER BY i.partition, s.study_uid, i.sop_uid""",
    "finding": """
        SELECT partition, kind, study_uid, series_uid, sop_uid, object_key
        FROM finding ORDER BY 1, 2, 3, 4, 5, 6""",
}


async def index_state(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of every table of the index at ``dsn`` in a comparable form."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = {name: await connection.fetch(query) for name, query in _QUERIES.items()}
    finally:
        await connection.close()
    state = {name: [tuple(row) for row in found] for name, found in rows.items()}
    state["instance"] = [_instance(row) for row in rows["instance"]]
    return state


def _instance(row: asyncpg.Record) -> tuple[Any, ...]:
    metadata, documents = inflate(row["metadata"]), inflate(row["documents"])
    return (
        *(row["columns"], row["study_uid"], row["series_uid"], row["one_study"], row["own_segment"]),
        _cut(metadata, row["metadata_offset"], row["metadata_length"]),
        _cut(documents, row["document_offset"], row["document_length"]),
        read_levels(row["metadata"], row["levels"], row["level_offset"], row["level_length"]),
    )


def _cut(data: bytes, offset: int, length: int) -> bytes:
    return data[offset : offset + length]
