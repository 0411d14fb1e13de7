"""Prometheus metrics, safe where a service's workers are processes.

With ``PROMETHEUS_MULTIPROC_DIR`` set before the first import, every worker writes its
values there and ``exposition`` sums them; without it, it shows this process alone.
A label takes values from a list that somebody wrote, or through a ``BoundedLabel``: what a
peer can say must not make a series.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    multiprocess,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gantry_telemetry import exemplars
from gantry_telemetry.processes import ProcessCollector, has_process_metrics
from gantry_telemetry.tracing import sampled_trace_id

# A series more for every one of ours, and Prometheus does not use them.
disable_created_metrics()  # type: ignore[no-untyped-call]

# Seconds; from a cached frame to a slow study.
DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_OTHER = "other"


class TracedHistogram(Histogram):
    """A histogram whose buckets remember the trace of an observation (OpenMetrics exemplars)."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Count ``amount``, and keep the current trace as its example when that is recorded."""
        trace_id = sampled_trace_id()
        if trace_id and exemplar is None:
            exemplar = {"trace_id": trace_id}
            labels = dict(zip(self._labelnames, self._labelvalues, strict=True))
            exemplars.note(self._name, labels, self._upper_bounds, amount, trace_id)
        super().observe(amount, exemplar)


class BoundedLabel:
    """Lets the first ``most`` values of a label through, and calls every other one ``other``."""

    def __init__(self, most: int, known: Iterable[str] = ()) -> None:
        self._most = most
        self._seen = set(known)

    def __call__(self, value: str) -> str:
        """Return the label value under which ``value`` is counted."""
        if value in self._seen:
            return value
        if not value or len(self._seen) >= self._most:
            return _OTHER
        self._seen.add(value)
        return value


def counter(
    name: str, documentation: str, labelnames: Sequence[str] = (), known: Iterable[str] = ()
) -> Counter:
    """Return a counter; ``name`` without the ``_total`` that Prometheus adds.

    ``known`` are values of its one label that are shown from the start: a series that begins with
    its first event hides that event from ``increase``, so what alerts ask for must be there before.
    """
    made = Counter(name, documentation, labelnames)
    for value in known:
        made.labels(value)
    return made


def gauge(
    name: str,
    documentation: str,
    labelnames: Sequence[str] = (),
    over_workers: Literal["livesum", "livemax", "livemin"] = "livesum",
) -> Gauge:
    """Return a gauge; over several workers the live ones are summed, or the largest or least counts."""
    return Gauge(name, documentation, labelnames, multiprocess_mode=over_workers)


def histogram(
    name: str,
    documentation: str,
    labelnames: Sequence[str] = (),
    buckets: Sequence[float] = DURATIONS,
) -> Histogram:
    """Return a histogram, in seconds unless ``buckets`` says otherwise."""
    return TracedHistogram(name, documentation, labelnames, buckets=buckets)


def exposition(accept: str = "") -> tuple[bytes, str]:
    """Return the metrics of this service, all workers together, and their media type.

    ``accept`` is the scraper's: OpenMetrics, which carries exemplars, for who asks for it.
    """
    encode, media_type = choose_encoder(accept)
    return encode(_collected()), media_type


def _collected() -> Collector:
    registry = CollectorRegistry()
    if has_process_metrics():
        registry.register(ProcessCollector())
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        _forget_the_dead(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        workers = multiprocess.MultiProcessCollector(None)  # type: ignore[no-untyped-call]
        registry.register(exemplars.WithExemplars(workers))
    else:
        registry.register(REGISTRY)
    return registry


def _forget_the_dead(folder: Path) -> None:
    """Forget workers that ended without anybody saying so: killed, or children of a library."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdigit() and not _is_alive(int(pid)):
            forget_worker(int(pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def forget_worker(pid: int) -> None:
    """Drop the live gauges and the exemplars of a worker process that has ended."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
        exemplars.forget(pid)
