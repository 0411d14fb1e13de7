"""Pixel work in processes of its own, with limits of memory and time.

A codec can need gigabytes, run for minutes or crash on a hostile codestream; none of that
may reach the event loop, end the service or fail another caller's frame.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from typing import ParamSpec, TypeVar

from gantry_dicom.errors import CannotProcess, GantryError
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

log = get_logger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# About a second on a machine with nothing else to do.
_START_SECONDS = 60.0

JOBS = metrics.counter(
    "gantry_pixel_jobs",
    "Frames decoded or rendered",
    ("outcome",),
    known=("done", "refused", "failed", "timeout", "memory", "crashed"),
)
SECONDS = metrics.histogram("gantry_pixel_job_seconds", "Time of a job in its process", ("job",))
WAIT = metrics.histogram("gantry_pixel_job_wait_seconds", "Until a process was free for a job")


class PixelWorkers:
    """Processes that take one job at a time; each is started with its first job.

    Each process is an executor of its own, so that a job that has to be ended, or that ends its
    process, takes nobody else's with it.
    """

    def __init__(
        self,
        processes: int,
        *,
        memory_bytes: int,
        seconds: float,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        """``prepare`` is run in each process as it starts, importable by name."""
        self._workers = [_Worker(memory_bytes, seconds, prepare) for _ in range(processes)]
        # Last in, first out: a process that runs already is taken before one that must start.
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        for worker in self._workers:
            self._idle.put_nowait(worker)

    async def run(self, job: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``job`` in a worker and return its result.

        Raises the ``GantryError`` that the job raised, and ``CannotProcess`` when it failed
        otherwise, exceeded its time or memory or took its worker down.
        """
        with WAIT.time():
            worker = await self._idle.get()
        # A caller that leaves now leaves its job: the worker is idle only when that is done.
        return await asyncio.shield(asyncio.ensure_future(self._run_on(worker, job, *args, **kwargs)))

    async def _run_on(self, worker: _Worker, job: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await worker.run(job, *args, **kwargs)
        finally:
            self._idle.put_nowait(worker)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.end()


class _Worker:
    """One process, replaced when a job ruins it."""

    def __init__(self, memory_bytes: int, seconds: float, prepare: Callable[[], object] | None) -> None:
        self._memory_bytes = memory_bytes
        self._prepare = prepare
        self._seconds = seconds
        self._process: ProcessPoolExecutor | None = None

    async def run(self, job: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            process = self._process or await self._start()
            future = asyncio.wrap_future(process.submit(job, *args, **kwargs))
            with SECONDS.labels(_name(job)).time():
                result = await asyncio.wait_for(future, self._seconds)
        except GantryError:
            JOBS.labels("refused").inc()
            raise
        except TimeoutError as error:
            self.end()
            JOBS.labels("timeout").inc()
            raise CannotProcess("the frame took too long to decode") from error
        except BrokenProcessPool as error:
            self.end()
            JOBS.labels("crashed").inc()
            log.warning("pixel_worker_died")
            raise CannotProcess("the frame could not be decoded") from error
        except MemoryError as error:
            JOBS.labels("memory").inc()
            raise CannotProcess("the frame needs more memory than allowed") from error
        except Exception as error:
            # Codecs and pydicom raise whatever their parts raise on data that makes no sense.
            JOBS.labels("failed").inc()
            log.warning("pixel_job_failed", error=type(error).__name__)
            raise CannotProcess("the frame could not be decoded") from error
        JOBS.labels("done").inc()
        return result

    async def _start(self) -> ProcessPoolExecutor:
        """Start the process; no job's time runs before the codecs are loaded."""
        self._process = process = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(self._memory_bytes, self._prepare),
        )
        await asyncio.wait_for(asyncio.wrap_future(process.submit(_load)), _START_SECONDS)
        return process

    def end(self) -> None:
        executor, self._process = self._process, None
        if executor is None:
            return
        # The executor has no public way to end a running job.
        for process in list((executor._processes or {}).values()):  # noqa: SLF001
            process.kill()
        executor.shutdown(wait=False, cancel_futures=True)


def _name(job: Callable[..., object]) -> str:
    return str(getattr(job, "__name__", "other"))


def _begin(memory_bytes: int, prepare: Callable[[], object] | None) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    if prepare is not None:
        prepare()


def _load() -> None:
    for name in ("gantry_imaging.render", "gantry_imaging.transcode"):
        import_module(name)
