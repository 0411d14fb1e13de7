"""What retention asks of the index: every study with what its policies look at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime

from gantry.reception.v1.reception_pb2 import Source

from gantry_index.search import Database

# By id, a page at a time: a run is long, and a study that came meanwhile is too young to matter.
_PAGE = """
SELECT s.id, s.partition, s.study_uid, s.study_date, s.first_received_at, s.patient_birth_date, s.modalities,
       a.day AS looked_at
FROM study AS s
LEFT JOIN study_access AS a ON a.partition = s.partition AND a.study_uid = s.study_uid
WHERE s.id > $1 AND s.first_received_at < $2 AND ($3::text IS NULL OR s.partition = $3)
ORDER BY s.id LIMIT $4
"""

_MEASURE = """
SELECT count(*) AS instances, coalesce(sum(size), 0)::bigint AS bytes, max(received_at) AS newest_at,
       coalesce(array_agg(DISTINCT store_id), '{}') AS stores
FROM instance WHERE study_pk = $1
"""

_SOURCES = """
SELECT DISTINCT r.source FROM study AS s
JOIN instance AS i ON i.study_pk = s.id JOIN reception AS r ON r.object_key = i.object_key
WHERE s.partition = $1 AND s.study_uid = $2
"""


@dataclass(frozen=True, slots=True)
class KeptStudy:
    """A study that is shown; ``received_at`` is when the first of it was received."""

    id: int
    partition: str
    study_uid: str
    study_date: date | None
    received_at: datetime
    birth_date: date | None
    modalities: tuple[str, ...]
    # When somebody last looked at it.
    looked_at: date | None


@dataclass(frozen=True, slots=True)
class Measure:
    """What there is of a study, when the last of it was received (``None`` of nothing), and where it lies."""

    instances: int
    bytes: int
    newest_at: datetime | None
    stores: tuple[str, ...]


async def kept_studies(
    database: Database, received_before: datetime, partition: str | None, page: int = 1000
) -> AsyncIterator[KeptStudy]:
    """Yield every study of which something was received before then. Raises ``Unavailable``."""
    after = 0
    while rows := await database.fetch(_PAGE, after, received_before, partition, page):
        for row in rows:
            yield KeptStudy(
                id=row["id"],
                partition=row["partition"],
                study_uid=row["study_uid"],
                study_date=row["study_date"],
                received_at=row["first_received_at"],
                birth_date=row["patient_birth_date"],
                modalities=tuple(row["modalities"]),
                looked_at=row["looked_at"],
            )
        after = rows[-1]["id"]


async def measured(database: Database, study: KeptStudy) -> Measure:
    """Return what there is of a study now. Raises ``Unavailable``."""
    row = (await database.fetch(_MEASURE, study.id))[0]
    return Measure(row["instances"], row["bytes"], row["newest_at"], tuple(row["stores"]))


async def sources_of(database: Database, partition: str, study_uid: str) -> tuple[str, ...]:
    """Return AE titles and names of those who sent what is shown of a study. Raises ``Unavailable``."""
    rows = await database.fetch(_SOURCES, partition, study_uid)
    sources = [Source.FromString(row["source"]) for row in rows]
    names = {name for source in sources for name in (source.calling_ae_title, source.principal)}
    return tuple(sorted(names - {""}))
