"""Requests of administrators, taken from the index and answered there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, timedelta

from gantry_dicom.errors import BadRequest, GantryError, NotFound, Unavailable
from gantry_index.findings import read_finding
from gantry_index.pools import IndexPool
from gantry_index.quarantine import try_again
from gantry_index.scrub_days import begin_day
from gantry_index.storage_requests import (
    RequestKind,
    StorageRequest,
    answer_request,
    forget_requests,
    waiting_requests,
)
from gantry_index.verdicts import standing_verdicts
from gantry_objectstore.protocol import ObjectStore
from gantry_telemetry.logs import get_logger

from gantry_storage.instruments import REQUESTS
from gantry_storage.reconciling import NAMED, Reconciler, StudyReport, state_name
from gantry_storage.repairing import Repairer
from gantry_storage.scrubbing import Scrubbing

log = get_logger(__name__)

Answer = Mapping[str, object]

# Requests looked at in one turn.
WINDOW = 16
KEPT = timedelta(days=90)


class Serving:
    """Does what administrators ask for; a request that ends with ``Unavailable`` is taken again."""

    def __init__(
        self,
        store: ObjectStore,
        pool: IndexPool,
        repairer: Repairer,
        reconciler: Reconciler,
        scrubbing: Scrubbing,
        more: Mapping[str, Callable[[StorageRequest], Awaitable[Answer]]] | None = None,
    ) -> None:
        self._store = store
        self._pool = pool
        self._repairer = repairer
        self._reconciler = reconciler
        self._scrubbing = scrubbing
        self._methods: Mapping[str, Callable[[StorageRequest], Awaitable[Answer]]] = {
            RequestKind.REPAIR.value: self._repair,
            RequestKind.RECONCILE.value: self._reconcile,
            RequestKind.TRY_AGAIN.value: self._try_again,
            RequestKind.SCRUB.value: self._scrub,
            **(more or {}),
        }

    async def turn(self) -> int:
        """Answer what waits; returns how many requests ended. Raises ``Unavailable``."""
        count = 0
        for request in await waiting_requests(self._pool, WINDOW):
            count += await self._serve(request)
        return count

    async def forget(self) -> None:
        """Delete what was answered long ago. Raises ``Unavailable``."""
        await forget_requests(self._pool, KEPT)

    async def _serve(self, request: StorageRequest) -> bool:
        try:
            answer = await self._methods[request.kind](request)
        except Unavailable as error:
            REQUESTS.labels(request.kind, "paused").inc()
            log.warning("request_paused", kind=request.kind, reason=error.detail)
            return False
        except KeyError:
            await answer_request(self._pool, request.id, None, "this release does not know such requests")
            return True
        except GantryError as error:
            REQUESTS.labels(request.kind, "failed").inc()
            await answer_request(self._pool, request.id, None, error.detail)
            return True
        REQUESTS.labels(request.kind, "answered").inc()
        await answer_request(self._pool, request.id, answer)
        return True

    async def _repair(self, request: StorageRequest) -> Answer:
        finding = await read_finding(self._pool, request.partition, int(request.arguments["finding"]))
        if finding is None:
            raise NotFound("there is no such finding")
        if finding.closed_at is not None:
            return {"resolution": finding.resolution}
        repair = await self._repairer.repair(finding, request.principal)
        return {"resolution": repair.resolution, **repair.evidence}

    async def _try_again(self, request: StorageRequest) -> Answer:
        key = str(request.arguments["object"])
        # What was taken out of quarantine by an earlier try of this request still has to be indexed.
        await try_again(self._pool, key)
        await self._repairer.index_object(key)
        verdict = (await standing_verdicts(self._pool, [key]))[key]
        return {"verdict": state_name(verdict.state), "reason": verdict.reason}

    async def _scrub(self, request: StorageRequest) -> Answer:
        since = date.fromisoformat(str(request.arguments["since"])).isoformat()
        now = await self._store.now()
        count = 0
        for day in await self._scrubbing.days():
            if day.partition == request.partition and day.day >= since:
                await begin_day(self._pool, day.partition, day.day, now)
                count += 1
        return {"days": count}

    async def _reconcile(self, request: StorageRequest) -> Answer:
        arguments = request.arguments
        study_uid = str(arguments["study"])
        since = _moment(arguments.get("since"))
        digests = bool(arguments.get("digests"))
        report = await self._reconciler.study(request.partition, study_uid, since=since, digests=digests)
        if arguments.get("repair") and report.found:
            await self._scrubbing.mend(report.found)
            repaired = await self._reconciler.study(
                request.partition, study_uid, since=since, digests=digests
            )
            return {**report_document(repaired), "before": report_document(report)}
        return report_document(report)


def report_document(report: StudyReport) -> dict[str, object]:
    """Return a report as it is answered: counts of everything, keys up to a number."""
    gaps = {
        "notInManifests": report.not_in_manifests,
        "notInBucket": report.not_in_bucket,
        "notInIndex": report.not_in_index,
    }
    return {
        "study": report.study_uid,
        "agrees": report.agrees,
        "manifests": {
            "read": report.manifests,
            "openBatches": len(report.open_batches),
            "bad": list(report.bad_manifests[:NAMED]),
        },
        "counts": {
            "manifestLines": report.manifest_lines,
            "objects": report.objects,
            "bytes": report.bytes,
            "receptions": report.receptions,
            "shown": report.shown,
            **{name: len(keys) for name, keys in gaps.items()},
        },
        "keys": {name: list(keys[:NAMED]) for name, keys in gaps.items()},
        "aggregates": {
            "differing": list(report.differing),
            "stored": _numbers(report, counted=False),
            "counted": _numbers(report, counted=True),
        },
        "findings": [
            {"kind": one.kind.value, "objectKey": one.object_key, "evidence": dict(one.evidence)}
            for one in report.found[:NAMED]
        ],
    }


def _numbers(report: StudyReport, *, counted: bool) -> dict[str, int] | None:
    numbers = report.numbers
    if numbers is None:
        return None
    if counted:
        return {"series": numbers.counted_series, "instances": numbers.counted_instances}
    return {"series": numbers.series_count, "instances": numbers.instance_count}


def _moment(text: object) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise BadRequest("since is a time of ISO 8601") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
