"""What is destroyed: applied to the index, and what the storage service asks before and after.

The receptions of destroyed objects keep a row that says *tombstoned* for ever. A replay finds the
verdict and leaves the object, which is not there any more, alone; on a new index the purge comes
before the manifests and makes the row itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from gantry.amendment.v1.amendment_pb2 import AMENDMENT_KIND_HIDE, Amendment
from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_DUPLICATE,
    VERDICT_STATE_INDEXED,
    VERDICT_STATE_TOMBSTONED,
)
from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.keys import order_key

from gantry_index.pools import Connection
from gantry_index.reception_rows import RECEPTION_COLUMNS, reception_of
from gantry_index.search import Database
from gantry_index.segments import read_levels

_MARK = """
UPDATE hidden SET purged_by = $4
WHERE partition = $1 AND study_uid = $2 AND revision = $3 AND purged_by IS NULL
RETURNING object_key, series_uid, sop_uid
"""

_TOMBSTONES = """
INSERT INTO reception (
    object_key, partition, store_id, order_key, study_uid, series_uid, sop_uid, sop_class_uid,
    transfer_syntax_uid, size, meta_length, data_set_digest, state, source, received_at, decided_at, is_gone
)
SELECT k.object_key, $5, '', k.order_key, $6, k.series_uid, k.sop_uid, '', '', 0, 0, '', $7, '',
    to_timestamp(0), now(), true
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS k(object_key, series_uid, sop_uid, order_key)
ON CONFLICT (object_key) DO UPDATE SET state = excluded.state, is_gone = true
"""

# Metadata of instances that nobody can see any more.
_DROP_SEGMENTS = """
DELETE FROM segment AS g USING series AS e, study AS s
WHERE s.partition = $1 AND s.study_uid = $2 AND e.study_pk = s.id AND g.series_pk = e.id
  AND NOT EXISTS (SELECT 1 FROM instance AS i WHERE i.series_pk = e.id AND i.segment_pk = g.id)
"""

# What shares a segment with something that is gone is derived again, into a segment without it.
_RENEW = """
INSERT INTO renewal (object_key, scope, partition, order_key)
SELECT i.object_key, $3, i.partition, i.order_key
FROM study AS s JOIN instance AS i ON i.study_pk = s.id JOIN segment AS g ON g.id = i.segment_pk
WHERE s.partition = $1 AND s.study_uid = $2 AND g.instance_count > (
    SELECT count(*) FROM instance AS t WHERE t.series_pk = g.series_pk AND t.segment_pk = g.id
)
ON CONFLICT (object_key, scope) DO UPDATE SET attempts = 0
"""

_DUE = """
SELECT DISTINCT h.partition, h.study_uid FROM hidden AS h
JOIN amendment AS a ON a.partition = h.partition AND a.study_uid = h.study_uid AND a.revision = h.revision
WHERE h.purged_by IS NULL AND a.kind = $1 AND a.undone_by IS NULL AND a.made_at < $2
  AND ($3::text IS NULL OR h.partition = $3)
ORDER BY 1, 2 LIMIT $4
"""

_NOT_TOMBSTONED = """
SELECT object_key FROM reception WHERE object_key = ANY ($1::text[]) AND state <> $2
"""

_GONE = "SELECT object_key FROM reception WHERE object_key = ANY ($1::text[]) AND is_gone"

_RECEIVED_IN = """
SELECT DISTINCT u.study_uid FROM reception AS r
CROSS JOIN LATERAL unnest(ARRAY[r.study_uid, r.received_study_uid]) AS u(study_uid)
WHERE r.object_key = ANY ($1::text[]) AND u.study_uid IS NOT NULL
"""

_RECEPTIONS = f"SELECT {RECEPTION_COLUMNS} FROM reception AS r WHERE r.object_key = ANY ($1::text[])"  # noqa: S608

_SURVIVORS = """
SELECT k.object_key, w.object_key AS survivor_key
FROM reception AS k JOIN reception AS w
    ON w.partition = k.partition AND w.study_uid = k.study_uid AND w.sop_uid = k.sop_uid
    AND w.state = $2 AND w.data_set_digest = k.data_set_digest
WHERE k.object_key = ANY ($1::text[])
"""

# Only where all receptions of the instance say the same: with a conflict among them a duplicate may be
# what decided it, and a rebuild without it would decide otherwise.
_DUPLICATES = """
SELECT r.object_key, r.partition, r.study_uid, r.series_uid, r.sop_uid FROM reception AS r
WHERE r.state = $1 AND r.decided_at < $2 AND ($3::text IS NULL OR r.partition = $3)
  AND NOT EXISTS (
    SELECT 1 FROM reception AS o
    WHERE o.partition = r.partition AND o.sop_uid = r.sop_uid AND o.study_uid = r.study_uid
      AND (o.data_set_digest, o.transfer_syntax_uid) <> (r.data_set_digest, r.transfer_syntax_uid)
  )
