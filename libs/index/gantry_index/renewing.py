"""Instances that are derived again: those that leave their study, and what is left behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gantry.events.v1.events_pb2 import EVENT_KIND_INSTANCES_AMENDED
from gantry.index.v1.index_pb2 import VERDICT_STATE_PENDING

from gantry_index.arrivals import Arrival
from gantry_index.corrections import SHOWN_STATES
from gantry_index.events import event
from gantry_index.pools import Connection

_LEAVING = """
SELECT r.object_key FROM unnest($1::text[], $2::text[]) AS k(object_key, study_uid)
JOIN reception AS r ON r.object_key = k.object_key
WHERE r.study_uid <> k.study_uid AND r.state = ANY ($3::smallint[])
FOR UPDATE OF r
"""

_TAKE_AWAY = """
DELETE FROM instance AS i USING reception AS r, study AS s
WHERE r.object_key = ANY ($1::text[]) AND s.partition = r.partition AND s.study_uid = r.study_uid
  AND i.study_pk = s.id AND i.sop_uid = r.sop_uid AND i.object_key = r.object_key
RETURNING i.study_pk, i.sop_uid, s.partition, s.study_uid
"""

_OPEN = "UPDATE reception SET state = $2, survivor_key = NULL WHERE object_key = ANY ($1::text[])"

_DROP_DEAD = """
DELETE FROM segment AS g USING series AS e
WHERE e.study_pk = ANY ($1::bigint[]) AND g.series_pk = e.id AND NOT EXISTS (
    SELECT 1 FROM instance AS i WHERE i.series_pk = e.id AND i.segment_pk = g.id
)
"""


async def leave_studies(connection: Connection, chunk: Sequence[Arrival]) -> set[int]:
    """Take what belongs elsewhere by now out of its study; returns the studies that are to be recounted.

    Their receptions are pending, to be decided where they belong.
    """
    rows = await connection.fetch(
        _LEAVING,
        [arrival.object_key for arrival in chunk],
        [arrival.identity.study_uid for arrival in chunk],
        list(SHOWN_STATES),
    )
    if not rows:
        return set()
    keys = [row["object_key"] for row in rows]
    gone = await connection.fetch(_TAKE_AWAY, keys)
    await connection.execute(_OPEN, keys, VERDICT_STATE_PENDING)
    for partition, study_uid in sorted({(row["partition"], row["study_uid"]) for row in gone}):
        uids = [row["sop_uid"] for row in gone if row["study_uid"] == study_uid]
        payload = event(EVENT_KIND_INSTANCES_AMENDED, partition, study_uid, "", uids, "")
        await connection.execute("INSERT INTO outbox (payload) VALUES ($1)", payload)
    return {row["study_pk"] for row in gone}


async def drop_dead_segments(connection: Connection, study_pks: Iterable[int]) -> None:
    """Delete the segments of studies into which no instance points any more."""
    await connection.execute(_DROP_DEAD, list(study_pks))
