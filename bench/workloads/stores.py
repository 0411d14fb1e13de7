"""W1: STOW-RS of CT slices and reports. W8: from the answer of a store until a search shows it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from bench import checks
from bench.connection import Request
from bench.driving import Bench, Load, Measured, in_ms, result_of
from bench.generator import Kind, ct, instance, study_uid, template
from bench.monitor import Monitor
from bench.workloads.series import DICOM_JSON, stow_request

CLIENTS = (1, 4, 8)
_GIVE_UP_SECONDS = 30.0
# Kind, instances a request, instances in all.
_CASES = (("ct", 1, 400), ("ct", 50, 600), ("sr", 50, 3000))


async def stow(bench: Bench) -> None:
    """Measure STOW-RS; each client stores a study of its own."""
    base = 100_000
    for kind, per_request, total in _CASES:
        for clients in CLIENTS:
            base += 100
            size = template(Kind(kind)).size // 1000
            await bench.drive(
                "W1",
                f"STOW {kind} {size} kB, {per_request}/request, c={clients}",
                Load(
                    _requests(bench, kind, per_request, clients, base),
                    max(2 * clients, bench.scope.count(total) // per_request),
                    clients,
                    checks.stored(per_request),
                    warm_up=2,
                    is_store=True,
                    seconds_factor=4,
                    items=per_request,
                ),
            )


def _requests(bench: Bench, kind: str, per_request: int, clients: int, base: int) -> Callable[[int], Request]:
    def request(k: int) -> Request:
        study, batch = (base + k % clients, k // clients) if k >= 0 else (base + 50, -k)
        numbers = range(batch * per_request, (batch + 1) * per_request)
        if kind == "ct":
            return stow_request([ct(bench.scope.namespace, study, number) for number in numbers])
        return stow_request([instance(Kind(kind), bench.scope.namespace, study, 0, n) for n in numbers])

    return request


async def until_visible(bench: Bench) -> None:
    """Measure how long a search does not show what a store has acknowledged."""
    storing, searching = bench.target.connection(), bench.target.connection()
    measured = Measured()
    count, at_once = bench.scope.count(100), 0
    with Monitor(bench.target.pids) as monitor:
        begun = time.perf_counter()
        for k in range(count):
            study = 400_000 + k
            request = stow_request([ct(bench.scope.namespace, study, 0)])
            wrong = checks.stored(1)(k, await storing.send(request, keep=True))
            if wrong:
                measured.errors[wrong] += 1
                continue
            uid = study_uid(bench.scope.namespace, study)
            answered, looks = time.perf_counter(), 0
            while time.perf_counter() - answered < _GIVE_UP_SECONDS:
                looks += 1
                search = Request(f"/studies?StudyInstanceUID={uid}", DICOM_JSON)
                answer = await searching.send(search, keep=True)
                if answer.body and json.loads(answer.body):
                    measured.latencies.append(time.perf_counter() - answered)
                    at_once += looks == 1
                    break
            else:
                measured.errors["never seen"] += 1
        wall = time.perf_counter() - begun
    storing.close()
    searching.close()
    result = result_of("W8", "STOW answer until QIDO shows the study", measured, wall, monitor.cost)
    result.note = f"seen by the first search: {at_once} of {count}; p50 {in_ms(measured.latencies, 50)} ms"
    result.check = "checked" if not measured.errors else "FAILED: some were not seen"
    bench.note(result)
