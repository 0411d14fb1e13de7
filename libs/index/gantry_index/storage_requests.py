"""What administrators want of the storage service: asked here, answered here.

The service that talks to people has no right to overwrite objects; the one that has it takes the
requests from this table, so that none is lost and all can be looked at afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from gantry_index.pools import IndexPool
from gantry_index.search import Database

_COLUMNS = "id, kind, partition, arguments, principal, made_at, ended_at, answer, trouble"


class RequestKind(StrEnum):
    """What can be asked for, with the names of its arguments."""

    # Mend what a finding is about: ``finding``.
    REPAIR = "repair"
    # Compare bucket, manifests and index: ``study``, ``since``, ``digests``, ``repair``.
    RECONCILE = "reconcile"
    # Have a quarantined object indexed again: ``object``.
    TRY_AGAIN = "try-again"
    # Read everything of some days again: ``since``, ``until``.
    SCRUB = "scrub"
    # What the retention file means for what is stored now.
    RETENTION_PLAN = "retention-plan"
    # Do it.
    RETENTION_RUN = "retention-run"
    # Destroy what is deleted of a study: ``study``, ``reason``, ``now`` (before its grace is over).
    PURGE = "purge"
    # Bring a study back to the store into which everything is received: ``study``, ``reason``.
    RECALL = "recall"


@dataclass(frozen=True, slots=True)
class StorageRequest:
    """A request; answered, or failed for the reason in ``trouble``, when ``ended_at`` is set."""

    id: int
    kind: str
    partition: str
    arguments: Mapping[str, Any]
    principal: str
    made_at: datetime
    ended_at: datetime | None
    answer: Mapping[str, Any] | None
    trouble: str | None


async def ask_storage(
    database: Database, kind: RequestKind, partition: str, arguments: Mapping[str, object], principal: str
) -> int:
    """Leave a request and return its number. Raises ``Unavailable``."""
    rows = await database.fetch(
        "INSERT INTO storage_request (kind, partition, arguments, principal)"
        " VALUES ($1, $2, $3, $4) RETURNING id",
        *(kind.value, partition, json.dumps(dict(arguments)), principal),
    )
    return int(rows[0]["id"])


async def read_request(database: Database, partition: str, number: int) -> StorageRequest | None:
    """Return a request of a partition. Raises ``Unavailable``."""
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM storage_request WHERE partition = $1 AND id = $2",  # noqa: S608 - see above
        *(partition, number),
    )
    return _request(rows[0]) if rows else None


async def waiting_requests(database: Database, limit: int) -> list[StorageRequest]:
    """Return requests that nobody has answered, oldest first. Raises ``Unavailable``."""
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM storage_request WHERE ended_at IS NULL ORDER BY id LIMIT $1",  # noqa: S608
        limit,
    )
    return [_request(row) for row in rows]


async def answer_request(
    pool: IndexPool, number: int, answer: Mapping[str, object] | None, trouble: str | None = None
) -> None:
    """End a request. Raises ``Unavailable``."""
    await pool.execute(
        "UPDATE storage_request SET ended_at = now(), answer = $2, trouble = $3 WHERE id = $1",
        *(number, None if answer is None else json.dumps(dict(answer)), trouble),
    )


async def forget_requests(pool: IndexPool, older_than: timedelta) -> None:
    """Delete requests that ended long ago. Raises ``Unavailable``."""
    await pool.execute("DELETE FROM storage_request WHERE ended_at < now() - $1::interval", older_than)


def _request(row: Mapping[str, Any]) -> StorageRequest:
    answer = row["answer"]
    return StorageRequest(
        **{
            **row,
            "arguments": json.loads(row["arguments"]),
            "answer": None if answer is None else json.loads(answer),
        }
    )
