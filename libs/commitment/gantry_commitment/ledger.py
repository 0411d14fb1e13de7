"""The records of commitments in the bucket: what was asked, what was found, that it has ended.

They need no database, outlive every process, and one conditional create decides whose a
Transaction UID is.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

from gantry.commitment.v1.commitment_pb2 import CommitmentEnd, CommitmentReport, CommitmentRequest
from gantry_dicom.errors import Conflict, NotFound
from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import (
    OPEN_COMMITMENT_PREFIX,
    commitment_folder,
    commitment_folder_of,
    open_commitment_key,
)
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_telemetry.logs import get_logger

log = get_logger(__name__)

_NOTE = b"open\n"

_Record = TypeVar("_Record", CommitmentRequest, CommitmentReport, CommitmentEnd)


@dataclass(frozen=True, slots=True)
class Commitment:
    """A commitment as far as it has come."""

    request: CommitmentRequest
    report: CommitmentReport | None = None
    end: CommitmentEnd | None = None


@dataclass(frozen=True, slots=True)
class OpenCommitment:
    """A commitment that may not have ended: its note's key, and its age by the store's clock."""

    key: str
    age_seconds: float


class Ledger:
    """Reads and writes commitments. Every method raises ``Unavailable`` when the store is in trouble."""

    def __init__(self, store: ObjectStore, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer

    async def open(self, request: CommitmentRequest) -> None:
        """Record a request. Raises ``Conflict`` when its Transaction UID has been used before."""
        folder = commitment_folder(request.partition, request.transaction_uid)
        # First the note: what is recorded can then always be found and finished.
        await self._store.put(open_commitment_key(request.partition, request.transaction_uid), _NOTE)
        try:
            await self._store.put(f"{folder}request", self._sealer.seal(request), create=True)
        except Conflict as error:
            raise Conflict("the Transaction UID has been used before") from error

    async def report(self, report: CommitmentReport) -> CommitmentReport:
        """Record what was found and return the report that stands: the first one."""
        folder = commitment_folder(report.partition, report.transaction_uid)
        return await self._first(f"{folder}report", report)

    async def end(self, partition: str, transaction_uid: str, *, delivered: bool) -> None:
        """Record that nothing more is to be done."""
        folder = commitment_folder(partition, transaction_uid)
        end = CommitmentEnd(
            transaction_uid=transaction_uid,
            partition=partition,
            delivered=delivered,
            ended_at_us=time.time_ns() // 1000,
        )
        await self._first(f"{folder}end", end)

    async def read(self, partition: str, transaction_uid: str) -> Commitment:
        """Return a commitment. Raises ``NotFound`` and ``BadSeal``."""
        return await self._read(commitment_folder(partition, transaction_uid))

    async def read_open(self, open_key: str) -> Commitment | None:
        """Return the commitment to which a note leads, or ``None`` when it was never recorded.

        Raises ``BadKey`` and ``BadSeal``.
        """
        try:
            return await self._read(commitment_folder_of(open_key))
        except NotFound:
            return None

    async def open_ones(self) -> AsyncIterator[OpenCommitment]:
        """Yield every commitment that may not have ended."""
        now = await self._store.now()
        async for info in self._store.list(OPEN_COMMITMENT_PREFIX):
            try:
                commitment_folder_of(info.key)
            except BadKey:
                log.exception("commitment_key_refused")
                continue
            yield OpenCommitment(info.key, (now - info.last_modified).total_seconds())

    async def _read(self, folder: str) -> Commitment:
        request = await self._get(f"{folder}request", CommitmentRequest)
        if commitment_folder(request.partition, request.transaction_uid) != folder:
            raise BadSeal("a commitment under another's key")
        return Commitment(
            request,
            await self._get_if_there(f"{folder}report", CommitmentReport, request),
            await self._get_if_there(f"{folder}end", CommitmentEnd, request),
        )

    async def _get(self, key: str, kind: type[_Record]) -> _Record:
        return self._sealer.open(await self._store.get(key), kind)

    async def _get_if_there(
        self, key: str, kind: type[_Record], request: CommitmentRequest
    ) -> _Record | None:
        try:
            record = await self._get(key, kind)
        except NotFound:
            return None
        if (record.partition, record.transaction_uid) != (request.partition, request.transaction_uid):
            raise BadSeal("a record of another commitment")
        return record

    async def _first(self, key: str, record: _Record) -> _Record:
        try:
            await self._store.put(key, self._sealer.seal(record), create=True)
        except Conflict:
            return await self._get(key, type(record))
        return record
