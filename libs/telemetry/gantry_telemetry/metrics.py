"""Prometheus metrics, safe where a service's workers are processes.

With ``PROMETHEUS_MULTIPROC_DIR`` set before the first import, every worker writes its
values there and ``exposition`` sums them; without it, it shows this process alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

EXPOSITION_TYPE = CONTENT_TYPE_LATEST

# Seconds; from a cached frame to a slow study.
DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def counter(name: str, documentation: str, labelnames: Sequence[str] = ()) -> Counter:
    """Return a counter; ``name`` without the ``_total`` that Prometheus adds."""
    return Counter(name, documentation, labelnames)


def gauge(name: str, documentation: str, labelnames: Sequence[str] = ()) -> Gauge:
    """Return a gauge; over several workers the live ones are summed."""
    return Gauge(name, documentation, labelnames, multiprocess_mode="livesum")


def histogram(
    name: str,
    documentation: str,
    labelnames: Sequence[str] = (),
    buckets: Sequence[float] = DURATIONS,
) -> Histogram:
    """Return a histogram, in seconds unless ``buckets`` says otherwise."""
    return Histogram(name, documentation, labelnames, buckets=buckets)


def exposition() -> bytes:
    """Return the metrics of this service, all workers together, as Prometheus text."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget_worker(pid: int) -> None:
    """Drop the live gauges of a worker process that has ended."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
