"""Applies amendments to the index: what a study shows, decided by people or rules.

The index holds what is shown and nothing else. Hiding takes instance rows away and recounts;
the reception keeps its row with the verdict *tombstoned*, which nothing but a restoration
takes back. What is restored is pending, and indexed again from its object.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gantry.amendment.v1.amendment_pb2 import (
    AMENDMENT_KIND_HIDE,
    AMENDMENT_KIND_PURGE,
    AMENDMENT_KIND_RELOCATE,
    AMENDMENT_KIND_RESTORE,
    AmendedReception,
    Amendment,
    AmendmentKind,
)
from gantry.events.v1.events_pb2 import EVENT_KIND_INSTANCES_HIDDEN
from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_CONFLICT_LOSER,
    VERDICT_STATE_DUPLICATE,
    VERDICT_STATE_INDEXED,
    VERDICT_STATE_PENDING,
    VERDICT_STATE_TOMBSTONED,
)
from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.errors import CannotProcess
from gantry_telemetry.logs import get_logger
from gantry_telemetry.metrics import counter

from gantry_index.aggregates import recount_study, settle_patients
from gantry_index.arrivals import lock_key
from gantry_index.correcting import KINDS, apply_correction, take_correction_lock
from gantry_index.events import event
from gantry_index.pools import Connection, IndexPool
from gantry_index.purging import apply_purge
from gantry_index.reception_rows import RECEPTION_COLUMNS, reception_of
from gantry_index.search import Database
from gantry_index.tiers import apply_relocation

log = get_logger(__name__)

APPLIED = counter("gantry_index_amendments", "Amendments applied to the index", ["kind"])

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = [VERDICT_STATE_INDEXED, VERDICT_STATE_DUPLICATE, VERDICT_STATE_CONFLICT_LOSER]

_RECORD = """
INSERT INTO amendment (partition, scope, revision, study_uid, kind, principal, reason, made_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING revision
"""

_HIDE = """
INSERT INTO hidden (object_key, partition, study_uid, series_uid, sop_uid, revision)
SELECT k.object_key, $4, $5, k.series_uid, k.sop_uid, $6
FROM unnest($1::text[], $2::text[], $3::text[]) AS k(object_key, series_uid, sop_uid)
ON CONFLICT DO NOTHING
"""

_TOMBSTONE = """
UPDATE reception SET state = $4, survivor_key = NULL, reason = NULL, decided_at = now()
WHERE object_key = ANY ($1::text[]) AND partition = $2 AND study_uid = $3
"""

_TAKE_AWAY = """
DELETE FROM instance AS i USING study AS s
WHERE s.partition = $2 AND s.study_uid = $3 AND i.study_pk = s.id AND i.object_key = ANY ($1::text[])
RETURNING i.sop_uid, s.id AS study_pk
"""

# Receptions of an instance whose shown object has gone: one of them is to take its place.
_REOPEN = """
UPDATE reception SET state = $5, survivor_key = NULL, attempts = 0
WHERE partition = $1 AND study_uid = $2 AND sop_uid = ANY ($3::text[]) AND state = ANY ($4::smallint[])
"""

_FORGET_FINDINGS = """
DELETE FROM finding AS f
WHERE f.partition = $1 AND f.study_uid = $2 AND (
    f.object_key = ANY ($3::text[])
    OR f.object_key = '' AND NOT EXISTS (
        SELECT 1 FROM study AS s WHERE s.partition = f.partition AND s.study_uid = f.study_uid
    )
)
"""

_UNDO = """
UPDATE amendment SET undone_by = $4
WHERE partition = $1 AND scope = $2 AND revision = $3 AND undone_by IS NULL
"""

_UNHIDE = """
DELETE FROM hidden WHERE partition = $1 AND study_uid = $2 AND revision = $3 AND purged_by IS NULL
RETURNING object_key
"""

_KNOWN_KINDS = KINDS | {
    *(AMENDMENT_KIND_HIDE, AMENDMENT_KIND_RESTORE, AMENDMENT_KIND_PURGE, AMENDMENT_KIND_RELOCATE),
}

_PENDING_AGAIN = """
UPDATE reception SET state = $2, attempts = 0 WHERE object_key = ANY ($1::text[]) AND state = $3
"""

_WAITING = f"""
SELECT {RECEPTION_COLUMNS} FROM reception AS r
WHERE r.partition = $1 AND r.study_uid = $2 AND r.state = $3 ORDER BY r.order_key
"""  # noqa: S608 - only names

_COVERED = """
SELECT object_key, series_uid, sop_uid FROM reception
WHERE partition = $1 AND study_uid = $2 AND state <> $3
  AND ($4::text IS NULL OR series_uid = $4) AND ($5::text IS NULL OR sop_uid = $5)
ORDER BY order_key
"""


async def apply_amendment(pool: IndexPool, amendment: Amendment, scope: str) -> None:
    """Make the index say what ``amendment`` says; repeating it changes nothing.

    The earlier revisions of its study or patient must have been applied. ``scope`` is that of its key.
    Raises ``Unavailable``, and ``CannotProcess`` for a kind this release does not know.
    """
    if amendment.kind not in _KNOWN_KINDS:
        raise CannotProcess("an amendment of a kind that this release does not know")
    partition, study_uid = amendment.partition, amendment.study_instance_uid
    async with pool.transaction() as connection:
        await take_correction_lock(connection, amendment)
        await connection.execute("SELECT pg_advisory_xact_lock($1)", lock_key("study", partition, study_uid))
        recorded = await connection.fetchval(
            _RECORD,
            *(partition, scope, amendment.revision, study_uid, amendment.kind),
            *(amendment.principal, amendment.reason),
            _EPOCH + timedelta(microseconds=amendment.made_at_us),
        )
        if recorded is None:
            return
        if amendment.kind == AMENDMENT_KIND_HIDE:
            await _hide(connection, amendment)
        elif amendment.kind == AMENDMENT_KIND_PURGE:
            await apply_purge(connection, amendment, scope)
        elif amendment.kind == AMENDMENT_KIND_RELOCATE:
            await apply_relocation(connection, amendment)
        elif amendment.kind in KINDS:
            await apply_correction(connection, amendment, scope)
        else:
            await _restore(connection, amendment, scope)
    APPLIED.labels(AmendmentKind.Name(amendment.kind).removeprefix("AMENDMENT_KIND_").lower()).inc()
    log.info("amendment_applied", partition=partition, study_instance_uid=study_uid)


async def _hide(connection: Connection, amendment: Amendment) -> None:
    partition, study_uid = amendment.partition, amendment.study_instance_uid
    covered = amendment.receptions
    keys = [reception.object_key for reception in covered]
    await connection.execute(
        _HIDE,
        keys,
        [reception.series_instance_uid for reception in covered],
        [reception.sop_instance_uid for reception in covered],
        *(partition, study_uid, amendment.revision),
    )
    await connection.execute(_TOMBSTONE, keys, partition, study_uid, VERDICT_STATE_TOMBSTONED)
    gone = await connection.fetch(_TAKE_AWAY, keys, partition, study_uid)
    sop_uids = sorted({row["sop_uid"] for row in gone})
    await connection.execute(_REOPEN, partition, study_uid, sop_uids, _SHOWN, VERDICT_STATE_PENDING)
    for study_pk in {row["study_pk"] for row in gone}:
        await settle_patients(connection, await recount_study(connection, study_pk))
    await connection.execute(_FORGET_FINDINGS, partition, study_uid, keys)
    if sop_uids:
        payload = event(
            EVENT_KIND_INSTANCES_HIDDEN, partition, study_uid, "", sop_uids, amendment.traceparent
        )
        await connection.execute("INSERT INTO outbox (payload) VALUES ($1)", payload)


async def _restore(connection: Connection, amendment: Amendment, scope: str) -> None:
    partition, undone = amendment.partition, amendment.undoes
    await connection.execute(_UNDO, partition, scope, undone, amendment.revision)
    rows = await connection.fetch(_UNHIDE, partition, amendment.study_instance_uid, undone)
    keys = [row["object_key"] for row in rows]
    await connection.execute(_PENDING_AGAIN, keys, VERDICT_STATE_PENDING, VERDICT_STATE_TOMBSTONED)


async def applied_revision(database: Database, partition: str, scope: str) -> int:
    """Return the highest revision of a study up to which all are applied. Raises ``Unavailable``."""
    rows = await database.fetch(
        "SELECT max(revision) AS newest FROM amendment WHERE partition = $1 AND scope = $2", partition, scope
    )
    return rows[0]["newest"] or 0


async def waiting_receptions(database: Database, partition: str, study_uid: str) -> list[Reception]:
    """Return the receptions of a study that are to be indexed again, oldest first. Raises ``Unavailable``."""
    rows = await database.fetch(_WAITING, partition, study_uid, VERDICT_STATE_PENDING)
    return [reception_of(row) for row in rows]


async def covered_receptions(
    database: Database,
    partition: str,
    study_uid: str,
    series_uid: str | None = None,
    sop_uid: str | None = None,
) -> list[AmendedReception]:
    """Return everything received of a study, a series or an instance that is not hidden yet.

    Raises ``Unavailable``.
    """
    rows = await database.fetch(_COVERED, partition, study_uid, VERDICT_STATE_TOMBSTONED, series_uid, sop_uid)
    return [
        AmendedReception(
            object_key=row["object_key"],
            series_instance_uid=row["series_uid"],
            sop_instance_uid=row["sop_uid"],
        )
        for row in rows
    ]


async def is_hidden(
    database: Database,
    partition: str,
    study_uid: str,
    series_uid: str | None = None,
    sop_uid: str | None = None,
) -> bool:
    """Whether something of this identity was hidden and is not shown again. Raises ``Unavailable``."""
    rows = await database.fetch(
        "SELECT EXISTS (SELECT 1 FROM hidden WHERE partition = $1 AND study_uid = $2"
        " AND ($3::text IS NULL OR series_uid = $3) AND ($4::text IS NULL OR sop_uid = $4)) AS found",
        *(partition, study_uid, series_uid, sop_uid),
    )
    return bool(rows[0]["found"])
