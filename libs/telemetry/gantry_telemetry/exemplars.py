"""Exemplars of histograms whose worker processes share their metrics by files.

The metrics library keeps exemplars within one process only. Here each worker writes its
newest ones beside its values, twice a second while there are any, and the exposition puts
those of all workers on the buckets they belong to.
"""

from __future__ import annotations

import json
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "exemplars-"
_WRITE_SECONDS = 0.5

_Found = dict[str, tuple[str, float, float]]


class _Newest:
    """The newest exemplar of each bucket of this process, and when they are written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: _Found = {}
        self._is_waiting = False

    def put(self, place: str, trace_id: str, value: float) -> None:
        with self._lock:
            self._found[place] = (trace_id, value, time.time())
            begins = not self._is_waiting
            self._is_waiting = True
        if begins:
            timer = threading.Timer(_WRITE_SECONDS, self._write)
            timer.daemon = True
            timer.start()

    def _write(self) -> None:
        with self._lock:
            text = json.dumps(self._found)
            self._is_waiting = False
        path = Path(os.environ[_VARIABLE], f"{_PREFIX}{os.getpid()}.json")
        fresh = path.with_suffix(".new")
        try:
            fresh.write_text(text)
            fresh.replace(path)
        except FileNotFoundError:
            return  # the folder goes when the service ends


_newest = _Newest()


def note(
    name: str, labels: Mapping[str, str], upper_bounds: Sequence[float], value: float, trace_id: str
) -> None:
    """Remember that ``value`` was observed in a trace; does nothing where the library keeps it itself."""
    if _VARIABLE not in os.environ:
        return
    bound = floatToGoString(upper_bounds[bisect_left(upper_bounds, value)])  # type: ignore[no-untyped-call]
    _newest.put(_place(f"{name}_bucket", {**labels, "le": bound}), trace_id, value)


def forget(pid: int) -> None:
    """Drop what a process that has ended wrote."""
    Path(os.environ[_VARIABLE], f"{_PREFIX}{pid}.json").unlink(missing_ok=True)


class WithExemplars(Collector):
    """What ``inner`` collects, with the exemplars of all workers on its buckets."""

    def __init__(self, inner: Collector) -> None:
        self._inner = inner

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        found = _read()
        for metric in self._inner.collect():
            if metric.type == "histogram":
                metric.samples = [
                    sample._replace(exemplar=_exemplar(found.get(_place(sample.name, sample.labels))))
                    for sample in metric.samples
                ]
            yield metric


def _place(name: str, labels: Mapping[str, str]) -> str:
    return json.dumps([name, sorted(labels.items())])


def _exemplar(found: tuple[str, float, float] | None) -> Exemplar | None:
    if found is None:
        return None
    trace_id, value, at = found
    return Exemplar({"trace_id": trace_id}, value, at)


def _read() -> _Found:
    found: _Found = {}
    for path in Path(os.environ[_VARIABLE]).glob(f"{_PREFIX}*.json"):
        try:
            of_worker: _Found = json.loads(path.read_text())
        except FileNotFoundError:
            continue  # its worker has just been forgotten
        for place, exemplar in of_worker.items():
            if place not in found or found[place][2] < exemplar[2]:
                found[place] = exemplar
    return found
