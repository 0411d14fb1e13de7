"""Corrections that stand, and the instances that are to be derived again because of them.

Whoever indexes reads which state a partition's corrections are in and derives under those it finds;
the writer looks again in its transaction, under a lock that whoever changes them takes alone. So no
instance is written under corrections that are not the ones that stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gantry.amendment.v1.amendment_pb2 import Amendment
from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_CONFLICT_LOSER,
    VERDICT_STATE_DUPLICATE,
    VERDICT_STATE_INDEXED,
)
from gantry.reception.v1.reception_pb2 import Reception

from gantry_index.arrivals import lock_key
from gantry_index.pools import Connection
from gantry_index.reception_rows import RECEPTION_COLUMNS, reception_of
from gantry_index.records import FindingKind, InstanceRecord
from gantry_index.search import Database

# Receptions that are shown, or would be if another one of their instance was not.
SHOWN_STATES = (VERDICT_STATE_INDEXED, VERDICT_STATE_DUPLICATE, VERDICT_STATE_CONFLICT_LOSER)

_STATES = "SELECT partition, number FROM correction_state WHERE partition = ANY ($1::text[])"

_STANDING = """
SELECT scope, amendment FROM correction
WHERE partition = $1 AND scope = ANY ($2::text[]) ORDER BY scope, revision
"""

_HIDDEN_AND_STATES = """
SELECT object_key AS name, NULL::bigint AS number FROM hidden WHERE object_key = ANY ($1::text[])
UNION ALL
SELECT partition, number FROM correction_state WHERE partition = ANY ($2::text[])
"""

_CHANGED = """
INSERT INTO correction_state AS t (partition, number) VALUES ($1, 1)
ON CONFLICT (partition) DO UPDATE SET number = t.number + 1
"""

# Every reception that could be shown: where one goes, its duplicates go with it.
_QUEUE = """
INSERT INTO renewal (object_key, scope, partition, order_key)
SELECT r.object_key, $2, r.partition, r.order_key FROM reception AS r
WHERE r.partition = $1 AND r.state = ANY ($3::smallint[]) AND {chosen}
ON CONFLICT (object_key, scope) DO UPDATE SET attempts = 0
"""

_DUE = f"""
SELECT {RECEPTION_COLUMNS}, r.study_uid AS shown_study_uid
FROM renewal AS w JOIN reception AS r ON r.object_key = w.object_key
WHERE w.partition = $1 AND w.scope = $2 ORDER BY w.order_key LIMIT $3
"""  # noqa: S608 - only names

# What was hidden since is derived when it is shown again.
_NOT_SHOWN = """
DELETE FROM renewal AS w USING reception AS r
WHERE w.partition = $1 AND w.scope = $2 AND r.object_key = w.object_key AND r.state <> ALL ($3::smallint[])
"""

_FAILED = f"""
WITH gone AS (DELETE FROM renewal WHERE object_key = $1 AND attempts + 1 >= $2 RETURNING 1),
kept AS (UPDATE renewal SET attempts = attempts + 1 WHERE object_key = $1 AND attempts + 1 < $2)
INSERT INTO finding (partition, kind, study_uid, series_uid, sop_uid, object_key)
SELECT r.partition, '{FindingKind.NOT_AMENDED.value}', r.study_uid, r.series_uid, r.sop_uid, r.object_key
FROM reception AS r WHERE r.object_key = $1 AND EXISTS (SELECT 1 FROM gone)
ON CONFLICT DO NOTHING
"""  # noqa: S608 - only names

_RENEWED = """
WITH queue AS (DELETE FROM renewal WHERE object_key = ANY ($1::text[])),
found AS (
    DELETE FROM finding WHERE kind = $2 AND object_key = ANY ($1::text[])
)
DELETE FROM corrected_object WHERE object_key = ANY ($1::text[])
"""

_TAKEN = """
INSERT INTO corrected_object (object_key, partition, scope, revision)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[]) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Due:
    """An instance to be derived again: its reception as received, and the study that shows it."""

    reception: Reception
    shown_study_uid: str


async def correction_states(database: Database, partitions: Iterable[str]) -> dict[str, int]:
    """Return the state of the corrections of those partitions that ever had any. Raises ``Unavailable``."""
    rows = await database.fetch(_STATES, list(partitions))
    return {row["partition"]: row["number"] for row in rows}


