"""The chain of one writer's access records, and batches of it in the bucket.

Each record carries its number (from 1) and the digest of the one before it; a batch is sealed
and lies at ``audit/<writer>/<number of its first record>``. So a record cannot be changed,
left out or put in without a key, and a batch that is missing leaves a gap.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gantry.access.v1.access_pb2 import ACCESS_KIND_CHANGE, AccessBatch, AccessRecord
from gantry_dicom.errors import Conflict, NotFound

from gantry_access.storage import Listed, Seals, Store

AUDIT_PREFIX = "audit/"
# The first and the last record of a writer. One without the last is running, or was cut off.
OPENED = "audit.opened"
CLOSED = "audit.closed"


@dataclass(frozen=True, slots=True)
class Link:
    """Where a chain ends: the number of its last record and its digest; 0 and empty at the start."""

    sequence: int = 0
    digest: bytes = b""


def batch_key(writer: str, first_sequence: int) -> str:
    """Return the key of the batch whose first record has this number."""
    return f"{AUDIT_PREFIX}{writer}/{first_sequence:020d}"


def digest_of(record: AccessRecord) -> bytes:
    """Return the digest that the next record carries."""
    return hashlib.sha256(record.SerializeToString(deterministic=True)).digest()


def chain(events: Iterable[AccessRecord], end: Link) -> tuple[list[AccessRecord], Link]:
    """Return the records of ``events`` after ``end``, and where the chain then ends.

    Events of the same caller, study, operation and outcome become one record with every
    instance any of them names, at the time of the first.
    """
    merged: dict[tuple[object, ...], tuple[AccessRecord, dict[str, None]]] = {}
    for event in events:
        key = window_key(event)
        if key not in merged:
            merged[key] = (event, {})
        merged[key][1].update(dict.fromkeys(event.sop_instance_uids))
    records = []
    for event, uids in merged.values():
        record = AccessRecord()
        record.CopyFrom(event)
        record.sequence = end.sequence + 1
        record.previous_digest = end.digest
        record.ClearField("sop_instance_uids")
        record.sop_instance_uids.extend(uids)
        end = Link(record.sequence, digest_of(record))
        records.append(record)
    return records, end


def window_key(event: AccessRecord) -> tuple[object, ...]:
    """Return what makes two accesses of one window one record."""
    return (
        event.kind,
        event.principal,
        event.peer_address,
        event.partition,
        event.study_instance_uid,
        event.operation,
        event.outcome,
    )


def marker(operation: str, occurred_at_us: int, outcome: str = "") -> AccessRecord:
    """Return the event that opens or closes a writer's chain."""
    return AccessRecord(
        kind=ACCESS_KIND_CHANGE, operation=operation, occurred_at_us=occurred_at_us, outcome=outcome
    )


class Fault(StrEnum):
    """In which way something is not as its writer left it."""

    GAP = "gap"
    BROKEN_LINK = "broken-link"
    BROKEN_SEAL = "broken-seal"
    MISPLACED = "misplaced"
    REPEATED = "repeated"
    VANISHED = "vanished"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as its writer left it."""

    key: str
    what: str
    fault: Fault


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """The records of a batch, where the chain ends after them, and what is wrong."""

    records: tuple[AccessRecord, ...]
    end: Link
    problems: tuple[Problem, ...]

    @property
    def closes(self) -> bool:
        """Whether the batch holds its writer's last record."""
        return bool(self.records) and self.records[-1].operation == CLOSED


@dataclass(slots=True)
class WriterReport:
    """What the bucket holds of one writer; ``closed`` once its last record is there.

    ``last_sealed_at`` is when the newest batch came, by the store's clock.
    """

    writer: str
    batches: int = 0
    records: int = 0
    closed: bool = False
    end: Link = field(default_factory=Link)
    last_sealed_at: datetime | None = None
    problems: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class Verification:
    """What ``verify`` found; ``unclosed`` are writers that run, or whose end is missing."""

    writers: int = 0
    batches: int = 0
    records: int = 0
    unclosed: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


async def list_writers(store: Store) -> list[str]:
    """Return every writer that has something in the bucket, by name. Raises ``Unavailable``."""
    return sorted(await store.list_folders(AUDIT_PREFIX))


async def list_batches(store: Store, writer: str) -> list[Listed]:
    """Return a writer's batches in order. Raises ``Unavailable``."""
    found = [info async for info in store.list(f"{AUDIT_PREFIX}{writer}/")]
    return sorted(found, key=lambda info: info.key)


def check_batch(sealer: Seals, writer: str, key: str, sealed: bytes, end: Link) -> CheckedBatch:
    """Check the batch that lies at ``key`` and should follow ``end``; records of a bad one are none."""
    try:
        batch = sealer.open(sealed, AccessBatch)
    except Conflict:
        return CheckedBatch((), end, (Problem(key, "the seal is broken", Fault.BROKEN_SEAL),))
    if not batch.records or batch.writer != writer or key != batch_key(writer, batch.records[0].sequence):
        return CheckedBatch((), end, (Problem(key, "the batch belongs elsewhere", Fault.MISPLACED),))
    problems = []
    for record in batch.records:
        if found := _fault(record, end):
            problems.append(Problem(key, *found))
        end = Link(record.sequence, digest_of(record))
    return CheckedBatch(tuple(batch.records), end, tuple(problems))


async def verify_writer(store: Store, sealer: Seals, writer: str) -> WriterReport:
    """Check every batch of one writer: seals, places, chain and gaps. Raises ``Unavailable``."""
    report = WriterReport(writer)
    for info in await list_batches(store, writer):
        report.batches += 1
        report.last_sealed_at = info.last_modified
        try:
            sealed = await store.get(info.key)
        except NotFound:
            report.problems.append(Problem(info.key, "it went away while it was checked", Fault.VANISHED))
            continue
        checked = check_batch(sealer, writer, info.key, sealed, report.end)
        report.problems += checked.problems
        report.records += len(checked.records)
        report.end = checked.end
        report.closed = checked.closes or (report.closed and not checked.records)
    return report


async def verify(store: Store, sealer: Seals) -> Verification:
    """Check every batch in the bucket: seals, places, chains and gaps. Raises ``Unavailable``."""
    found = Verification()
    for writer in await list_writers(store):
        report = await verify_writer(store, sealer, writer)
        found.writers += 1
        found.batches += report.batches
        found.records += report.records
        found.problems += report.problems
        if not report.closed:
            found.unclosed.append(writer)
    return found


async def read_records(store: Store, sealer: Seals) -> AsyncIterator[tuple[str, AccessRecord]]:
    """Yield every record with its writer, a writer at a time in order; bad batches are passed over.

    Raises ``Unavailable``.
    """
    for writer in await list_writers(store):
        for info in await list_batches(store, writer):
            try:
                batch = sealer.open(await store.get(info.key), AccessBatch)
            except (Conflict, NotFound):
                continue
            for record in batch.records:
                yield writer, record


def _fault(record: AccessRecord, end: Link) -> tuple[str, Fault] | None:
    if record.sequence > end.sequence + 1:
        return f"records {end.sequence + 1} to {record.sequence - 1} are missing", Fault.GAP
    if record.sequence <= end.sequence:
        return f"record {record.sequence} comes twice", Fault.REPEATED
    if record.previous_digest != end.digest:
        return f"record {record.sequence} does not follow the one before it", Fault.BROKEN_LINK
    return None
