"""What the index says of received objects, to be compared with manifests and bucket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_CONFLICT_LOSER,
    VERDICT_STATE_DUPLICATE,
    VERDICT_STATE_INDEXED,
    VERDICT_STATE_PENDING,
)

from gantry_index.aggregates import recount_study, settle_patients
from gantry_index.arrivals import lock_key
from gantry_index.pools import IndexPool
from gantry_index.search import Database

# States of receptions of an instance that is shown: when it is taken away, another may take its place.
_CANDIDATES = [VERDICT_STATE_INDEXED, VERDICT_STATE_DUPLICATE, VERDICT_STATE_CONFLICT_LOSER]
# Behind every key of a folder, whose names are digits.
_BEHIND = "~"
# Receptions up to which the whole table may be looked through for a digest, which has no index.
_FEW_RECEPTIONS = 5_000_000

_SELECT = """
SELECT r.object_key, r.partition, r.study_uid, r.series_uid, r.sop_uid, r.state, r.size, r.meta_length,
       r.data_set_digest, r.transfer_syntax_uid,
       EXISTS (SELECT 1 FROM instance AS i
               WHERE i.partition = r.partition AND i.sop_uid = r.sop_uid AND i.object_key = r.object_key
                 AND i.data_set_digest = r.data_set_digest AND i.size = r.size) AS is_shown
FROM reception AS r
"""

_NUMBERS = """
SELECT s.series_count, s.instance_count,
       (SELECT count(*)::int FROM series AS e WHERE e.study_pk = s.id) AS counted_series,
       (SELECT count(*)::int FROM instance AS i WHERE i.study_pk = s.id) AS counted_instances
FROM study AS s WHERE s.partition = $1 AND s.study_uid = $2
"""

_SAME_INSTANCE = """
SELECT object_key FROM reception
WHERE partition = $1 AND sop_uid = $2 AND data_set_digest = $3 AND object_key <> $4 ORDER BY order_key
"""

_SAME_DIGEST = """
SELECT object_key FROM reception WHERE partition = $1 AND data_set_digest = $2 ORDER BY order_key LIMIT 8
"""

_REOPEN = """
UPDATE reception SET state = $5, survivor_key = NULL, attempts = 0
WHERE partition = $1 AND study_uid = $2 AND sop_uid = $3 AND state = ANY ($4::smallint[])
RETURNING object_key
"""


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """A reception in the index; ``is_shown`` when its instance row points at it and says the same."""

    object_key: str
    partition: str
    study_uid: str
    series_uid: str
    sop_uid: str
    state: int
    size: int
    meta_length: int
    data_set_digest: bytes
    transfer_syntax_uid: str
    is_shown: bool


@dataclass(frozen=True, slots=True)
class StudyNumbers:
    """The numbers kept of a study, and those that counting gives."""

    series_count: int
    instance_count: int
    counted_series: int
    counted_instances: int


async def rows_of(database: Database, object_keys: Sequence[str]) -> dict[str, ObjectRow]:
    """Return the rows of objects by key. Raises ``Unavailable``."""
    rows = await database.fetch(f"{_SELECT} WHERE r.object_key = ANY ($1::text[])", list(object_keys))
    return {row["object_key"]: _row(row) for row in rows}


async def rows_under(database: Database, folder: str) -> dict[str, ObjectRow]:
    """Return the rows of every object of a batch by key; ``folder`` ends in ``/``. Raises ``Unavailable``."""
    rows = await database.fetch(
        f"{_SELECT} WHERE r.object_key >= $1 AND r.object_key < $2", folder, folder + _BEHIND
    )
    return {row["object_key"]: _row(row) for row in rows}


async def hidden_among(database: Database, object_keys: Sequence[str]) -> frozenset[str]:
    """Return which objects were taken out of sight, whether there is a row or not. Raises ``Unavailable``."""
    rows = await database.fetch(
        "SELECT object_key FROM hidden WHERE object_key = ANY ($1::text[])", list(object_keys)
    )
    return frozenset(row["object_key"] for row in rows)


async def destroyed_among(database: Database, object_keys: Sequence[str]) -> frozenset[str]:
    """Return which objects a purge has destroyed, or is about to. Raises ``Unavailable``."""
    rows = await database.fetch(
        "SELECT object_key FROM hidden WHERE object_key = ANY ($1::text[]) AND purged_by IS NOT NULL"
        " UNION SELECT object_key FROM reception WHERE object_key = ANY ($1::text[]) AND is_gone",
        list(object_keys),
    )
    return frozenset(row["object_key"] for row in rows)


async def rows_of_study(database: Database, partition: str, study_uid: str) -> dict[str, ObjectRow]:
    """Return the rows of everything received of a study by key. Raises ``Unavailable``."""
    rows = await database.fetch(
        f"{_SELECT} WHERE r.partition = $1 AND r.study_uid = $2", partition, study_uid
    )
    return {row["object_key"]: _row(row) for row in rows}


async def numbers_of_study(database: Database, partition: str, study_uid: str) -> StudyNumbers | None:
    """Return a study's numbers, ``None`` when the index has no such study. Raises ``Unavailable``."""
    rows = await database.fetch(_NUMBERS, partition, study_uid)
    return StudyNumbers(**rows[0]) if rows else None


async def objects_of_content(
    database: Database, partition: str, sop_uid: str, digest: bytes, other_than: str
) -> list[str]:
    """Return keys of other objects with the same data set: receptions of the instance first.

    A digest has no index, so beyond the instance it is looked for in small archives only. Raises
    ``Unavailable``.
    """
    keys = [
        row["object_key"]
        for row in await database.fetch(_SAME_INSTANCE, partition, sop_uid, digest, other_than)
    ]
    if keys:
        return keys
    size = await database.fetch("SELECT reltuples AS n FROM pg_class WHERE oid = 'reception'::regclass")
    if size[0]["n"] > _FEW_RECEPTIONS:
        return []
    rows = await database.fetch(_SAME_DIGEST, partition, digest)
    return [row["object_key"] for row in rows if row["object_key"] != other_than]


async def forget_object(pool: IndexPool, object_key: str) -> list[str]:
    """Take an object out of the index and recount its study.

    Returns the other receptions of its instance, if it was shown: they are undecided now and have to
    be indexed again. Only for rows that are wrong; what is to be hidden is amended. Raises
    ``Unavailable``.
    """
    row = await pool.fetchrow(
        "SELECT partition, study_uid, sop_uid FROM reception WHERE object_key = $1", object_key
    )
    if row is None:
        return []
    partition, study_uid, sop_uid = row
    reopened: list[str] = []
    async with pool.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", lock_key("study", partition, study_uid))
        gone = await connection.fetch(
            "DELETE FROM instance WHERE partition = $2 AND sop_uid = $3 AND object_key = $1"
            " RETURNING study_pk",
            *(object_key, partition, sop_uid),
        )
        await connection.execute("DELETE FROM reception WHERE object_key = $1", object_key)
        if gone:
            rows = await connection.fetch(
                _REOPEN, partition, study_uid, sop_uid, _CANDIDATES, VERDICT_STATE_PENDING
            )
            reopened = [each["object_key"] for each in rows]
        for deleted in gone:
            await settle_patients(connection, await recount_study(connection, deleted["study_pk"]))
    return reopened


def _row(row: Mapping[str, Any]) -> ObjectRow:
    return ObjectRow(**row)