async def standing_corrections(
    database: Database, partition: str, scopes: Iterable[str]
) -> dict[str, list[Amendment]]:
    """Return the corrections of each scope that stand, by revision. Raises ``Unavailable``."""
    found: dict[str, list[Amendment]] = {scope: [] for scope in scopes}
    for row in await database.fetch(_STANDING, partition, list(found)):
        found[row["scope"]].append(Amendment.FromString(row["amendment"]))
    return found


async def hidden_and_states(
    connection: Connection, object_keys: Sequence[str], partitions: Iterable[str]
) -> tuple[frozenset[str], dict[str, int]]:
    """Return which objects are hidden, and the state of the corrections of the partitions."""
    rows = await connection.fetch(_HIDDEN_AND_STATES, list(object_keys), sorted(set(partitions)))
    hidden = frozenset(row["name"] for row in rows if row["number"] is None)
    return hidden, {row["name"]: row["number"] for row in rows if row["number"] is not None}


def corrections_lock(partition: str) -> int:
    """Return the advisory lock that writers of instances share and that a change of corrections takes."""
    return lock_key("corrections", partition, "")


async def state_changed(connection: Connection, partition: str) -> None:
    """Make whoever derives under earlier corrections derive again."""
    await connection.execute(_CHANGED, partition)


async def queue_study(connection: Connection, partition: str, scope: str, study_uid: str) -> None:
    """Have every instance of a study derived again."""
    sql = _QUEUE.format(chosen="r.study_uid = $4")
    await connection.execute(sql, partition, scope, list(SHOWN_STATES), study_uid)


async def queue_patient(connection: Connection, partition: str, scope: str, patient: tuple[str, str]) -> None:
    """Have every instance of a patient derived again, and of studies that mix patients."""
    chosen = """r.study_uid IN (
        SELECT s.study_uid FROM study AS s JOIN patient AS p ON p.id = s.patient_pk
        WHERE s.partition = $1 AND p.partition = $1 AND p.patient_id = $4 AND p.issuer = $5
        UNION
        SELECT f.study_uid FROM finding AS f WHERE f.partition = $1 AND f.kind = $6
    )"""
    mixed = FindingKind.PATIENT_MIX.value
    sql = _QUEUE.format(chosen=chosen)
    await connection.execute(sql, partition, scope, list(SHOWN_STATES), *patient, mixed)


async def queue_corrected(connection: Connection, partition: str, scope: str, revision: int) -> None:
    """Have every instance derived again that went through one correction."""
    chosen = """r.object_key IN (
        SELECT c.object_key FROM corrected_object AS c
        WHERE c.partition = $1 AND c.scope = $2 AND c.revision = $4
    )"""
    await connection.execute(_QUEUE.format(chosen=chosen), partition, scope, list(SHOWN_STATES), revision)


async def due(database: Database, partition: str, scope: str, limit: int) -> list[Due]:
    """Return some of those that a scope waits for, in the order of reception. Raises ``Unavailable``."""
    await database.fetch(_NOT_SHOWN, partition, scope, list(SHOWN_STATES))
    rows = await database.fetch(_DUE, partition, scope, limit)
    return [Due(reception_of(row), row["shown_study_uid"]) for row in rows]


async def is_renewing(database: Database, partition: str, scope: str) -> bool:
    """Whether instances wait to be derived again for a scope. Raises ``Unavailable``."""
    rows = await database.fetch(
        "SELECT EXISTS (SELECT 1 FROM renewal WHERE partition = $1 AND scope = $2) AS found", partition, scope
    )
    return bool(rows[0]["found"])


async def renewal_failed(database: Database, object_key: str, attempts: int) -> None:
    """Count a failed derivation; after so many ``attempts`` it is given up, and there is a finding.

    Raises ``Unavailable``.
    """
    await database.fetch(_FAILED, object_key, attempts)


async def note_taken(connection: Connection, records: Sequence[InstanceRecord], *, renewed: bool) -> None:
    """Write down which corrections instances went through, and that they wait no longer."""
    if renewed:
        keys = [record.reception.object_key for record in records]
        await connection.execute(_RENEWED, keys, FindingKind.NOT_AMENDED.value)
    rows = [
        (record.reception.object_key, record.partition, scope, revision)
        for record in records
        if record.correction is not None
        for scope, revision in record.correction.taken
    ]
    if rows:
        await connection.execute(_TAKEN, *map(list, zip(*rows, strict=True)))
