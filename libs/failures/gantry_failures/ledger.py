"""Records of failed associations in the bucket: written in batches, read newest first, forgotten by day.

They need no database, so that they can be read while one is down; that is when people ask.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gantry.failures.v1.failures_pb2 import AssociationFailure, FailureBatch
from gantry_dicom.errors import NotFound
from gantry_objectstore.errors import BadSeal
from gantry_objectstore.keys import (
    FAILURE_PREFIX,
    batch_time,
    failure_day_folder,
    failure_key,
    is_batch,
    new_batch_id,
)
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_telemetry.logs import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records: from ``since`` (aware) on, of a calling AE title, of a diagnosis; empty is any."""

    since: datetime
    calling_ae_title: str = ""
    diagnosis: str = ""

    def takes(self, failure: AssociationFailure) -> bool:
        """Whether ``failure`` is one of them."""
        return (
            failure.last_at_us >= self.since.timestamp() * 1_000_000
            and self.calling_ae_title in ("", failure.calling_ae_title)
            and self.diagnosis in ("", failure.diagnosis)
        )


class FailureLedger:
    """Reads and writes the records. Every method raises ``Unavailable`` when the store is in trouble."""

    def __init__(self, store: ObjectStore, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer

    async def write(self, failures: Sequence[AssociationFailure], left_out: int = 0) -> None:
        """Keep a batch of records."""
        batch = FailureBatch(failures=failures, left_out=left_out)
        await self._store.put(failure_key(new_batch_id()), self._sealer.seal(batch))

    async def read(self, wanted: Wanted, limit: int) -> list[AssociationFailure]:
        """Return up to ``limit`` records, newest first. Those whose seal is broken are passed over."""
        found: list[AssociationFailure] = []
        for day in await self._days():
            if day < wanted.since.date().isoformat() or len(found) >= limit:
                break
            async for batch in self._batches(day, wanted.since):
                found += filter(wanted.takes, batch.failures)
                # Batches of several workers overlap by the seconds between two of their writings.
                if len(found) >= 2 * limit:
                    break
        return sorted(found, key=lambda failure: failure.last_at_us, reverse=True)[:limit]

    async def forget(self, older_than: timedelta) -> int:
        """Delete the days before; return how many records' objects went. For the storage service."""
        last = (datetime.now(UTC) - older_than).date().isoformat()
        gone = 0
        for day in await self._days():
            if day < last:
                for key in [info.key async for info in self._store.list(failure_day_folder(day))]:
                    await self._store.delete(key)
                    gone += 1
        return gone

    async def _days(self) -> list[str]:
        return sorted(await self._store.list_folders(FAILURE_PREFIX), reverse=True)

    async def _batches(self, day: str, since: datetime) -> AsyncIterator[FailureBatch]:
        keys = [info.key async for info in self._store.list(failure_day_folder(day))]
        for key in sorted(keys, reverse=True):
            name = key.rsplit("/", 1)[-1]
            if not is_batch(name) or batch_time(name) < since:
                continue
            try:
                yield self._sealer.open(await self._store.get(key), FailureBatch)
            except NotFound:
                continue  # forgotten meanwhile
            except BadSeal:
                log.exception("failure_batch_refused", key=key)
