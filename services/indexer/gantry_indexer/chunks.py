"""One chunk of requests into the index: believe, read, derive, commit.

Nothing here decides what becomes of an instance that fails; it is named in the result, and
the others of its chunk are indexed all the same.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from gantry.index.v1.index_pb2 import IndexRequest, Verdict, VerdictState
from gantry.reception.v1.reception_pb2 import Outcome, Reception
from gantry_dicom.errors import NotFound, Unavailable
from gantry_index.corrections import Due
from gantry_index.records import ConflictPolicy, InstanceRecord
from gantry_index.writer import IndexWriter
from gantry_objectstore.store import ObjectStore
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import span_in_each
from opentelemetry.trace import SpanKind

from gantry_indexer.correcting import Corrector
from gantry_indexer.derivation import derive_all
from gantry_indexer.faults import FaultHook
from gantry_indexer.headers import Material, is_complete, read_material
from gantry_indexer.instruments import CHUNKS, DOUBTED, PHASES, VERDICTS
from gantry_indexer.trust import Trust

log = get_logger(__name__)

# Objects of a chunk that are read again at a time.
READS = 8
# Seconds after which a derivation hangs; an honest chunk takes milliseconds.
DERIVE_SECONDS = 30.0
# sysexits.h EX_SOFTWARE.
HANG_EXIT_CODE = 70


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """What became of a chunk's requests, by their position in it."""

    verdicts: dict[int, Verdict] = field(default_factory=dict)
    # Not believed; nothing is to be done about them.
    doubted: dict[int, str] = field(default_factory=dict)
    # Failed; to be tried alone.
    poison: dict[int, Exception] = field(default_factory=dict)


