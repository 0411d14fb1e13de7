"""Brings access records from the bucket into the database, and says what is wrong with them.

A writer's next batch lies under the number after its last indexed record, so a round asks for one
key per running writer and lists none. Now and then a round lists every writer's batches too: that
finds what lies behind a gap or a broken batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from gantry_access.audit_chain import (
    CheckedBatch,
    Fault,
    Problem,
    WriterReport,
    batch_key,
    check_batch,
    list_batches,
    list_writers,
    verify_writer,
)
from gantry_dicom.errors import GantryError, NotFound
from gantry_index.locks import AdvisoryLock
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

from gantry_auth import audit_records
from gantry_auth.adapters.database import Database
from gantry_auth.audit_records import Position

log = get_logger(__name__)

LAG = metrics.gauge(
    "gantry_auth_audit_lag_seconds", "Seconds since the index of access records last held all that was sealed"
)
INDEXED = metrics.counter("gantry_auth_audit_indexed", "Access records brought into the index")
PROBLEMS = metrics.counter(
    "gantry_auth_audit_problems", "Things found wrong with access records", ("fault",), known=list(Fault)
)

# Advisory lock of the one who indexes: "gantryau" as a number.
AUDIT_INDEX_LOCK = 0x67616E7472796175
# Rounds from one that lists every writer's batches to the next.
_ROUNDS_TO_LISTING = 120


@dataclass(slots=True)
class AuditIndex:
    """The loop that indexes, and the check of what was indexed."""

    database: Database
    store: ObjectStore
    sealer: Sealer
    lock: AdvisoryLock
    clock: Callable[[], datetime]
    seconds: float
    _complete_at: datetime | None = field(default=None, init=False)

    async def run(self) -> None:
        """Index what was sealed, again and again until cancelled; in one process of all at a time."""
        rounds = 0
        while True:
            try:
                if await self.lock.hold():
                    self._complete_at = self._complete_at or self.clock()
                    await self.index(listing=rounds % _ROUNDS_TO_LISTING == 0)
                    rounds += 1
                else:
                    # The lag is for the holder to tell.
                    self._complete_at, rounds = None, 0
            except GantryError as error:
                log.warning("audit_not_indexed", reason=error.outcome.value)
            except Exception:
                # A bug in one round must not end the others.
                log.exception("audit_not_indexed")
            self._tell_lag()
            await asyncio.sleep(self.seconds)

    async def index(self, *, listing: bool = True) -> None:
        """Bring every batch that is not in the index yet. Raises ``Unavailable``."""
        begun = self.clock()
        known = await asyncio.to_thread(self._positions)
        failed = 0
        for writer in await list_writers(self.store):
            try:
                position = await self._follow(known.get(writer, Position(writer)))
                if listing or writer not in known:
                    await self._list(position)
            except GantryError:
                raise
            except Exception:
                # What is wrong with one writer's records must not keep the others out.
                log.exception("audit_writer_not_indexed")
                failed += 1
        if not failed:
            self._complete_at = begun

    async def verify(self, writer: str = "") -> list[tuple[WriterReport, int]]:
        """Check the bucket now, of every writer or one; each with the number of its last indexed record.

        What the index knows and the bucket has no longer is a gap too. Raises ``NotFound`` for a
        writer that neither has, ``Unavailable``.
        """
        known = await asyncio.to_thread(self._positions)
        writers = sorted({*known, *await list_writers(self.store)})
        if writer:
            if writer not in writers:
                raise NotFound("there is no such writer of access records")
            writers = [writer]
        reports = []
        for name in writers:
            report = await verify_writer(self.store, self.sealer, name)
            indexed = known[name].end.sequence if name in known else 0
            if indexed > report.end.sequence:
                first = report.end.sequence + 1
                what = f"records {first} to {indexed} were there and are missing"
                report.problems.append(Problem(batch_key(name, first), what, Fault.GAP))
            reports.append((report, indexed))
        return reports

    async def _follow(self, position: Position) -> Position:
        """Take the batches that follow each other."""
        while not position.closed:
            key = batch_key(position.writer, position.end.sequence + 1)
            checked = await self._read(position, key)
            if checked is None or not checked.records:
                break
            position = await self._keep(position, checked)
        return position

    async def _list(self, position: Position) -> None:
        """Take every batch behind what is indexed, over gaps and broken ones."""
        for info in await list_batches(self.store, position.writer):
            # Keys sort as their numbers do; what has another form is checked, and told.
            if batch_key(position.writer, 0) <= info.key <= batch_key(position.writer, position.end.sequence):
                continue
            checked = await self._read(position, info.key)
            if checked is not None:
                position = await self._keep(position, checked)

    async def _read(self, position: Position, key: str) -> CheckedBatch | None:
        try:
            sealed = await self.store.get(key)
        except NotFound:
            return None
        return await asyncio.to_thread(check_batch, self.sealer, position.writer, key, sealed, position.end)

    async def _keep(self, position: Position, checked: CheckedBatch) -> Position:
        kept = await asyncio.to_thread(partial(self._write, position, checked))
        INDEXED.inc(len(checked.records))
        return kept

    def _write(self, position: Position, checked: CheckedBatch) -> Position:
        with self.database.transaction() as connection:
            if checked.records:
                position = audit_records.keep(connection, position, checked)
            fresh = audit_records.note_problems(connection, checked.problems, self.clock())
        for problem in fresh:
            PROBLEMS.labels(problem.fault.value).inc()
            log.error("audit_record_wrong", object_key=problem.key, reason=problem.fault.value)
        return position

    def _positions(self) -> dict[str, Position]:
        with self.database.transaction() as connection:
            return audit_records.positions(connection)

    def _tell_lag(self) -> None:
        LAG.set((self.clock() - self._complete_at).total_seconds() if self._complete_at else 0.0)
