"""Conflicts: one SOP Instance UID, received with different bytes or in different studies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gantry.index.v1.index_pb2 import VERDICT_STATE_CONFLICT_LOSER, VERDICT_STATE_INDEXED
from gantry.reception.v1.reception_pb2 import Source

from gantry_index.records import FindingKind
from gantry_index.search import Database

_KINDS = [FindingKind.INSTANCE_CONFLICT.value, FindingKind.INSTANCE_IN_STUDIES.value]

_LIST = """
SELECT f.sop_uid, array_agg(DISTINCT f.study_uid::text) AS study_uids, min(f.found_at) AS found_at,
       array_agg(DISTINCT f.kind) AS kinds, max(f.id) AS newest
FROM finding AS f
WHERE f.partition = $1 AND f.kind = ANY ($2::text[]) AND (f.closed_at IS NULL OR $3)
  AND ($4::text IS NULL OR f.study_uid = $4)
GROUP BY f.sop_uid HAVING $5::bigint IS NULL OR max(f.id) < $5
ORDER BY max(f.id) DESC LIMIT $6
"""

_RECEPTIONS = """
SELECT object_key, study_uid, series_uid, sop_uid, sop_class_uid, transfer_syntax_uid, size, meta_length,
       data_set_digest, state, replaces, source, received_at
FROM reception WHERE partition = $1 AND sop_uid = $2 AND state = ANY ($3::smallint[])
ORDER BY order_key
"""


@dataclass(frozen=True, slots=True)
class ConflictingInstance:
    """An instance UID about which findings are; ``newest`` is the number of the newest of them."""

    sop_uid: str
    study_uids: list[str]
    found_at: datetime
    kinds: list[str]
    newest: int


@dataclass(frozen=True, slots=True)
class RivalReception:
    """One of the objects that came under the UID; the indexed one is what searches show."""

    object_key: str
    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    size: int
    meta_length: int
    data_set_digest: bytes
    state: int
    replaces: bool
    source: Source
    received_at: datetime


async def list_conflicts(
    database: Database,
    partition: str,
    limit: int,
    *,
    study_uid: str | None = None,
    with_closed: bool = False,
    before: int | None = None,
) -> list[ConflictingInstance]:
    """Return the instances in conflict, those found last first. Raises ``Unavailable``."""
    rows = await database.fetch(_LIST, partition, _KINDS, with_closed, study_uid, before, limit)
    return [ConflictingInstance(**row) for row in rows]


async def rival_receptions(database: Database, partition: str, sop_uid: str) -> list[RivalReception]:
    """Return what came under a UID, oldest first, without duplicates. Raises ``Unavailable``."""
    rows = await database.fetch(
        _RECEPTIONS, partition, sop_uid, [VERDICT_STATE_INDEXED, VERDICT_STATE_CONFLICT_LOSER]
    )
    return [_rival(row) for row in rows]


def _rival(row: Mapping[str, Any]) -> RivalReception:
    return RivalReception(**{**row, "source": Source.FromString(row["source"])})
