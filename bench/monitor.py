"""What servers cost: CPU time and memory of process trees, and the client's own CPU time."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of CPU, the most memory (proportional set size: shared pages counted once) and processes."""

    server_cpu: float
    client_cpu: float
    memory: int
    processes: int


class Monitor:
    """Watches the trees under ``roots`` while the ``with`` block runs; ``cost`` afterwards."""

    def __init__(self, roots: Sequence[int]) -> None:
        self._roots = roots
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._memory = 0
        self._processes = 0
        self.cost = Cost(0.0, 0.0, 0, 0)

    def __enter__(self) -> Self:
        self._server = cpu_of(tree_of(self._roots))
        self._client = _own_cpu()
        self._look()
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        client = _own_cpu() - self._client
        self._ended.set()
        self._watching.join()
        server = cpu_of(tree_of(self._roots)) - self._server
        self._look()
        self.cost = Cost(server, client, self._memory, self._processes)

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        pids = tree_of(self._roots)
        self._memory = max(self._memory, sum(map(_proportional_size, pids)))
        self._processes = max(self._processes, len(pids))


def tree_of(roots: Sequence[int]) -> set[int]:
    """Return the processes under ``roots``, themselves included."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting += children.get(pid, ())
    return found


def cpu_of(pids: set[int]) -> float:
    """Return the seconds of CPU that processes and their ended children have used (proc(5): stat)."""
    return sum(sum(map(int, fields[11:15])) for pid in pids if (fields := _stat(pid))) / _TICKS


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _proportional_size(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def _own_cpu() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)
