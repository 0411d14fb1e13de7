"""Findings: what a human should look at, from the moment it is found until it is closed.

Those about conflicts and mixed patients are written by the upsert, those of ``STORAGE_FINDINGS`` by
the storage service. A finding that was closed and is found again is open again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gantry_index.pools import IndexPool
from gantry_index.records import FindingKind
from gantry_index.search import Database

_COLUMNS = """id, partition, kind, study_uid, series_uid, sop_uid, object_key, evidence, found_at, seen_at,
    attempts, trouble, closed_at, closed_by, resolution"""

_OPEN = f"""
INSERT INTO finding AS t (partition, kind, study_uid, series_uid, sop_uid, object_key, evidence)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[])
ON CONFLICT (partition, kind, study_uid, series_uid, sop_uid, object_key) DO UPDATE SET
    evidence = coalesce(t.evidence, '{{}}') || excluded.evidence, seen_at = now(),
    found_at = CASE WHEN t.closed_at IS NULL THEN t.found_at ELSE now() END,
    attempts = CASE WHEN t.closed_at IS NULL THEN t.attempts ELSE 0 END,
    trouble = CASE WHEN t.closed_at IS NULL THEN t.trouble END,
    closed_at = NULL, closed_by = NULL, resolution = NULL
RETURNING {_COLUMNS}
"""  # noqa: S608 - column names of this module

_LIST = f"""
SELECT {_COLUMNS} FROM finding
WHERE partition = $1 AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR study_uid = $3)
  AND ($4::boolean IS NULL OR (closed_at IS NULL) = $4) AND ($5::bigint IS NULL OR id < $5)
ORDER BY id DESC LIMIT $6
"""  # noqa: S608 - column names of this module

_CLOSE = """
UPDATE finding SET closed_at = now(), closed_by = $3, resolution = $4
WHERE partition = $1 AND id = $2 AND closed_at IS NULL RETURNING id
"""

_CLOSE_OBJECTS = """
UPDATE finding SET closed_at = now(), closed_by = $3, resolution = $4
WHERE object_key = ANY ($1::text[]) AND kind = ANY ($2::text[]) AND closed_at IS NULL
"""

_CLOSE_STUDY = """
UPDATE finding SET closed_at = now(), closed_by = $4, resolution = $5
WHERE partition = $1 AND kind = $2 AND study_uid = $3 AND closed_at IS NULL
"""

_NOTE_ATTEMPT = """
UPDATE finding SET attempts = attempts + 1, trouble = $2, evidence = coalesce(evidence, '{}') || $3::jsonb
WHERE id = $1
"""


@dataclass(frozen=True, slots=True)
class Found:
    """Something that is wrong. ``evidence`` is for people and names no patient."""

    kind: FindingKind
    partition: str
    study_uid: str = ""
    series_uid: str = ""
    sop_uid: str = ""
    object_key: str = ""
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding as it is kept; closed when ``closed_at`` is set."""

    id: int
    partition: str
    kind: str
    study_uid: str
    series_uid: str
    sop_uid: str
    object_key: str
    evidence: Mapping[str, Any]
    found_at: datetime
    seen_at: datetime
    # Repairs that were tried, and why the last of them failed.
    attempts: int
    trouble: str | None
    closed_at: datetime | None
    closed_by: str | None
    resolution: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which findings of a partition: ``None`` is every one; ``before`` is the id to go on below."""

    partition: str
    kind: str | None = None
    study_uid: str | None = None
    is_open: bool | None = True
    before: int | None = None


async def open_findings(database: Database, found: Iterable[Found]) -> list[Finding]:
    """Keep what was found, once however often; returns it as it is kept. Raises ``Unavailable``."""
    rows = {
        (
            *(one.partition, one.kind.value, one.study_uid),
            *(one.series_uid, one.sop_uid, one.object_key),
        ): json.dumps(dict(one.evidence))
        for one in found
    }
    if not rows:
        return []
    columns = zip(*((*key, evidence) for key, evidence in sorted(rows.items())), strict=True)
    return [_finding(row) for row in await database.fetch(_OPEN, *map(list, columns))]


async def list_findings(database: Database, wanted: Wanted, limit: int) -> list[Finding]:
    """Return the newest findings, newest first. Raises ``Unavailable``."""
    rows = await database.fetch(
        _LIST, wanted.partition, wanted.kind, wanted.study_uid, wanted.is_open, wanted.before, limit
    )
    return [_finding(row) for row in rows]


async def read_finding(database: Database, partition: str, number: int) -> Finding | None:
    """Return one finding of a partition. Raises ``Unavailable``."""
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM finding WHERE partition = $1 AND id = $2",  # noqa: S608 - see above
        *(partition, number),
    )
    return _finding(rows[0]) if rows else None


async def close_finding(database: Database, partition: str, number: int, by: str, resolution: str) -> bool:
    """Close a finding; tells whether it was open. Raises ``Unavailable``."""
    return bool(await database.fetch(_CLOSE, partition, number, by, resolution))


async def close_of_objects(
    pool: IndexPool, object_keys: Sequence[str], kinds: Iterable[FindingKind], by: str, resolution: str
) -> int:
    """Close the open findings of some kinds about objects; returns their number. Raises ``Unavailable``."""
    tag = await pool.execute(
        _CLOSE_OBJECTS, list(object_keys), [kind.value for kind in kinds], by, resolution
    )
    return int(tag.rsplit(" ", 1)[-1])


async def close_of_study(
    pool: IndexPool, partition: str, kind: FindingKind, study_uid: str, by: str, resolution: str
) -> None:
    """Close the open findings of a kind about a study. Raises ``Unavailable``."""
    await pool.execute(_CLOSE_STUDY, partition, kind.value, study_uid, by, resolution)


async def note_attempt(
    pool: IndexPool, number: int, trouble: str | None, evidence: Mapping[str, object]
) -> None:
    """Count a repair and keep how it ended, with what it adds to the evidence. Raises ``Unavailable``."""
    await pool.execute(_NOTE_ATTEMPT, number, trouble, json.dumps(dict(evidence)))


async def count_open(database: Database) -> dict[str, int]:
    """Return how many findings of each kind are open. Raises ``Unavailable``."""
    rows = await database.fetch("SELECT kind, count(*) AS n FROM finding WHERE closed_at IS NULL GROUP BY 1")
    return {row["kind"]: row["n"] for row in rows}


async def set_aside_copies(database: Database, partition: str, digest: str) -> list[str]:
    """Return keys under which damaged objects of this data set digest (hex) were put aside.

    Raises ``Unavailable``.
    """
    rows = await database.fetch(
        "SELECT evidence ->> 'aside' AS key FROM finding WHERE partition = $1 AND kind = $2"
        " AND evidence ->> 'found_digest' = $3 AND evidence ? 'aside'",
        *(partition, FindingKind.OBJECT_DAMAGED.value, digest),
    )
    return [row["key"] for row in rows]


def _finding(row: Mapping[str, Any]) -> Finding:
    return Finding(**{**row, "evidence": json.loads(row["evidence"] or "{}")})
