"""``python -m bench``: measure any DICOMweb and DIMSE archive, or ours beside another, in turn."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gantry_embedded.ports import free_port

from bench import sides, tables
from bench.driving import Bench, Scope, Target
from bench.workloads import WORKLOADS

RESULTS = Path(__file__).parent / "results"
# A look of about two minutes: tiny populations and short cases.
QUICK = Scope(scale=0.03, seconds=0.6, population=1000, frames=40, load=True)
FULL = Scope(load=True)
OURS, THEIRS = "gantry", "orthanc"


def main() -> int:
    """Run what the command line asks for."""
    options = _parser().parse_args()
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "run": _run,
        "side-by-side": _side_by_side,
        "table": _table,
    }
    return commands[options.command](options)


def measure(target: Target, scope: Scope, which: Sequence[str]) -> list[dict[str, Any]]:
    """Run workloads on one server and return their results."""
    bench = Bench(target, scope)
    for name, workload in WORKLOADS.items():
        if not which or name in which:
            asyncio.run(_one(bench, workload))
    return [result.as_json() for result in bench.results]


async def _one(bench: Bench, workload: Callable[[Bench], Any]) -> None:
    await workload(bench)


def _run(options: argparse.Namespace) -> int:
    ae_title, _, address = options.dimse.partition("@")
    host, _, port = address.partition(":")
    headers = tuple(
        (name.strip(), value.strip()) for name, _, value in (h.partition(":") for h in options.header)
    )
    target = Target(
        options.web, headers, ae_title, host, int(port or 0), tuple(options.pid), move_port=options.move_port
    )
    scope = Scope(
        options.namespace, options.scale, options.seconds, options.population, options.frames,
        options.load, options.only,
    )  # fmt: skip
    results = measure(target, scope, options.workloads)
    if options.out:
        Path(options.out).write_text(json.dumps({"machine": machine(), "results": results}, indent=1))
    print(tables.table(results))
    return 0


def _side_by_side(options: argparse.Namespace) -> int:
    """Measure both in turn, so that a noisy hour hits both; write ratios."""
    scope, rounds = (QUICK, 1) if options.quick else (FULL, options.rounds)
    servers: dict[str, Callable[[Path, int], AbstractContextManager[Target]]] = {OURS: sides.ours}
    if sides.has_orthanc():
        servers = {THEIRS: sides.orthanc, OURS: sides.ours}
    else:
        print("Orthanc with its DICOMweb plug-in is not installed: ours alone")
    runs: dict[str, list[list[dict[str, Any]]]] = {OURS: [], THEIRS: []}
    load = [os.getloadavg()[0]]
    for number in range(rounds):
        for name, start in servers.items():
            print(f"-- {name}, round {number + 1} of {rounds}", flush=True)
            with (
                tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder,
                start(Path(folder), free_port()) as target,
            ):
                runs[name].append(measure(target, scope, options.workloads))
            load.append(os.getloadavg()[0])
    ratios = tables.ratios(runs[OURS], runs[THEIRS])
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine() | {"load": [round(each, 1) for each in load]},
        "theirs": sides.orthanc_version() if sides.has_orthanc() else "",
        "quick": options.quick,
        "ratios": ratios,
        "runs": runs,
    }
    RESULTS.mkdir(exist_ok=True)
    end = "-quick" if options.quick else ""
    file = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}{end}.json"
    file.write_text(json.dumps(document, indent=1) + "\n")
    print(tables.ratio_table(ratios, OURS, THEIRS))
    print(f"Written to {file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}")
    failed = [r for results in runs[OURS] for r in results if r["check"].startswith("FAILED")]
    for result in failed:
        print(f"{result['case']}: {result['check']}", file=sys.stderr)
    return 1 if failed else 0


def _table(options: argparse.Namespace) -> int:
    document = json.loads(Path(options.file).read_text())
    if "ratios" in document:
        print(tables.ratio_table(document["ratios"], OURS, THEIRS))
    else:
        print(tables.table(document["results"]))
    return 0


def machine() -> dict[str, object]:
    """Return what figures depend on."""
    return {"processors": os.cpu_count(), "system": platform.release(), "python": platform.python_version()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure a server that runs")
    run.add_argument("--web", required=True, help="its DICOMweb base URL")
    run.add_argument("--dimse", default="", help="AET@host:port")
    run.add_argument("--header", action="append", default=[], help="'Name: value', such as an Authorization")
    run.add_argument("--pid", type=int, action="append", default=[], help="root of a process tree of it")
    run.add_argument("--move-port", type=int, default=11_199, help="where the server knows BENCHSCP to be")
    run.add_argument(
        "--namespace", type=int, default=10, help="another one for another run on the same archive"
    )
    run.add_argument("--scale", type=float, default=1.0)
    run.add_argument("--seconds", type=float, default=5.0, help="longest timed part of a case")
    run.add_argument("--population", type=int, default=20_000)
    run.add_argument("--frames", type=int, default=200)
    run.add_argument("--load", action="store_true", help="store the population of W3 first")
    run.add_argument("--only", default="", help="regular expression of cases")
    run.add_argument("--out", help="file for the results")
    run.add_argument("workloads", nargs="*", help=" ".join(WORKLOADS))
    both = commands.add_parser("side-by-side", help="measure ours and Orthanc in turn")
    both.add_argument("--quick", action="store_true", help="about two minutes")
    both.add_argument("--rounds", type=int, default=3)
    both.add_argument("--folder", help="where archives go (default: the system's temporary folder)")
    both.add_argument("workloads", nargs="*", help=" ".join(WORKLOADS))
    table = commands.add_parser("table", help="print a file of results as Markdown")
    table.add_argument("file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
