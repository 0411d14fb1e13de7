"""Access records in the database: kept as they are indexed, and searched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import LiteralString

from gantry.access.v1.access_pb2 import AccessKind, AccessRecord
from gantry_access.audit_chain import CheckedBatch, Link, Problem
from gantry_dicom.errors import BadRequest

from gantry_auth.adapters.database import Connection, every

KIND_PREFIX = "ACCESS_KIND_"
KINDS = tuple(name.removeprefix(KIND_PREFIX).lower() for name in AccessKind.keys()[1:])
LONGEST_PAGE = 1000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Longer texts would not fit an index; nothing of ours is longer, and the bucket has all of it.
_LONGEST_TEXT = 500
_CURSOR = re.compile(r"([0-9]{1,16})\.([0-9]{1,9})\.([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where a writer's chain is indexed."""

    writer: str
    end: Link = field(default_factory=Link)
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between records in the order of time; written as text in addresses."""

    occurred_at: datetime
    writer_id: int
    sequence: int

    def __str__(self) -> str:
        return f"{(self.occurred_at - _EPOCH) // timedelta(microseconds=1)}.{self.writer_id}.{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Return the cursor that ``text`` says. Raises ``BadRequest``."""
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise BadRequest("the cursor is none of an earlier answer")
        return cls(_moment(int(match[1])), int(match[2]), int(match[3]))


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records are asked for: what is set must match; ``since`` is included, ``until`` is not."""

    since: datetime | None = None
    until: datetime | None = None
    principal: str = ""
    kind: str = ""
    outcome: str = ""
    partition: str = ""
    study_instance_uid: str = ""
    before: Cursor | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A record as a search shows it, named as in ``gantry.access.v1.AccessRecord``."""

    writer_id: int
    writer: str
    sequence: int
    occurred_at: datetime
    kind: str
    principal: str
    peer_address: str
    partition: str
    study_instance_uid: str
    instance_count: int
    operation: str
    outcome: str
    traceparent: str

    @property
    def cursor(self) -> Cursor:
        """Return the place of this record."""
        return Cursor(self.occurred_at, self.writer_id, self.sequence)


def positions(connection: Connection) -> dict[str, Position]:
    """Return up to where every writer's chain is indexed."""
    rows = connection.execute("SELECT writer, sequence, digest, closed FROM auth.audit_writers").fetchall()
    return {
        writer: Position(writer, Link(sequence, digest), closed) for writer, sequence, digest, closed in rows
    }


def keep(connection: Connection, position: Position, batch: CheckedBatch) -> Position:
    """Index a batch that was checked at ``position``; return the position after it.

    Doing so again, or in another process at the same time, changes nothing.
    """
    row = connection.execute(
        "INSERT INTO auth.audit_writers AS w (writer, sequence, digest, closed) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (writer) DO UPDATE SET sequence = greatest(w.sequence, excluded.sequence),"
        " digest = CASE WHEN excluded.sequence > w.sequence THEN excluded.digest ELSE w.digest END,"
        " closed = w.closed OR excluded.closed RETURNING writer_id",
        [position.writer, batch.end.sequence, batch.end.digest, batch.closes],
    ).fetchone()
    if row is None:
        raise AssertionError("an upsert returns its row")
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO auth.access_records (writer_id, sequence, occurred_at, kind, principal,"
            " peer_address, partition, study_instance_uid, instance_count, operation, outcome, traceparent)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [(row[0], *_values(record)) for record in batch.records],
        )
    return Position(position.writer, batch.end, position.closed or batch.closes)


def note_problems(connection: Connection, problems: Iterable[Problem], now: datetime) -> list[Problem]:
    """Keep what was found wrong, and return what of it is new."""
    return [
        problem
        for problem in problems
        if connection.execute(
            "INSERT INTO auth.audit_problems (object_key, fault, what, found_at) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            [problem.key, problem.fault.value, problem.what, now],
        ).rowcount
    ]


def search(connection: Connection, wanted: RecordFilter) -> Sequence[FoundRecord]:
    """Return the newest records that match, the newest first."""
    before = wanted.before
    # Only what is asked for, so that the database can choose the index that fits.
    conditions: list[tuple[LiteralString, object]] = [
        ("r.occurred_at >= %s", wanted.since),
        ("r.occurred_at < %s", wanted.until),
        ("r.principal = %s", _kept(wanted.principal)),
        ("r.kind = %s", wanted.kind),
        ("r.outcome = %s", _kept(wanted.outcome)),
        ("r.partition = %s", _kept(wanted.partition)),
        ("r.study_instance_uid <> '' AND r.study_instance_uid = %s", _kept(wanted.study_instance_uid)),
    ]
    chosen = [(sql, value) for sql, value in conditions if value]
    where: LiteralString = " AND ".join(["true", *(sql for sql, _ in chosen)])
    values = [value for _, value in chosen]
    if before is not None:
        where += " AND (r.occurred_at, r.writer_id, r.sequence) < (%s, %s, %s)"
        values += [before.occurred_at, before.writer_id, before.sequence]
    # Composed of the literals above alone.
    return every(
        connection,
        FoundRecord,
        "SELECT r.writer_id, w.writer, r.sequence, r.occurred_at, r.kind, r.principal, r.peer_address,"  # noqa: S608
        " r.partition, r.study_instance_uid, r.instance_count, r.operation, r.outcome, r.traceparent"
        f" FROM auth.access_records r JOIN auth.audit_writers w USING (writer_id) WHERE {where}"
        " ORDER BY r.occurred_at DESC, r.writer_id DESC, r.sequence DESC LIMIT %s",
        [*values, wanted.limit],
    )


def _values(record: AccessRecord) -> tuple[object, ...]:
    return (
        record.sequence,
        _moment(record.occurred_at_us),
        AccessKind.Name(record.kind).removeprefix(KIND_PREFIX).lower(),
        _kept(record.principal),
        _kept(record.peer_address),
        _kept(record.partition),
        _kept(record.study_instance_uid),
        len(record.sop_instance_uids),
        _kept(record.operation),
        _kept(record.outcome),
        _kept(record.traceparent),
    )


def _kept(text: str) -> str:
    # PostgreSQL has no NUL in texts; a caller's name from elsewhere may have one.
    return text.replace("\0", "\ufffd")[:_LONGEST_TEXT]


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
