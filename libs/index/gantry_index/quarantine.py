"""Quarantined objects: received, and not indexable as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gantry.index.v1.index_pb2 import VERDICT_STATE_PENDING, VERDICT_STATE_QUARANTINED
from gantry.reception.v1.reception_pb2 import Source

from gantry_index.pools import IndexPool
from gantry_index.search import Database

_COLUMNS = """object_key, partition, study_uid, series_uid, sop_uid, sop_class_uid, transfer_syntax_uid, size,
    meta_length, data_set_digest, reason, attempts + earlier_attempts AS attempts, source, received_at,
    decided_at"""

_LIST = f"""
SELECT {_COLUMNS} FROM reception
WHERE state = $1 AND partition = $2 AND ($3::text IS NULL OR study_uid = $3)
  AND ($4::text IS NULL OR object_key < $4)
ORDER BY object_key DESC LIMIT $5
"""  # noqa: S608 - column names of this module

_TRY_AGAIN = """
UPDATE reception SET state = $3, earlier_attempts = earlier_attempts + attempts, attempts = 0
WHERE object_key = $1 AND state = $2 RETURNING object_key
"""


@dataclass(frozen=True, slots=True)
class QuarantinedObject:
    """One object that was put aside, why, and what its sender and its manifest say of it."""

    object_key: str
    partition: str
    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    size: int
    meta_length: int
    data_set_digest: bytes
    reason: str | None
    # All of them, also before it was last tried again.
    attempts: int
    source: Source
    received_at: datetime
    decided_at: datetime | None


async def list_quarantined(
    database: Database, partition: str, limit: int, *, study_uid: str | None = None, before: str | None = None
) -> list[QuarantinedObject]:
    """Return quarantined objects of a partition by key, downwards from ``before``. Raises ``Unavailable``."""
    rows = await database.fetch(_LIST, VERDICT_STATE_QUARANTINED, partition, study_uid, before, limit)
    return [_quarantined(row) for row in rows]


async def read_quarantined(database: Database, object_key: str) -> QuarantinedObject | None:
    """Return one object if it is quarantined. Raises ``Unavailable``."""
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM reception WHERE object_key = $1 AND state = $2",  # noqa: S608 - see above
        *(object_key, VERDICT_STATE_QUARANTINED),
    )
    return _quarantined(rows[0]) if rows else None


async def try_again(pool: IndexPool, object_key: str) -> bool:
    """Take an object out of quarantine, undecided once more; tells whether it was in it.

    Its attempts are counted from the beginning, those before are kept. Raises ``Unavailable``.
    """
    row = await pool.fetchrow(_TRY_AGAIN, object_key, VERDICT_STATE_QUARANTINED, VERDICT_STATE_PENDING)
    return row is not None


async def count_quarantined(database: Database) -> int:
    """Return how many objects are in quarantine. Raises ``Unavailable``."""
    rows = await database.fetch(
        "SELECT count(*) AS n FROM reception WHERE state = $1 AND state <> 2", VERDICT_STATE_QUARANTINED
    )
    return int(rows[0]["n"])


def _quarantined(row: Mapping[str, Any]) -> QuarantinedObject:
    return QuarantinedObject(**{**row, "source": Source.FromString(row["source"])})
