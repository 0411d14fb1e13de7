"""Verdicts of received objects: one row an object key, changed by compare-and-set only.

    pending -> indexed | duplicate | conflict-loser | quarantined | tombstoned

The indexed, the duplicates and the losers of one instance may change places when another
reception of it comes (``winners``); quarantined and tombstoned are left by nobody here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_PENDING,
    VERDICT_STATE_QUARANTINED,
    Verdict,
    VerdictState,
)
from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.errors import NotFound
from gantry_dicom.keys import order_key
from gantry_telemetry.logs import get_logger

from gantry_index.arrivals import received_at
from gantry_index.events import quarantine_event
from gantry_index.levels import storable
from gantry_index.pools import IndexPool

log = get_logger(__name__)

_STANDING = """
SELECT object_key, state, survivor_key, reason FROM reception WHERE object_key = ANY ($1::text[])
"""

_UNDECIDED = """
SELECT k.object_key FROM unnest($1::text[]) AS k(object_key)
WHERE NOT EXISTS (
    SELECT 1 FROM reception AS r WHERE r.object_key = k.object_key AND r.state <> $2
)
"""

_BEGIN = """
INSERT INTO reception AS r (
    object_key, partition, store_id, order_key, study_uid, series_uid, sop_uid, sop_class_uid,
    transfer_syntax_uid, size, meta_length, data_set_digest, state, attempts, source, received_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1, $14, $15)
ON CONFLICT (object_key) DO UPDATE SET attempts = r.attempts + 1 WHERE r.state = $13
RETURNING attempts
"""

_FORGIVE = """
UPDATE reception SET attempts = attempts - 1 WHERE object_key = $1 AND state = $2 AND attempts > 0
"""

_QUARANTINE = """
UPDATE reception SET state = $2, reason = $3, decided_at = now()
WHERE object_key = $1 AND state = $4
RETURNING partition, study_uid, series_uid, sop_uid
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at an object: its number from 1, or the verdict that makes it needless."""

    number: int
    verdict: Verdict | None = None


async def standing_verdicts(pool: IndexPool, object_keys: Iterable[str]) -> dict[str, Verdict]:
    """Return the verdict of each object that has a row, pending ones included. Raises ``Unavailable``."""
    rows = await pool.fetch(_STANDING, list(object_keys))
    return {
        row["object_key"]: Verdict(
            object_key=row["object_key"],
            state=VerdictState.Name(row["state"]),
            survivor_key=row["survivor_key"] or "",
            reason=row["reason"] or "",
        )
        for row in rows
    }


async def undecided(pool: IndexPool, object_keys: Iterable[str]) -> set[str]:
    """Return those of ``object_keys`` that nothing is decided about. Raises ``Unavailable``."""
    rows = await pool.fetch(_UNDECIDED, list(object_keys), VERDICT_STATE_PENDING)
    return {row["object_key"] for row in rows}


async def begin_attempt(pool: IndexPool, partition: str, reception: Reception) -> Attempt:
    """Count an attempt at one object, committed before its bytes are touched.

    What kills the process in the attempt is thereby counted too, and can be stopped after
    some. Raises ``Unavailable``.
    """
    number = (
        await pool.fetchrow(
            _BEGIN,
            *(reception.object_key, partition, reception.store_id),
            order_key(reception.batch, reception.ordinal),
            *(reception.study_instance_uid, reception.series_instance_uid),
            *(reception.sop_instance_uid, reception.sop_class_uid, reception.transfer_syntax_uid),
            *(reception.size, reception.meta_length, reception.data_set_digest, VERDICT_STATE_PENDING),
            reception.source.SerializeToString(),
            received_at(reception),
        )
        or [0]
    )[0]
    if number:
        return Attempt(number)
    verdicts = await standing_verdicts(pool, [reception.object_key])
    return Attempt(0, verdicts.get(reception.object_key))


async def forgive_attempt(pool: IndexPool, object_key: str) -> None:
    """Take back an attempt that ended because something else was down. Raises ``Unavailable``."""
    await pool.execute(_FORGIVE, object_key, VERDICT_STATE_PENDING)


async def quarantine(pool: IndexPool, object_key: str, reason: str) -> Verdict:
    """Put an undecided object aside; returns the verdict that stands afterwards.

    An object that was decided meanwhile keeps its verdict. Raises ``NotFound`` when no attempt
    at it was ever begun, and ``Unavailable``.
    """
    async with pool.transaction() as connection:
        row = await connection.fetchrow(
            _QUARANTINE, object_key, VERDICT_STATE_QUARANTINED, storable(reason), VERDICT_STATE_PENDING
        )
        if row is not None:
            await connection.execute("INSERT INTO outbox (payload) VALUES ($1)", quarantine_event(*row))
            log.warning("object_quarantined", object_key=object_key)
    verdicts = await standing_verdicts(pool, [object_key])
    if object_key not in verdicts:
        raise NotFound("no attempt at this object was begun")
    return verdicts[object_key]
