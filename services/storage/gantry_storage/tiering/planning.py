"""Which studies are cold, by the retention file, and moves them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta

from gantry_dicom.errors import BadRequest, GantryError, Unavailable
from gantry_index.pools import IndexPool
from gantry_index.retention import KeptStudy, Measure, kept_studies, measured
from gantry_telemetry.logs import get_logger

from gantry_storage.retention.planning import PRINCIPAL, Refusal, facts_of
from gantry_storage.retention.policies import Move, Retention, destination
from gantry_storage.retention.purging import Orderer
from gantry_storage.tiering.moving import Mover

log = get_logger(__name__)

# Studies named in an answer at most.
NAMED = 100


@dataclass(slots=True)
class MoveReport:
    """What is to be moved, or was."""

    studies: int = 0
    instances: int = 0
    bytes: int = 0
    more: bool = False
    by_rule: dict[str, int] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """Return what administrators see."""
        return asdict(self)


class MovePlanner:
    """Finds what is due to be moved. Every method raises ``Unavailable`` when something is down."""

    def __init__(
        self, pool: IndexPool, mover: Mover, retention: Retention, store_ids: Collection[str]
    ) -> None:
        """Raise ``BadRequest`` when a rule moves to a store that is not there."""
        unknown = sorted({move.to for move in retention.moves} - set(store_ids))
        if unknown:
            raise BadRequest(f"the retention file moves to {', '.join(unknown)}, which GANTRY_TIERS lacks")
        self._pool = pool
        self._mover = mover
        self._retention = retention

    async def plan(self, partition: str | None = None) -> MoveReport:
        """Return what a run would move now."""
        report = MoveReport()
        async for _, found, move in self._due(partition):
            _count(report, found, move)
        return report

    async def run(self, partition: str | None = None) -> MoveReport:
        """Move what is due; a study that cannot be moved now is named and tried again in the next run."""
        report = MoveReport()
        async for study, found, move in self._due(partition):
            if report.studies >= self._retention.studies_a_run:
                report.more = True
                break
            orderer = Orderer(PRINCIPAL, f"rule {move.name}")
            try:
                await self._mover.move(study.partition, study.study_uid, move.to, orderer)
            except Unavailable as error:
                if not await self._pool.is_reachable():
                    raise
                _refuse(report, study, error)
            except GantryError as error:
                _refuse(report, study, error)
            else:
                _count(report, found, move)
        return report

    async def _due(self, partition: str | None) -> AsyncIterator[tuple[KeptStudy, Measure, Move]]:
        retention, now = self._retention, datetime.now(UTC)
        if not retention.moves:
            return
        asks_source = any(move.when.sources for move in retention.moves)
        settled = now - timedelta(days=retention.settle_days)
        async for study in kept_studies(self._pool, settled, partition):
            facts = await facts_of(self._pool, study, asks_source=asks_source)
            if destination(retention, facts, now) is None:
                continue
            found = await measured(self._pool, study)
            move = destination(
                retention, replace(facts, received_at=found.newest_at or study.received_at), now
            )
            if move is not None and set(found.stores) - {move.to}:
                yield study, found, move


def _count(report: MoveReport, found: Measure, move: Move) -> None:
    report.studies += 1
    report.instances += found.instances
    report.bytes += found.bytes
    report.by_rule[move.name] = report.by_rule.get(move.name, 0) + 1


def _refuse(report: MoveReport, study: KeptStudy, error: GantryError) -> None:
    log.warning(
        "move_refused",
        partition=study.partition,
        study_instance_uid=study.study_uid,
        reason=error.detail,
    )
    if len(report.refused) < NAMED:
        report.refused.append(Refusal(study.partition, study.study_uid, error.detail))
