"""Metadata of studies, series and instances: segments inflated, cut and ordered, never parsed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gantry_index import cutting
from gantry_index.search import Database, Row


@dataclass(frozen=True, slots=True)
class MetadataAnswer:
    """Metadata objects in order, with ``BASE_MARK`` still in them, and their version.

    The version changes whenever the objects may have; it is what an ETag is made of, together
    with the base URL, the representation and the caller's view. Nothing found: no objects and
    an empty version.
    """

    version: str
    objects: list[bytes]


# One statement, so that pointers and segments are of one moment; each segment travels once.
_METADATA = """WITH chosen AS (
    SELECT e.series_uid, e.version, i.segment_pk, i.metadata_offset, i.metadata_length,
           row_number() OVER (
               ORDER BY e.series_number, e.series_uid, i.instance_number, i.sop_uid
           )::int AS position
    FROM study s JOIN series e ON e.study_pk = s.id
    JOIN instance i ON i.series_pk = e.id
    WHERE s.partition = $1 AND s.study_uid = $2 {narrowed}
), grouped AS (
    SELECT segment_pk, min(series_uid) AS series_uid, min(version) AS version,
           array_agg(position) AS positions, array_agg(metadata_offset) AS metadata_offsets,
           array_agg(metadata_length) AS metadata_lengths
    FROM chosen GROUP BY segment_pk
)
SELECT g.series_uid, g.version, x.encoder_version, x.corrections,
       g.positions, g.metadata_offsets, g.metadata_lengths, x.metadata
FROM grouped g JOIN segment x ON x.id = g.segment_pk"""

_VERSION = """SELECT DISTINCT e.series_uid, e.version, x.encoder_version, x.corrections
FROM study s JOIN series e ON e.study_pk = s.id
JOIN instance i ON i.series_pk = e.id
JOIN segment x ON x.id = i.segment_pk
WHERE s.partition = $1 AND s.study_uid = $2 {narrowed}"""


def _narrowed(series_uid: str | None, sop_uid: str | None) -> tuple[str, list[str]]:
    parameters: list[str] = []
    terms = ""
    for column, uid in (("e.series_uid", series_uid), ("i.sop_uid", sop_uid)):
        if uid is not None:
            parameters.append(uid)
            terms += f" AND {column} = ${len(parameters) + 2}"
    return terms, parameters


async def read_metadata(
    database: Database,
    partition: str,
    study_uid: str,
    series_uid: str | None = None,
    sop_uid: str | None = None,
) -> MetadataAnswer:
    """Return the metadata of a study, a series or an instance, in the order of retrieval.

    Raises ``Unavailable``, and ``CannotProcess`` when a segment is damaged.
    """
    narrowed, uids = _narrowed(series_uid, sop_uid)
    rows = await database.fetch(_METADATA.format(narrowed=narrowed), partition, study_uid, *uids)
    objects = [b""] * sum(len(row["positions"]) for row in rows)
    for row in rows:
        pieces = cutting.cut(row["metadata"], row["metadata_offsets"], row["metadata_lengths"])
        cutting.placed(row["positions"], pieces, objects)
    return MetadataAnswer(_version(rows), objects)


async def read_version(
    database: Database,
    partition: str,
    study_uid: str,
    series_uid: str | None = None,
    sop_uid: str | None = None,
) -> str:
    """Return the version that ``read_metadata`` would, without reading segments; for If-None-Match."""
    narrowed, uids = _narrowed(series_uid, sop_uid)
    rows = await database.fetch(_VERSION.format(narrowed=narrowed), partition, study_uid, *uids)
    return _version(rows)


def _version(rows: Sequence[Row]) -> str:
    """Return a digest of the series with their versions, encoders and corrections."""
    if not rows:
        return ""
    parts: Iterable[tuple[str, int, int, str]] = {
        (row["series_uid"], row["version"], row["encoder_version"], row["corrections"]) for row in rows
    }
    return hashlib.sha256(repr(sorted(parts)).encode()).hexdigest()[:32]
