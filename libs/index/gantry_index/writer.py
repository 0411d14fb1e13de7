"""Writes chunks of instances into the index, and answers with their verdicts.

A chunk is one transaction: take the locks, read what is known of its receptions and levels,
decide in plain Python, write everything by one statement, commit. The locks (see
``arrivals.lock_keys``) make what was read stay true; the statement's conditions hold even
against a writer that takes none, and the answer is then noticed and the chunk tried again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection, Iterator, Sequence

import asyncpg
from gantry.index.v1.index_pb2 import Verdict, VerdictState
from gantry_dicom.errors import CannotProcess, Unavailable
from gantry_telemetry.logs import get_logger
from gantry_telemetry.metrics import counter, histogram
from gantry_telemetry.tracing import span

from gantry_index import statements as sql
from gantry_index.aggregates import recount_study, settle_patients
from gantry_index.arrivals import Arrival, arrivals, lock_keys
from gantry_index.chunk_rows import ChunkRows, KnownLevels, PlaceKey, StudyKey, chunk_rows
from gantry_index.corrections import corrections_lock, hidden_and_states, note_taken
from gantry_index.decisions import Decisions, Standing, decide
from gantry_index.instruments import count_new
from gantry_index.pools import Connection, IndexPool, drop
from gantry_index.records import ConflictPolicy, InstanceRecord
from gantry_index.rejections import take_down
from gantry_index.renewing import drop_dead_segments, leave_studies
from gantry_index.segments import total_size

log = get_logger(__name__)

VERDICTS = counter("gantry_index_verdicts", "Verdicts given by the writer", ["state"])
RETRIES = counter("gantry_index_chunk_retries", "Chunks tried again", ["reason"])
CHUNK_SECONDS = histogram("gantry_index_chunk_seconds", "Time from a chunk's arrival to its commit")

# Bounds of one transaction: instances, because each may need three of the server's advisory locks
# (6,400 with default settings, for all writers), and bytes of one statement's parameters.
_CHUNK_INSTANCES = 256
_CHUNK_BYTES = 64 << 20

# Serialisation failure, deadlock, and rows that another writer put in or took away meanwhile.
_TRANSIENT = frozenset({"40001", "40P01", "23505", "23503"})
_ATTEMPTS = 8


class CorrectionsChanged(Unavailable):
    """The records were derived under corrections that are not the ones that stand: derive again."""


class _StaleError(Exception):
    """What was decided on is no longer so: another session wrote without the locks."""


class IndexWriter:
    """The one way instances get into the index; safe to use from many tasks and processes at once."""

    def __init__(self, pool: IndexPool) -> None:
        self._pool = pool

    async def index_chunk(
        self, records: Sequence[InstanceRecord], *, policy: ConflictPolicy = ConflictPolicy.KEEP_FIRST
    ) -> list[Verdict]:
        """Index ``records`` and return their verdicts, one a record in the same order.

        A record that was decided before changes nothing and gets the standing verdict. Up to
        some hundreds of records are one transaction; more become several.
        Raises ``Unavailable`` (nothing of the transaction is done), ``CorrectionsChanged``,
        ``CannotProcess``, and ``ValueError`` for a reception whose outcome is refused.
        """
        verdicts: dict[str, Verdict] = {}
        for part in _bounded(arrivals(records, policy)):
            started = time.perf_counter()
            with span("index_chunk", count=len(part)):
                verdicts |= await self._index(part)
            CHUNK_SECONDS.observe(time.perf_counter() - started)
        for verdict in verdicts.values():
            VERDICTS.labels(VerdictState.Name(verdict.state)).inc()
        return [verdicts[record.reception.object_key] for record in records]

    async def renew(
        self,
        records: Sequence[InstanceRecord],
        shown_in: Collection[StudyKey],
        *,
        policy: ConflictPolicy = ConflictPolicy.KEEP_FIRST,
    ) -> None:
        """Write instances again that were derived again, where their receptions are shown.

        ``shown_in`` are the studies in which they are now; one that lies in another study by now
        leaves it. Raises what ``index_chunk`` raises.
        """
        for part in _bounded(arrivals(records, policy)):
            with span("renew_chunk", count=len(part)):
                await self._index(part, shown_in)

    async def _index(
        self, chunk: Sequence[Arrival], shown_in: Collection[StudyKey] | None = None
    ) -> dict[str, Verdict]:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self._pool.acquire() as connection:
                    return await _transaction(connection, chunk, shown_in, again=attempt > 1)
            except _StaleError:
                reason = "stale"
            except asyncpg.PostgresError as error:
                reason = error.sqlstate or "unknown"
                if reason not in _TRANSIENT:
                    log.exception("chunk_refused", reason=reason, count=len(chunk))
                    raise CannotProcess(f"the index refuses the chunk (SQLSTATE {reason})") from error
            RETRIES.labels(reason).inc()
            log.warning("chunk_retried", reason=reason, attempt=attempt, count=len(chunk))
            await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - spreads rivals
        raise Unavailable("the index is too busy for this chunk")


async def _transaction(
    connection: Connection,
    chunk: Sequence[Arrival],
    shown_in: Collection[StudyKey] | None,
    *,
    again: bool,
) -> dict[str, Verdict]:
    renewing = shown_in is not None
    keys = ",".join(map(str, lock_keys(chunk, shown_in or ())))
    shared = {corrections_lock(arrival.identity.partition) for arrival in chunk}
    try:
        # One round trip; the next statement's snapshot is younger than the locks.
        await connection.execute(
            f"BEGIN;{sql.LOCK_SHARED.format(keys=','.join(map(str, sorted(shared))))};"
            + sql.LOCK.format(keys=keys)
        )
        left = await leave_studies(connection, chunk) if renewing else set()
        decisions, known, rows = await _decided(connection, chunk, by_key=again, renewing=renewing)
        study_pks: list[int] = []
        if rows is not None:
            study_pks = await _write(connection, rows)
            await take_down(connection, (one.arrival.record for one in decisions.decided))
        for study_pk in sorted(left):
            await settle_patients(connection, await recount_study(connection, study_pk))
        await note_taken(connection, [arrival.record for arrival in chunk], renewed=renewing)
        if renewing:
            await drop_dead_segments(connection, study_pks)
        await connection.execute("COMMIT")
        count_new(decisions.placements, known)
    except asyncio.CancelledError:
        drop(connection)
        raise
    except Exception:
        await _roll_back(connection)
        raise
    return decisions.verdicts


async def _roll_back(connection: Connection) -> None:
    try:
        await connection.execute("ROLLBACK")
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        drop(connection)


async def _decided(
    connection: Connection, chunk: Sequence[Arrival], *, by_key: bool, renewing: bool
) -> tuple[Decisions, dict[PlaceKey, KnownLevels], ChunkRows | None]:
    identities = [arrival.identity for arrival in chunk]
    receptions = await connection.fetch(
        sql.RECEPTIONS,
        [identity.partition for identity in identities],
        [identity.sop_uid for identity in identities],
        # Receptions are found by their UIDs; a row whose UIDs are others shows by its key when the
        # insert has failed on it.
        [arrival.object_key for arrival in chunk] if by_key else [],
    )
    partitions = {identity.partition for identity in identities}
    hidden, states = await hidden_and_states(
        connection, [arrival.object_key for arrival in chunk], partitions
    )
    if any(arrival.record.corrections_seen != states.get(arrival.identity.partition, 0) for arrival in chunk):
        raise CorrectionsChanged("the corrections have changed meanwhile")
    standing = {row["object_key"]: Standing(*row) for row in receptions}
    decisions = decide(chunk, standing, hidden, renewing=renewing)
    if not decisions.decided and not decisions.placements:
        return decisions, {}, None
    places = sorted(
        {
            (arrival.identity.partition, arrival.identity.study_uid, arrival.series_uid)
            for arrival in decisions.touched
        }
    )
    known = await connection.fetch(sql.KNOWN_LEVELS, *sql.parameters((sql.PLACES,), (places,)))
    levels: dict[PlaceKey, KnownLevels] = {
        place: KnownLevels(*row) for place, row in zip(places, known, strict=True)
    }
    return decisions, levels, chunk_rows(decisions, levels)


async def _write(connection: Connection, rows: ChunkRows) -> list[int]:
    """Write everything; return the studies that were written to."""
    done = await connection.fetchrow(sql.WRITE_CHUNK, *sql.parameters(sql.CHUNK_GROUPS, rows.groups()))
    if done["receptions"] != rows.receptions or done["redecided"] != len(rows.redecided):
        raise _StaleError
    recounted = rows.recounted
    if done["new_instances"] != rows.new_instances:
        # There was an instance row that no reception stood for. It is replaced now; count again.
        log.warning("instances_without_reception", count=rows.new_instances - done["new_instances"])
        recounted = set(range(len(rows.studies)))
    left = set(rows.left_patients)
    for position in sorted(recounted):
        study_pk = done["study_pks"][position]
        left |= await recount_study(connection, study_pk, renewed=position in rows.renewed)
    await settle_patients(connection, left)
    return list(done["study_pks"])


def _bounded(chunk: Sequence[Arrival]) -> Iterator[list[Arrival]]:
    part: list[Arrival] = []
    size = 0
    for arrival in chunk:
        added = total_size([arrival.record.facts.instance])
        if part and (len(part) == _CHUNK_INSTANCES or size + added > _CHUNK_BYTES):
            yield part
            part, size = [], 0
        part.append(arrival)
        size += added
    if part:
        yield part