ORDER BY r.partition, r.study_uid, r.order_key LIMIT $4
"""

_PATIENT = "SELECT patient_id, patient_issuer FROM study WHERE partition = $1 AND study_uid = $2"

_LEVELS = """
SELECT DISTINCT ON (i.segment_pk, i.level_offset)
    g.metadata, g.levels, i.level_offset, i.level_length
FROM study AS s JOIN instance AS i ON i.study_pk = s.id JOIN segment AS g ON g.id = i.segment_pk
WHERE s.partition = $1 AND s.study_uid = $2
"""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A reception whose bytes lie under another key too."""

    object_key: str
    partition: str
    study_uid: str
    series_uid: str
    sop_uid: str


async def apply_purge(connection: Connection, amendment: Amendment, scope: str) -> None:
    """Mark what a purge destroys and forget what was derived from it; the caller holds the study's lock.

    What shares its metadata with others waits to be derived again under ``scope``.
    """
    partition, study_uid = amendment.partition, amendment.study_instance_uid
    rows = await connection.fetch(_MARK, partition, study_uid, amendment.purges, amendment.revision)
    await connection.execute(
        _TOMBSTONES,
        [row["object_key"] for row in rows],
        [row["series_uid"] for row in rows],
        [row["sop_uid"] for row in rows],
        [_order_key(row["object_key"]) for row in rows],
        *(partition, study_uid, VERDICT_STATE_TOMBSTONED),
    )
    await connection.execute(_DROP_SEGMENTS, partition, study_uid)
    await connection.execute(_RENEW, partition, study_uid, scope)


async def studies_to_purge(
    database: Database, deleted_before: datetime, partition: str | None, limit: int
) -> list[tuple[str, str]]:
    """Return partition and UID of studies with a deletion from before then that is not final yet."""
    rows = await database.fetch(_DUE, AMENDMENT_KIND_HIDE, deleted_before, partition, limit)
    return [(row["partition"], row["study_uid"]) for row in rows]


async def still_shown(database: Database, object_keys: Sequence[str]) -> list[str]:
    """Return those of the objects that the index has not tombstoned. Raises ``Unavailable``."""
    rows = await database.fetch(_NOT_TOMBSTONED, list(object_keys), VERDICT_STATE_TOMBSTONED)
    return [row["object_key"] for row in rows]


async def gone_keys(database: Database, object_keys: Iterable[str]) -> set[str]:
    """Return those of the objects that were destroyed on purpose. Raises ``Unavailable``."""
    return {row["object_key"] for row in await database.fetch(_GONE, list(object_keys))}


async def receptions_of(database: Database, object_keys: Sequence[str]) -> list[Reception]:
    """Return how the objects were received, as far as the index knows them. Raises ``Unavailable``."""
    return [reception_of(row) for row in await database.fetch(_RECEPTIONS, list(object_keys))]


async def studies_of(database: Database, object_keys: Sequence[str]) -> set[str]:
    """Return the studies that the objects are in, and those that they were received in."""
    rows = await database.fetch(_RECEIVED_IN, list(object_keys))
    return {row["study_uid"] for row in rows}


async def survivors_of(database: Database, object_keys: Sequence[str]) -> dict[str, str]:
    """Return for each object the one shown in its place with the same data set. Raises ``Unavailable``."""
    rows = await database.fetch(_SURVIVORS, list(object_keys), VERDICT_STATE_INDEXED)
    return {row["object_key"]: row["survivor_key"] for row in rows if row[0] != row[1]}


async def old_duplicates(
    database: Database, decided_before: datetime, partition: str | None, limit: int
) -> list[Duplicate]:
    """Return receptions that have been duplicates since before then, study by study."""
    rows = await database.fetch(_DUPLICATES, VERDICT_STATE_DUPLICATE, decided_before, partition, limit)
    return [Duplicate(*row) for row in rows]


async def patients_of(database: Database, partition: str, study_uid: str) -> set[tuple[str, str]]:
    """Return Patient ID and issuer of everybody whom a shown instance of the study names.

    As shown, and as the instances themselves say. Raises ``Unavailable``.
    """
    shown = await database.fetch(_PATIENT, partition, study_uid)
    found = {(row["patient_id"] or "", row["patient_issuer"] or "") for row in shown}
    for row in await database.fetch(_LEVELS, partition, study_uid):
        level = read_levels(*row).study
        found.add((level.patient_id or "", level.patient_issuer or ""))
    return {patient for patient in found if patient[0]}


def _order_key(object_key: str) -> str:
    batch, ordinal = object_key.split("/")[-2:]
    return order_key(batch, int(ordinal))
