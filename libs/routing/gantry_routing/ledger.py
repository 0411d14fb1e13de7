"""Jobs in the bucket: one object each, put again as it goes on, and a note while it is open.

A job's name is made of what it does, so the same arrival never makes two. One router works at
a time; that two do for a moment sends instances twice, which every archive takes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator

from gantry.routing.v1.routing_pb2 import (
    JOB_STATE_DONE,
    JOB_STATE_FAILED,
    JOB_STATE_GIVEN_UP,
    RouteJob,
)
from gantry_dicom.errors import Conflict, GantryError, NotFound
from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import (
    JOB_PREFIX,
    OPEN_JOB_PREFIX,
    job_key,
    open_job_key,
    parse_open_job_key,
)
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_telemetry.logs import get_logger

log = get_logger(__name__)

ENDED = frozenset({JOB_STATE_DONE, JOB_STATE_FAILED, JOB_STATE_GIVEN_UP})
_NOTE = b"open\n"


def job_name(rule: str, partition: str, study_uid: str, series_uid: str, first_order_key: str) -> str:
    """Return the name of the job of ``rule`` for what began to arrive with ``first_order_key``."""
    words = (rule, partition, study_uid, series_uid, first_order_key)
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:40]


class JobLedger:
    """Reads and writes jobs. Every method raises ``Unavailable`` when the store is in trouble."""

    def __init__(self, store: ObjectStore, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer

    async def create(self, job: RouteJob) -> bool:
        """Keep a new job; ``False`` when it is there already."""
        job.created_at_us = job.changed_at_us = time.time_ns() // 1000
        # First the note: a job that is there can then always be found.
        await self._store.put(open_job_key(job.partition, job.job), _NOTE)
        try:
            await self._store.put(job_key(job.partition, job.job), self._sealer.seal(job), create=True)
        except Conflict:
            return False
        return True

    async def update(self, job: RouteJob) -> None:
        """Keep how far a job has come."""
        job.changed_at_us = time.time_ns() // 1000
        await self._store.put(job_key(job.partition, job.job), self._sealer.seal(job))

    async def read(self, partition: str, job: str) -> RouteJob:
        """Return a job. Raises ``NotFound`` and ``BadSeal``."""
        key = job_key(partition, job)
        found = self._sealer.open(await self._store.get(key), RouteJob)
        if (found.partition, found.job) != (partition, job):
            raise BadSeal("a job under another's key")
        return found

    async def open_jobs(self) -> AsyncIterator[RouteJob]:
        """Yield the jobs that may not have ended; what cannot be believed is passed over."""
        for key in [info.key async for info in self._store.list(OPEN_JOB_PREFIX)]:
            try:
                yield await self.read(*parse_open_job_key(key))
            except NotFound:
                continue  # its writer died before the job was there
            except (BadKey, BadSeal):
                log.exception("route_job_refused")

    async def jobs(self, partition: str, limit: int) -> list[RouteJob]:
        """Return jobs of a partition, those that changed last first."""
        infos = [info async for info in self._store.list(f"{JOB_PREFIX}{partition}/")]
        infos.sort(key=lambda info: info.last_modified, reverse=True)
        found = []
        for info in infos[:limit]:
            try:
                found.append(self._sealer.open(await self._store.get(info.key), RouteJob))
            except GantryError:
                log.exception("route_job_refused")
        return found

    async def forget_notes(self, note_seconds: float) -> int:
        """Delete notes of what has ended; returns what stays open. For the storage service.

        ``note_seconds`` is how long a note without a job is left alone.
        """
        now = await self._store.now()
        staying = 0
        for info in [info async for info in self._store.list(OPEN_JOB_PREFIX)]:
            try:
                job = await self.read(*parse_open_job_key(info.key))
                is_over = job.state in ENDED
            except NotFound:
                is_over = (now - info.last_modified).total_seconds() > note_seconds
            except (BadKey, BadSeal):
                log.exception("route_job_refused")
                is_over = False
            if is_over:
                await self._store.delete(info.key)
            else:
                staying += 1
        return staying

    async def forget_jobs(self, ended_for_seconds: float) -> int:
        """Delete jobs that ended so long ago; returns how many. For the storage service."""
        now = await self._store.now()
        old = [
            info.key
            async for info in self._store.list(JOB_PREFIX)
            if (now - info.last_modified).total_seconds() > ended_for_seconds
        ]
        return sum([await self._forget_ended(key) for key in old])

    async def _forget_ended(self, key: str) -> bool:
        try:
            job = self._sealer.open(await self._store.get(key), RouteJob)
        except NotFound:
            return False
        except BadSeal:
            log.exception("route_job_refused")
            return False
        if job.state in ENDED:
            await self._store.delete(key)
        return job.state in ENDED
