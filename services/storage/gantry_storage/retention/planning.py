"""What the retention file means for what is stored now: planned, or carried out.

A plan and a run find the same. A run deletes what is due, as a person would (hidden, undoable within
the grace), and destroys what was deleted long enough ago, by whomever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

from gantry.amendment.v1.amendment_pb2 import AMENDMENT_KIND_HIDE, AmendedReception, Amendment
from gantry_dicom.errors import Conflict, GantryError, NotFound, Unavailable
from gantry_index.amendments import covered_receptions
from gantry_index.pools import IndexPool
from gantry_index.purging import Duplicate, old_duplicates, studies_to_purge
from gantry_index.reader import IndexReader
from gantry_index.retention import KeptStudy, kept_studies, measured, sources_of
from gantry_objectstore.amendments import MAX_RECEPTIONS, write_amendment
from gantry_objectstore.holds import Held
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_reception.held import HoldCheck
from gantry_telemetry.logs import get_logger

from gantry_storage.retention.instruments import EXPIRED, REFUSED
from gantry_storage.retention.policies import DUPLICATES, Retention, StudyFacts, decide
from gantry_storage.retention.purging import Orderer, Purging, SendAmendment

log = get_logger(__name__)

PRINCIPAL = "retention"
# Studies named in an answer at most; counts are of all.
NAMED = 100


@dataclass(frozen=True, slots=True)
class DueStudy:
    """A study that a policy lets go; ``held`` names the holds that forbid it."""

    partition: str
    study: str
    policy: str
    due: str
    instances: int
    bytes: int
    held: tuple[str, ...]


@dataclass(slots=True)
class Refusal:
    """A study with which nothing was done, and why."""

    partition: str
    study: str
    reason: str


@dataclass(slots=True)
class Report:
    """What is to be done, or was; bytes are of what goes out of sight or is destroyed."""

    studies: int = 0
    instances: int = 0
    bytes: int = 0
    held: int = 0
    # More are due than one run does.
    more: bool = False
    duplicates: int = 0
    purges: int = 0
    purged_objects: int = 0
    purged_bytes: int = 0
    by_policy: dict[str, int] = field(default_factory=dict)
    named: list[DueStudy] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """Return what administrators see."""
        return asdict(self)


class Planner:
    """Plans and runs. Every method raises ``Unavailable`` when something is down."""

    def __init__(
        self,
        store: ObjectStore,
        sealer: Sealer,
        pool: IndexPool,
        send: SendAmendment,
        purging: Purging,
        retention: Retention,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._pool = pool
        self._send = send
        self._purging = purging
        self._retention = retention
        self._turn = asyncio.Lock()
        self._holds = HoldCheck(store, sealer, IndexReader(pool))

    async def plan(self, partition: str | None = None) -> Report:
        """Return what a run would do now."""
        report = Report()
        async for study in self._due(partition):
            _add(report, study)
        report.duplicates = len(await self._duplicates(partition))
        report.purges = len(await self._purges(partition))
        return report

    async def run(self, partition: str | None = None) -> Report:
        """Delete what is due and destroy what was deleted long enough ago. Raises ``Conflict``.

        A study that cannot go now is named in the report and tried again in the next run.
        """
        await self._purging.refuse_unsafe_bucket()
        # What one run has begun another must not begin again.
        async with self._turn:
            return await self._run(partition)

    async def _run(self, partition: str | None) -> Report:
        report = Report()
        async for study in self._due(partition):
            if report.studies >= self._retention.studies_a_run:
                report.more = True
                break
            if not study.held and not await self._expire(study, report):
                continue
            _add(report, study)
        await self._drop_duplicates(partition, report)
        await self._purge(partition, report)
        log.info("retention_ran", count=report.studies, deleted=report.purged_objects)
        return report

    async def _due(self, partition: str | None) -> AsyncIterator[DueStudy]:
        retention, now = self._retention, datetime.now(UTC)
        if not retention.policies:
            return
        asks_source = any(policy.when.sources for policy in retention.policies)
        settled = now - timedelta(days=retention.settle_days)
        async for study in kept_studies(self._pool, settled, partition):
            facts = await facts_of(self._pool, study, asks_source=asks_source)
            verdict = decide(retention, facts)
            if verdict is None or verdict.due > now:
                continue
            # Whoever adds to a study still needs it. Only of what is due so far this is looked up.
            found = await measured(self._pool, study)
            verdict = decide(retention, replace(facts, received_at=found.newest_at or study.received_at))
            if verdict is None or verdict.due > now or not found.instances:
                continue
            yield DueStudy(
                partition=study.partition,
                study=study.study_uid,
                policy=verdict.policy,
                due=verdict.due.date().isoformat(),
                instances=found.instances,
                bytes=found.bytes,
                held=tuple(
                    hold.hold for hold in await self._holds.standing(study.partition, study.study_uid, ())
                ),
            )

    async def _expire(self, study: DueStudy, report: Report) -> bool:
        covered = await covered_receptions(self._pool, study.partition, study.study)
        try:
            await self._hide(study.partition, study.study, covered, study.policy, f"policy {study.policy}")
        except (Held, Conflict) as error:
            _refuse(report, study.partition, study.study, error)
            return False
        EXPIRED.labels(study.policy).inc()
        return True

    async def _hide(
        self,
        partition: str,
        study_uid: str,
        receptions: Sequence[AmendedReception],
        policy: str,
        reason: str,
    ) -> None:
        keys = [reception.object_key for reception in receptions]
        await self._holds.refuse_held(partition, study_uid, keys)
        for first in range(0, len(receptions), MAX_RECEPTIONS):
            amendment = Amendment(
                partition=partition,
                study_instance_uid=study_uid,
                kind=AMENDMENT_KIND_HIDE,
                principal=PRINCIPAL,
                reason=reason,
                policy=policy,
                made_at_us=time.time_ns() // 1000,
                receptions=receptions[first : first + MAX_RECEPTIONS],
            )
            await self._send(await write_amendment(self._store, amendment, self._sealer))

    async def _duplicates(self, partition: str | None) -> list[Duplicate]:
        days = self._retention.duplicates_after_days
        if days is None:
            return []
        decided_before = datetime.now(UTC) - timedelta(days=days)
        return await old_duplicates(self._pool, decided_before, partition, self._retention.studies_a_run)

    async def _drop_duplicates(self, partition: str | None, report: Report) -> None:
        found = await self._duplicates(partition)
        for (where, study_uid), group in groupby(found, key=lambda one: (one.partition, one.study_uid)):
            receptions = [
                AmendedReception(
                    object_key=one.object_key,
                    series_instance_uid=one.series_uid,
                    sop_instance_uid=one.sop_uid,
                )
                for one in group
            ]
            try:
                await self._hide(where, study_uid, receptions, DUPLICATES, "received twice")
            except (Held, Conflict) as error:
                _refuse(report, where, study_uid, error)
            else:
                report.duplicates += len(receptions)

    async def _purges(self, partition: str | None) -> list[tuple[str, str]]:
        deleted_before = datetime.now(UTC) - timedelta(days=self._retention.grace_days)
        return await studies_to_purge(self._pool, deleted_before, partition, self._retention.studies_a_run)

    async def _purge(self, partition: str | None, report: Report) -> None:
        orderer = Orderer(PRINCIPAL, f"the grace of {self._retention.grace_days:g} days is over")
        for where, study_uid in await self._purges(partition):
            try:
                certificates = await self._purging.purge(where, study_uid, orderer)
            except NotFound:
                continue  # restored, or purged by another
            except Unavailable as error:
                if not await self._pool.is_reachable():
                    raise
                _refuse(report, where, study_uid, error)
            except GantryError as error:
                _refuse(report, where, study_uid, error)
            else:
                report.purges += 1
                objects = [one for each in certificates for one in each.objects]
                report.purged_objects += len(objects)
                report.purged_bytes += sum(one.size for one in objects)


async def facts_of(pool: IndexPool, study: KeptStudy, *, asks_source: bool) -> StudyFacts:
    """Return what policies look at, as if nothing had come after the first of it. Raises ``Unavailable``."""
    return StudyFacts(
        partition=study.partition,
        modalities=study.modalities,
        sources=await sources_of(pool, study.partition, study.study_uid) if asks_source else (),
        study_date=study.study_date,
        received_at=study.received_at,
        birth_date=study.birth_date,
        looked_at=study.looked_at,
    )


def _add(report: Report, study: DueStudy) -> None:
    if study.held:
        report.held += 1
    else:
        report.studies += 1
        report.instances += study.instances
        report.bytes += study.bytes
        report.by_policy[study.policy] = report.by_policy.get(study.policy, 0) + 1
    if len(report.named) < NAMED:
        report.named.append(study)


def _refuse(report: Report, partition: str, study_uid: str, error: GantryError) -> None:
    REFUSED.labels(error.outcome.value).inc()
    log.warning("retention_refused", partition=partition, study_instance_uid=study_uid, reason=error.detail)
    if len(report.refused) < NAMED:
        report.refused.append(Refusal(partition, study_uid, error.detail))
