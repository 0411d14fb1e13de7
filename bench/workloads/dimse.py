"""W2: C-STORE. W9: C-FIND, C-GET and C-MOVE. DCMTK's programs are the clients."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.connection import Request
from bench.driving import Bench, Measured, result_of
from bench.generator import Kind, ct, series_uid, study_uid, template
from bench.monitor import Monitor
from bench.workloads.series import DICOM_JSON, INSTANCES, STUDY, the_series

# DCMTK leaves Nagle's algorithm on unless told so: each message would wait 40 ms for an acknowledgement.
_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
_PROGRAMS = ("storescu", "findscu", "getscu", "movescu", "storescp")


def is_possible(bench: Bench) -> bool:
    """Tell whether there are the programs and a DIMSE address."""
    return bool(bench.target.port) and all(map(shutil.which, _PROGRAMS))


async def c_store(bench: Bench) -> None:
    """Measure C-STORE by one association and by four; a search counts what arrived."""
    if not is_possible(bench):
        print("W2 left out: no DCMTK, or no DIMSE address")
        return
    for associations, total in ((1, 400), (4, 800)):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            await _c_store(bench, Path(folder), associations, bench.scope.count(total, 8))


async def _c_store(bench: Bench, folder: Path, associations: int, total: int) -> None:
    base = 200_000 + 10 * associations
    for number in range(total):
        of = folder / str(number % associations)
        of.mkdir(exist_ok=True)
        parts = ct(bench.scope.namespace, base + number % associations, number)
        (of / f"{number:06d}.dcm").write_bytes(b"".join(map(bytes, parts)))
    peer = _peer(bench)
    with Monitor(bench.target.pids) as monitor:
        begun = time.perf_counter()
        running = [
            await asyncio.create_subprocess_exec(
                "storescu", *peer[:4], "-R", "+sd", *peer[4:], str(folder / str(k)),
                env=_ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for k in range(associations)
        ]  # fmt: skip
        codes = [await process.wait() for process in running]
        wall = time.perf_counter() - begun
    arrived = 0
    connection = bench.target.connection()
    for k in range(associations):
        path = f"/studies/{study_uid(bench.scope.namespace, base + k)}/instances?limit=5000"
        answer = await connection.send(Request(path, DICOM_JSON), keep=True)
        arrived += len(json.loads(answer.body)) if answer.body else 0
    connection.close()
    measured = Measured(size=total * template(Kind("ct")).size)
    measured.latencies = [wall / total] * total
    case = f"C-STORE ct 526 kB, {associations} association(s)"
    result = result_of("W2", case, measured, wall, monitor.cost, items=total)
    result.p50_ms = result.p95_ms = result.p99_ms = None
    good = arrived == total and not any(codes)
    result.check = "checked" if good else f"FAILED: a search shows {arrived} of {total}; exit codes {codes}"
    bench.note(result)


async def query_retrieve(bench: Bench) -> None:
    """Measure C-FIND, C-GET and C-MOVE of the series of 500."""
    if not is_possible(bench):
        print("W9 left out: no DCMTK, or no DIMSE address")
        return
    await the_series(bench)
    namespace = bench.scope.namespace
    study = f"StudyInstanceUID={study_uid(namespace, STUDY)}"
    series = f"SeriesInstanceUID={series_uid(namespace, STUDY, 0)}"
    peer = _peer(bench)
    found = r"Find Response: \d+ \(Pending\)"
    await _timed(
        bench,
        "C-FIND study by StudyInstanceUID",
        ["findscu", "-v", "-S", *peer, *_keys("QueryRetrieveLevel=STUDY", study, "PatientID", "StudyDate")],
        bench.scope.count(20),
        found,
        1,
    )
    keys = _keys("QueryRetrieveLevel=IMAGE", study, series, "SOPInstanceUID", "InstanceNumber")
    case = "C-FIND 500 instances of a series"
    await _timed(bench, case, ["findscu", "-v", "-S", *peer, *keys], bench.scope.count(5), found, INSTANCES)
    keys = _keys("QueryRetrieveLevel=STUDY", study)
    await _timed(
        bench,
        "C-GET study of 500 (received, not stored)",
        ["getscu", "-v", "-S", "--ignore", *peer, *keys],
        bench.scope.count(3),
        "Received C-STORE Request",
        INSTANCES,
    )
    await _c_move(bench, peer, keys)


async def _c_move(bench: Bench, peer: Sequence[str], keys: Sequence[str]) -> None:
    target = bench.target
    receiver = await asyncio.create_subprocess_exec(
        "storescp", "--ignore", "--fork", "-aet", target.move_ae_title, str(target.move_port),
        env=_ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await asyncio.sleep(0.5)
        command = ["movescu", "-S", "-d", *peer[:4], "-aem", target.move_ae_title, *peer[4:], *keys]
        done = rf"(?s)Received Final Move Response.*?Completed Suboperations +: {INSTANCES}\b"
        case = "C-MOVE study of 500 to storescp --ignore"
        await _timed(bench, case, command, bench.scope.count(3), done, 1)
    finally:
        receiver.terminate()
        await receiver.wait()


async def _timed(
    bench: Bench, case: str, command: Sequence[str], runs: int, pattern: str, expected: int
) -> None:
    """Run a program once to warm up and ``runs`` times more; its output must match so many times."""
    measured = Measured()
    wrong = ""
    with Monitor(bench.target.pids) as monitor:
        begun = time.perf_counter()
        for number in range(runs + 1):
            at = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                *command, env=_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            output, _ = await process.communicate()
            count = len(re.findall(pattern, output.decode(errors="replace")))
            if process.returncode or count != expected:
                wrong = f"FAILED: exit code {process.returncode}, {count} seen, expected {expected}"
                measured.errors["wrong"] += 1
            elif number:
                measured.latencies.append(time.perf_counter() - at)
        wall = time.perf_counter() - begun
    result = result_of("W9", case, measured, wall, monitor.cost)
    result.check = wrong or "checked"
    result.note = "the server's CPU includes the warm-up; latency includes the program's start"
    bench.note(result)


def _peer(bench: Bench) -> list[str]:
    target = bench.target
    return ["-aet", target.calling_ae_title, "-aec", target.ae_title, target.host, str(target.port)]


def _keys(*keys: str) -> list[str]:
    return [word for key in keys for word in ("-k", key)]
