"""Driving a server with requests from several clients, and what became of them."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.connection import Answer, Connection, Request
from bench.monitor import Cost, Monitor

WARM_UP = 10

# Says what is wrong with the answer to request k; empty when nothing is.
Check = Callable[[int, Answer], str]


@dataclass(frozen=True, slots=True)
class Target:
    """The server that is measured. ``pids`` are the roots of its process trees."""

    web: str
    headers: tuple[tuple[str, str], ...] = ()
    ae_title: str = ""
    host: str = ""
    port: int = 0
    pids: tuple[int, ...] = ()
    calling_ae_title: str = "BENCH"
    # Where a C-MOVE goes: the server must know it.
    move_ae_title: str = "BENCHSCP"
    move_port: int = 11_199

    def connection(self) -> Connection:
        """Return a connection that is not open yet."""
        return Connection(self.web, self.headers)


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is measured: sizes times ``scale``; a case takes ``seconds`` or a few times that."""

    # UIDs depend on it: another one for another run on the same archive.
    namespace: int = 10
    scale: float = 1.0
    seconds: float = 5.0
    population: int = 20_000
    frames: int = 200
    # Whether the population is stored first.
    load: bool = False
    # Only cases whose name matches.
    only: str = ""

    def count(self, full: int, least: int = 1) -> int:
        """Return how many of ``full`` are measured."""
        return max(least, round(full * self.scale))


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of one case: ``request(k)`` for k from 0, ``n`` of them by ``clients`` clients."""

    request: Callable[[int], Request]
    n: int
    clients: int
    # Looked at in the warm-up only, so that checking does not cost in the timed part.
    check: Check | None = None
    good: tuple[int, ...] = (200,)
    warm_up: int = WARM_UP
    # Stores must not be repeated: their warm-up has requests of its own, from -1 down.
    is_store: bool = False
    seconds_factor: float = 1.0
    items: int = 0
    note: str = ""


@dataclass(slots=True)
class Result:
    """One case; times in milliseconds. A case whose check failed counts for nothing."""

    workload: str
    case: str
    n: int = 0
    req_s: float = 0.0
    items_s: float | None = None
    mb_s: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    first_byte_p50_ms: float | None = None
    server_cpu_ms_per_req: float | None = None
    server_memory_mb: float | None = None
    server_processes: int = 0
    client_cpu_s: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)
    check: str = ""
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


@dataclass(slots=True)
class Measured:
    """What the clients of a case saw."""

    latencies: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    size: int = 0


class Bench:
    """Collects the results of one server."""

    def __init__(self, target: Target, scope: Scope) -> None:
        self.target = target
        self.scope = scope
        self.results: list[Result] = []

    async def drive(self, workload: str, case: str, load: Load) -> None:
        """Warm up, measure, note the result; a case that is not wanted is left out."""
        if self.scope.only and not re.search(self.scope.only, case):
            return
        connections = [self.target.connection() for _ in range(load.clients)]
        try:
            wrong = await self._warm_up(connections, load)
            measured = Measured()
            with Monitor(self.target.pids) as monitor:
                begun = time.perf_counter()
                await self._measure(connections, load, measured)
                wall = time.perf_counter() - begun
        finally:
            for connection in connections:
                connection.close()
        items = load.items * len(measured.latencies) if load.items else None
        result = result_of(workload, case, measured, wall, monitor.cost, items=items)
        result.note = load.note
        if wrong:
            result.check = "FAILED: " + "; ".join(f"{count} x {what}" for what, count in wrong.most_common(2))
        elif load.check:
            result.check = "checked"
        self.note(result)

    def note(self, result: Result) -> None:
        """Keep a result and say it."""
        self.results.append(result)
        rate = result.items_s or result.req_s
        print(
            f"{result.workload:3} {result.case:52} {rate:>9.1f}/s  p50 {result.p50_ms} ms  "
            f"p99 {result.p99_ms} ms  {result.check} {dict(result.errors) or ''}",
            flush=True,
        )

    async def _warm_up(self, connections: Sequence[Connection], load: Load) -> Counter[str]:
        wrong: Counter[str] = Counter()
        until = time.perf_counter() + self.scope.seconds
        for k in range(min(load.warm_up, self.scope.count(load.warm_up, 1))):
            if k and time.perf_counter() > until:
                break
            number = -1 - k if load.is_store else k
            try:
                answer = await connections[k % len(connections)].send(load.request(number), keep=True)
            except (OSError, EOFError) as error:
                wrong[repr(error)] += 1
                continue
            if answer.status not in load.good:
                wrong[f"HTTP {answer.status} {answer.body[:160]!r}"] += 1
            elif load.check and (what := load.check(number, answer)):
                wrong[what] += 1
        return wrong

    async def _measure(self, connections: Sequence[Connection], load: Load, measured: Measured) -> None:
        numbers = iter(range(load.n))
        end = time.perf_counter() + load.seconds_factor * self.scope.seconds

        async def client(connection: Connection) -> None:
            for k in numbers:
                if time.perf_counter() > end:
                    return
                request = load.request(k)
                try:
                    answer = await connection.send(request)
                except (OSError, EOFError) as error:
                    measured.errors[type(error).__name__] += 1
                    continue
                if answer.status not in load.good:
                    measured.errors[str(answer.status)] += 1
                    continue
                measured.latencies.append(answer.seconds)
                measured.first_bytes.append(answer.first_byte_seconds)
                measured.size += request.size or answer.size

        await asyncio.gather(*map(client, connections))


def result_of(
    workload: str, case: str, measured: Measured, wall: float, cost: Cost, *, items: int | None = None
) -> Result:
    """Return the figures of what was measured in ``wall`` seconds."""
    done = len(measured.latencies)
    return Result(
        workload,
        case,
        n=done,
        req_s=round(done / wall, 2),
        items_s=None if items is None else round(items / wall, 2),
        mb_s=round(measured.size / 1e6 / wall, 2),
        p50_ms=in_ms(measured.latencies, 50),
        p95_ms=in_ms(measured.latencies, 95),
        p99_ms=in_ms(measured.latencies, 99),
        first_byte_p50_ms=in_ms(measured.first_bytes, 50),
        server_cpu_ms_per_req=round(1e3 * cost.server_cpu / done, 3) if done and cost.processes else None,
        server_memory_mb=round(cost.memory / 1e6, 1) if cost.processes else None,
        server_processes=cost.processes,
        client_cpu_s=round(cost.client_cpu, 2),
        errors=dict(measured.errors),
    )


def in_ms(seconds: Sequence[float], percent: float) -> float | None:
    """Return a percentile in milliseconds; ``None`` of nothing."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return round(1e3 * ordered[min(len(ordered) - 1, int(percent / 100 * len(ordered)))], 2)
