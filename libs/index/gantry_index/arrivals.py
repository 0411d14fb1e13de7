"""The instances of a chunk, made ready for the index before any lock is taken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from gantry.reception.v1.reception_pb2 import OUTCOME_REFUSED, Reception
from gantry_dicom.keys import order_key

from gantry_index.levels import LevelReader, Levels
from gantry_index.records import ConflictPolicy, InstanceRecord
from gantry_index.winners import Candidate, content_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Identity(NamedTuple):
    """What makes an instance one instance: the same UIDs in another study are another one."""

    partition: str
    study_uid: str
    sop_uid: str


class StoredObject(NamedTuple):
    """One received object, as an instance row points at it."""

    order_key: str
    object_key: str
    store_id: str
    size: int
    meta_length: int
    frame_table: bytes
    received_at: datetime


class Arrival(NamedTuple):
    """One record to be indexed, with what is derived from it once."""

    record: InstanceRecord
    identity: Identity
    series_uid: str
    candidate: Candidate
    stored: StoredObject
    levels: Levels

    @property
    def object_key(self) -> str:
        """The key of the received object."""
        return self.candidate.object_key


def arrivals(records: Iterable[InstanceRecord], policy: ConflictPolicy) -> list[Arrival]:
    """Return what the index works with; raises ``ValueError`` for a reception that was refused."""
    reader = LevelReader()
    return [_arrival(record, policy, reader) for record in records]


def _arrival(record: InstanceRecord, policy: ConflictPolicy, reader: LevelReader) -> Arrival:
    reception = record.reception
    if reception.outcome == OUTCOME_REFUSED:
        raise ValueError(f"{reception.object_key} was refused: it must never be indexed")
    place = order_key(reception.batch, reception.ordinal)
    return Arrival(
        record=record,
        identity=Identity(record.partition, reception.study_instance_uid, reception.sop_instance_uid),
        series_uid=reception.series_instance_uid,
        candidate=Candidate(
            place,
            reception.object_key,
            content_of(reception.data_set_digest, reception.transfer_syntax_uid),
            policy is ConflictPolicy.REPLACE,
        ),
        stored=StoredObject(
            order_key=place,
            object_key=reception.object_key,
            store_id=reception.store_id,
            size=reception.size,
            meta_length=reception.meta_length,
            frame_table=record.frame_table,
            received_at=received_at(reception),
        ),
        levels=reader.read(record.facts),
    )


def received_at(reception: Reception) -> datetime:
    """Return when an object was received, by its receiver's clock."""
    return _EPOCH + timedelta(microseconds=reception.received_at_us)


def lock_keys(chunk: Sequence[Arrival], studies: Iterable[tuple[str, str]] = ()) -> list[int]:
    """Return the advisory locks that a chunk needs, in the order in which everybody takes them.

    One a study, so that what is read of it stays true until the commit; one a series UID and
    one a SOP Instance UID of the partition, so that of two writers that bring the same UID
    into two studies the second sees the first. ``studies`` (partition and UID) are further ones.
    """
    names: set[tuple[str, str, str]] = {("study", *study) for study in studies}
    for arrival in chunk:
        partition, study_uid, sop_uid = arrival.identity
        names.add(("study", partition, study_uid))
        names.add(("series", partition, arrival.series_uid))
        names.add(("sop", partition, sop_uid))
    return sorted({lock_key(*name) for name in names})


def lock_key(kind: str, partition: str, uid: str) -> int:
    """Return the number of one advisory lock; two names may share one, which only costs a wait."""
    name = f"{kind}\0{partition}\0{uid}".encode()
    digest = hashlib.blake2b(name, digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
