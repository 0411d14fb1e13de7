"""What a service's processes use, all of them together: processor time, memory, open files.

A service is the process that began it and all that came from it, codecs' processes and
workers included, so these are read from the kernel and not counted by each process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gantry_telemetry.workers import owner

_PROC = Path("/proc")


def has_process_metrics() -> bool:
    """Whether this system tells about processes the way Linux does."""
    return (_PROC / "self" / "stat").exists()


class ProcessCollector(Collector):
    """Collects the use of this service's processes, and which version runs."""

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics, each one value for the whole service."""
        ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        count = files = pages = spent = 0
        for pid in _family(owner()):
            try:
                # proc(5): what follows the name in parentheses, which may hold anything.
                fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
                files += sum(1 for _ in (_PROC / str(pid) / "fd").iterdir())
            except (OSError, ValueError):
                continue  # it has ended meanwhile
            count += 1
            # utime, stime and those of children that were waited for: so the sum never falls
            # when a worker ends.
            spent += sum(map(int, fields[11:15]))
            pages += int(fields[21])
        yield CounterMetricFamily(
            "gantry_process_cpu_seconds",
            "Processor time used by the service's processes",
            value=spent / ticks,
        )
        yield GaugeMetricFamily(
            "gantry_process_resident_memory_bytes",
            "Memory resident for the service's processes, shared pages counted in each",
            value=pages * page,
        )
        yield GaugeMetricFamily(
            "gantry_process_open_files", "Files and sockets the service's processes hold open", value=files
        )
        yield GaugeMetricFamily("gantry_processes", "Processes of the service", value=count)
        build = GaugeMetricFamily("gantry_build_info", "Always 1; which version runs", labels=["version"])
        build.add_metric([version("gantry-libs")], 1)
        yield build


def _family(pid: int) -> Iterator[int]:
    """Yield a process and all that came from it."""
    yield pid
    try:
        for task in (_PROC / str(pid) / "task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))
    except OSError:
        return
