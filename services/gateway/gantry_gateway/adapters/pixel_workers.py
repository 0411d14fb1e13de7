"""Pixel work in processes of its own, with limits of memory and time.

A codec can need gigabytes, run for minutes or crash on a hostile codestream; none of that
may reach the event loop or end the gateway.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

from gantry_dicom.errors import CannotProcess
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

log = get_logger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

JOBS = metrics.counter("gantry_pixel_jobs", "Frames decoded or rendered", ("outcome",))


class PixelWorkers:
    """A pool of processes; started with the first job."""

    def __init__(self, processes: int, *, memory_bytes: int, seconds: float) -> None:
        self._processes = processes
        self._memory_bytes = memory_bytes
        self._seconds = seconds
        self._pool: ProcessPoolExecutor | None = None
        # Jobs beyond these wait here, where a caller that has gone is forgotten.
        self._slots = asyncio.Semaphore(processes * 2)

    async def run(self, job: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``job`` in a worker and return its result.

        Raises what the job raised, and ``CannotProcess`` when it exceeded its time or memory
        or took its worker down.
        """
        async with self._slots:
            pool = self._started()
            future = pool.submit(job, *args, **kwargs)
            try:
                result = await asyncio.wait_for(asyncio.wrap_future(future), self._seconds)
            except TimeoutError as error:
                self._abandon(pool)
                JOBS.labels("timeout").inc()
                raise CannotProcess("the frame took too long to decode") from error
            except BrokenProcessPool as error:
                self._abandon(pool)
                JOBS.labels("crashed").inc()
                log.warning("pixel_worker_died")
                raise CannotProcess("the frame could not be decoded") from error
            except MemoryError as error:
                JOBS.labels("memory").inc()
                raise CannotProcess("the frame needs more memory than allowed") from error
        JOBS.labels("done").inc()
        return result

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._abandon(self._pool)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._processes,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_limit_memory,
                initargs=(self._memory_bytes,),
            )
        return self._pool

    def _abandon(self, pool: ProcessPoolExecutor) -> None:
        # Whoever else has a job in this pool sees it broken and fails by itself.
        if self._pool is pool:
            self._pool = None
        for process in list(multiprocessing_children(pool)):
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)


def multiprocessing_children(pool: ProcessPoolExecutor) -> list[multiprocessing.Process]:
    """Return the processes of ``pool``; the executor has no public way to end a running job."""
    return list((pool._processes or {}).values())  # noqa: SLF001


def _limit_memory(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
