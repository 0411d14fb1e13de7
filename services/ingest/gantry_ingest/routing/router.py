"""The router: manifests become episodes, episodes become jobs, jobs are carried out."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gantry.routing.v1.routing_pb2 import (
    JOB_STATE_DONE,
    JOB_STATE_FAILED,
    JOB_STATE_GIVEN_UP,
    JOB_STATE_SENDING,
    JOB_STATE_WAITING,
    Completion,
    JobState,
    RouteJob,
)
from gantry_dicom.errors import GantryError, Unavailable
from gantry_index.reader import IndexReader
from gantry_routing.ledger import ENDED, JobLedger, job_name
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

from gantry_ingest.routing.delivering import Deliverer
from gantry_ingest.routing.episodes import Arrivals, Episode
from gantry_ingest.routing.facts import arrivals_of, missing_of, series_of
from gantry_ingest.routing.manifests import ManifestWatcher
from gantry_ingest.routing.rules import Routes, Rule, matching

log = get_logger(__name__)

COMPLETE = metrics.counter("gantry_studies_complete", "Studies that were taken for complete")
JOBS = metrics.counter("gantry_route_jobs", "Routing jobs by rule and how they ended", ("rule", "state"))
SENT = metrics.counter("gantry_route_instances", "Instances sent on", ("rule", "how"))
WAITING = metrics.gauge("gantry_route_jobs_open", "Routing jobs that have not ended")

# An episode whose instances the index does not have is looked at again for so long: longer than
# a sweeper needs, and then it goes as it is (what is quarantined or deleted never comes).
_INDEX_PATIENCE_SECONDS = 900.0
_FIRST_PAUSE_SECONDS = 15.0
_LONGEST_PAUSE_SECONDS = 1800.0
# Instances between two writings of how far a job has come.
_PROGRESS_EVERY = 100


@dataclass(slots=True)
class _Held:
    """An episode that is complete and whose rules have not been asked yet."""

    episode: Episode
    since: float


@dataclass(slots=True)
class Router:
    """One router of a deployment; ``look`` and ``work`` are called again and again."""

    routes: Routes
    watcher: ManifestWatcher
    ledger: JobLedger
    index: IndexReader
    deliverer: Deliverer
    # Told of each study that is complete.
    announce: Callable[[Episode, Completion], Awaitable[None]]
    wall_clock: Callable[[], float] = time.time
    arrivals: Arrivals = field(init=False)
    _held: list[_Held] = field(default_factory=list)

    def __post_init__(self) -> None:
        quiet, released = self.routes.quiet_seconds, self.routes.released_quiet_seconds
        self.arrivals = Arrivals(int(quiet * 1e6), int(min(quiet, released) * 1e6))

    async def look(self) -> None:
        """Take in what has come, and make the jobs of what is complete. Raises ``Unavailable``."""
        async for manifest in self.watcher.new():
            self.arrivals.add(manifest.partition, manifest.receptions)
        now = self.wall_clock()
        self._held += [_Held(episode, now) for episode in self.arrivals.complete(int(now * 1e6))]
        for held in list(self._held):
            if await self._decide(held, now):
                self._held.remove(held)

    async def work(self) -> None:
        """Carry out the jobs that are due, the destinations side by side. Raises ``Unavailable``."""
        jobs = [job async for job in self.ledger.open_jobs() if job.state not in ENDED]
        WAITING.set(len(jobs))
        now = int(self.wall_clock() * 1e6)
        due: dict[str, list[RouteJob]] = defaultdict(list)
        for job in sorted(jobs, key=lambda one: (one.next_attempt_at_us, one.created_at_us)):
            if job.next_attempt_at_us <= now:
                due[job.destination].append(job)
        await asyncio.gather(*(self._serve(jobs) for jobs in due.values()))

    async def _decide(self, held: _Held, now: float) -> bool:
        """Make the jobs of an episode; ``False`` while the index does not have all of it."""
        episode = held.episode
        stored = await self.index.instances(episode.partition, episode.study_uid)
        if missing_of(episode, stored) and now - held.since < _INDEX_PATIENCE_SECONDS:
            return False
        completion = _completion(episode, now)
        COMPLETE.inc()
        log.info("study_complete", study_instance_uid=episode.study_uid, partition=episode.partition)
        await self.announce(episode, completion)
        series = await series_of(self.index, episode.partition, episode.study_uid)
        for arrival, series_uid in arrivals_of(episode, series):
            for rule in matching(self.routes, arrival):
                await self._make_job(rule, episode, series_uid, completion)
        return True

    async def _make_job(self, rule: Rule, episode: Episode, series_uid: str, completion: Completion) -> None:
        job = RouteJob(
            job=job_name(
                rule.name, episode.partition, episode.study_uid, series_uid, episode.first_order_key
            ),
            rule=rule.name,
            partition=episode.partition,
            study_instance_uid=episode.study_uid,
            series_instance_uid=series_uid,
            destination=rule.send_to,
            state=JOB_STATE_WAITING,
            completion=completion,
        )
        if await self.ledger.create(job):
            log.info("route_job_made", rule=rule.name, study_instance_uid=episode.study_uid)

    async def _serve(self, jobs: list[RouteJob]) -> None:
        """Carry out the jobs of one destination, one after the other, until it cannot be reached."""
        for job in jobs:
            try:
                if not await self._carry_out(job):
                    return
            except GantryError as error:
                # The store or the index is away: everything is tried again.
                log.warning("route_job_paused", rule=job.rule, reason=error.outcome.value)
                return

    async def _carry_out(self, job: RouteJob) -> bool:
        """Return whether the destination could be reached."""
        destination = self.routes.destinations.get(job.destination)
        if destination is None:
            await self._end(job, JOB_STATE_GIVEN_UP, "the destination is not in the routes any more")
            return True
        series_uid = job.series_instance_uid or None
        stored = await self.index.instances(job.partition, job.study_instance_uid, series_uid)
        known = {*job.sent_sop_instance_uids, *job.failed_sop_instance_uids}
        waiting = [instance for instance in stored if instance.sop_uid not in known]
        job.instances, job.state = len(stored), JOB_STATE_SENDING
        told = 0

        async def tell(sop_uid: str, is_sent: bool) -> None:
            nonlocal told
            told += 1
            (job.sent_sop_instance_uids if is_sent else job.failed_sop_instance_uids).append(sop_uid)
            SENT.labels(job.rule, "sent" if is_sent else "refused").inc()
            if told % _PROGRESS_EVERY == 0:
                await self.ledger.update(job)

        try:
            await self.deliverer.deliver(destination, waiting, tell)
        except Unavailable as error:
            await self._put_off(job, error.detail, has_progress=told > 0)
            return False
        failed = bool(job.failed_sop_instance_uids)
        await self._end(job, JOB_STATE_FAILED if failed else JOB_STATE_DONE, "")
        return True

    async def _put_off(self, job: RouteJob, trouble: str, *, has_progress: bool) -> None:
        job.attempts = 1 if has_progress else job.attempts + 1
        job.last_trouble = trouble
        age = self.wall_clock() - job.created_at_us / 1e6
        if not has_progress and age > self.routes.give_up_hours * 3600:
            await self._end(job, JOB_STATE_GIVEN_UP, trouble)
            return
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** (job.attempts - 1), _LONGEST_PAUSE_SECONDS)
        job.state = JOB_STATE_WAITING
        job.next_attempt_at_us = int((self.wall_clock() + pause) * 1e6)
        log.warning("route_job_put_off", rule=job.rule, attempt=job.attempts, delay_s=round(pause))
        await self.ledger.update(job)

    async def _end(self, job: RouteJob, state: JobState, trouble: str) -> None:
        job.state, job.last_trouble, job.next_attempt_at_us = state, trouble, 0
        await self.ledger.update(job)
        JOBS.labels(job.rule, _WORDS[state]).inc()
        log.info("route_job_ended", rule=job.rule, outcome=_WORDS[state], count=job.instances)


_WORDS = {JOB_STATE_DONE: "done", JOB_STATE_FAILED: "failed", JOB_STATE_GIVEN_UP: "given-up"}


def _completion(episode: Episode, now: float) -> Completion:
    return Completion(
        first_received_at_us=episode.first_received_us,
        last_received_at_us=episode.last_received_us,
        quiet_us=max(0, int(now * 1e6) - episode.last_received_us),
        instances=episode.instance_count,
        sources=sorted(episode.sources),
        associations_released=episode.is_released,
    )