class ChunkIndexer:
    """Indexes chunks; raises ``Unavailable`` when the database or the store does not answer."""

    def __init__(
        self,
        store: ObjectStore,
        trust: Trust,
        writer: IndexWriter,
        corrector: Corrector,
        *,
        replacing_sources: frozenset[str],
        hook: FaultHook,
        executor: Executor | None = None,
    ) -> None:
        self._store = store
        self._trust = trust
        self._writer = writer
        self._corrector = corrector
        self._replacing_sources = replacing_sources
        self._hook = hook
        self._executor = executor
        self._reads = asyncio.Semaphore(READS)

    async def index(self, requests: Sequence[IndexRequest]) -> ChunkResult:
        """Bring ``requests`` into the index; repeating it changes nothing."""
        result = ChunkResult()
        CHUNKS.observe(len(requests))
        result.doubted.update(await self.doubted(requests))
        believed = [position for position in range(len(requests)) if position not in result.doubted]
        records = await self._derive(requests, believed, result)
        if records:
            with _traced(requests, records), PHASES.labels("commit").time():
                await self._commit(records, result)
        for verdict in result.verdicts.values():
            VERDICTS.labels(VerdictState.Name(verdict.state)).inc()
        return result

    async def renew(self, partition: str, instances: Sequence[Due]) -> dict[str, Exception]:
        """Derive what is in the index again, from its objects and under the corrections that stand.

        Returns what failed, by object key. Raises ``Unavailable``.
        """
        result = ChunkResult()
        requests = [IndexRequest(partition=partition, reception=one.reception) for one in instances]
        records = await self._derive(requests, range(len(requests)), result)
        for policy in ConflictPolicy:
            chosen = {place: one for place, one in records.items() if self._policy(one) is policy}
            shown_in = {(partition, instances[place].shown_study_uid) for place in chosen}
            if chosen:
                await self._renew_under(policy, chosen, shown_in, result)
        return {requests[place].reception.object_key: error for place, error in result.poison.items()}

    async def doubted(self, requests: Sequence[IndexRequest]) -> dict[int, str]:
        """Return why requests are not believed, by the positions of those that are not."""
        with PHASES.labels("trust").time():
            doubts = await self._trust.doubts(requests)
        doubted = {position: doubt for position, doubt in enumerate(doubts) if doubt}
        for position, reason in doubted.items():
            request = requests[position]
            DOUBTED.labels(reason).inc()
            log.error(
                "index_request_doubted",
                reason=reason,
                object_key=request.reception.object_key,
                partition=request.partition,
            )
        return doubted

    async def _derive(
        self, requests: Sequence[IndexRequest], positions: Sequence[int], result: ChunkResult
    ) -> dict[int, InstanceRecord]:
        with PHASES.labels("read").time():
            read = await asyncio.gather(*(self._material(requests[position]) for position in positions))
        materials: dict[int, Material] = {}
        for position, found in zip(positions, read, strict=True):
            if isinstance(found, Material):
                materials[position] = found
            elif _may_be_absent(requests[position].reception, found):
                result.doubted[position] = "unanswered-and-absent"
            else:
                result.poison[position] = found
        if not materials:
            return {}
        with PHASES.labels("derive").time():
            derived = await self._derive_bounded(list(materials.values()))
        records: dict[int, InstanceRecord] = {}
        for position, record in zip(materials, derived, strict=True):
            if isinstance(record, InstanceRecord):
                records[position] = record
            else:
                result.poison[position] = record
        with PHASES.labels("correct").time():
            corrected = await self._corrector.correct(materials, records)
        result.poison.update({at: one for at, one in corrected.items() if isinstance(one, Exception)})
        return {at: one for at, one in corrected.items() if isinstance(one, InstanceRecord)}

    async def _derive_bounded(self, materials: list[Material]) -> list[InstanceRecord | Exception]:
        running = asyncio.get_running_loop().run_in_executor(
            self._executor, derive_all, materials, self._hook
        )
        try:
            async with asyncio.timeout(DERIVE_SECONDS):
                return await running
        except TimeoutError:
            # A thread cannot be ended, its process can: the instances are then claimed as
            # those of a dead consumer, or delivered again, and tried alone with a count.
            log.critical("derivation_hangs", count=len(materials), timeout_s=DERIVE_SECONDS)
            os._exit(HANG_EXIT_CODE)

    async def _material(self, request: IndexRequest) -> Material | Exception:
        if request.HasField("header") and is_complete(request.reception):
            return Material(request)
        async with self._reads:
            try:
                return await read_material(self._store, request)
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this object's alone
                return error

    async def _commit(self, records: dict[int, InstanceRecord], result: ChunkResult) -> None:
        for policy in ConflictPolicy:
            chosen = {
                position: record for position, record in records.items() if self._policy(record) is policy
            }
            if chosen:
                await self._commit_under(policy, chosen, result)

    async def _commit_under(
        self, policy: ConflictPolicy, records: dict[int, InstanceRecord], result: ChunkResult
    ) -> None:
        async def commit(some: dict[int, InstanceRecord]) -> None:
            verdicts = await self._writer.index_chunk(list(some.values()), policy=policy)
            result.verdicts.update(zip(some, verdicts, strict=True))

        await _spoiling_only_itself(commit, records, result)

    async def _renew_under(
        self,
        policy: ConflictPolicy,
        records: dict[int, InstanceRecord],
        shown_in: set[tuple[str, str]],
        result: ChunkResult,
    ) -> None:
        async def renew(some: dict[int, InstanceRecord]) -> None:
            await self._writer.renew(list(some.values()), shown_in, policy=policy)

        await _spoiling_only_itself(renew, records, result)

    def _policy(self, record: InstanceRecord) -> ConflictPolicy:
        source = record.reception.source
        if {source.calling_ae_title, source.principal} & self._replacing_sources:
            return ConflictPolicy.REPLACE
        return ConflictPolicy.KEEP_FIRST


async def _spoiling_only_itself(
    write: Callable[[dict[int, InstanceRecord]], Awaitable[None]],
    records: dict[int, InstanceRecord],
    result: ChunkResult,
) -> None:
    """Write ``records`` together; when that fails, each alone, so that one spoils no other."""
    try:
        await write(records)
    except Unavailable:
        raise
    except Exception as error:
        if len(records) == 1:
            result.poison[next(iter(records))] = error
            return
        log.warning("chunk_split", count=len(records), exc_info=error)
        for position, record in records.items():
            await _spoiling_only_itself(write, {position: record}, result)


def _may_be_absent(reception: Reception, error: Exception) -> bool:
    """Whether the object is missing because its sender went away before it was put."""
    return reception.outcome == Outcome.OUTCOME_UNANSWERED and isinstance(error, NotFound)


def _traced(
    requests: Sequence[IndexRequest], records: dict[int, InstanceRecord]
) -> AbstractContextManager[None]:
    """Record the commit as a span in the trace of every reception that is part of it."""
    callers = [requests[position].traceparent for position in records]
    return span_in_each(callers, "index commit", SpanKind.CONSUMER, instances=len(records))
