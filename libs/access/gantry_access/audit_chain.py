"""The chain of one writer's access records, and batches of it in the bucket.

Each record carries its number (from 1) and the digest of the one before it; a batch is sealed
and lies at ``audit/<writer>/<number of its first record>``. So a record cannot be changed,
left out or put in without a key, and a batch that is missing leaves a gap.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from gantry.access.v1.access_pb2 import ACCESS_KIND_CHANGE, AccessBatch, AccessRecord
from gantry_dicom.errors import Conflict, NotFound

from gantry_access.storage import Seals, Store

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


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as its writer left it."""

    key: str
    what: str


@dataclass(slots=True)
class Verification:
    """What ``verify`` found; ``unclosed`` are writers that run, or whose end is missing."""

    writers: int = 0
    batches: int = 0
    records: int = 0
    unclosed: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


async def verify(store: Store, sealer: Seals) -> Verification:
    """Check every batch in the bucket: seals, places, chains and gaps. Raises ``Unavailable``."""
    found = Verification()
    for writer in sorted(await store.list_folders(AUDIT_PREFIX)):
        found.writers += 1
        await _verify_writer(store, sealer, writer, found)
    return found


async def read_records(store: Store, sealer: Seals) -> AsyncIterator[tuple[str, AccessRecord]]:
    """Yield every record with its writer, a writer at a time in order; bad batches are passed over.

    Raises ``Unavailable``.
    """
    for writer in sorted(await store.list_folders(AUDIT_PREFIX)):
        for key in await _batch_keys(store, writer):
            try:
                batch = sealer.open(await store.get(key), AccessBatch)
            except (Conflict, NotFound):
                continue
            for record in batch.records:
                yield writer, record


async def _batch_keys(store: Store, writer: str) -> list[str]:
    return sorted([info.key async for info in store.list(f"{AUDIT_PREFIX}{writer}/")])


async def _verify_writer(store: Store, sealer: Seals, writer: str, found: Verification) -> None:
    end = Link()
    last_operation = ""
    for key in await _batch_keys(store, writer):
        found.batches += 1
        try:
            batch = sealer.open(await store.get(key), AccessBatch)
        except Conflict:
            found.problems.append(Problem(key, "the seal is broken"))
            continue
        except NotFound:
            found.problems.append(Problem(key, "it went away while it was checked"))
            continue
        if not batch.records or batch.writer != writer or key != batch_key(writer, batch.records[0].sequence):
            found.problems.append(Problem(key, "the batch belongs elsewhere"))
            continue
        for record in batch.records:
            what = _fault(record, end)
            if what:
                found.problems.append(Problem(key, what))
            found.records += 1
            end = Link(record.sequence, digest_of(record))
            last_operation = record.operation
    if last_operation != CLOSED:
        found.unclosed.append(writer)


def _fault(record: AccessRecord, end: Link) -> str:
    if record.sequence > end.sequence + 1:
        return f"records {end.sequence + 1} to {record.sequence - 1} are missing"
    if record.sequence <= end.sequence:
        return f"record {record.sequence} comes twice"
    if record.previous_digest != end.digest:
        return f"record {record.sequence} does not follow the one before it"
    return ""
