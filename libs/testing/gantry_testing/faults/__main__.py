"""Rounds of faults under load: ``python -m gantry_testing.faults --rounds 200 --seed 7``.

Exits with 1 when an invariant did not hold. Each round is one JSON line in ``rounds.jsonl`` of the
report folder, the whole a page, ``report.md``; the services' logs of a stack with findings are kept there.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gantry_testing.auditor import Finding
from gantry_testing.faults.load import SECOND_PARTITION, SECOND_TITLE
from gantry_testing.faults.plan import CATALOGUE, POISON, dice_of, draw
from gantry_testing.faults.reporting import markdown, write_line
from gantry_testing.faults.rounds import Course, RoundResult, audit_everything, run_round
from gantry_testing.faults.scene import Scene, SmallDisk
from gantry_testing.faults.settings import LEASE_SECONDS, environment_of
from gantry_testing.reactor import pause_exactly
from gantry_testing.stack import Stack

POSTGRES_DISK_BYTES, S3_DISK_BYTES = 1 << 30, 2 << 30


@contextmanager
def stage(
    folder: Path, numbers: Sequence[int], *, with_disks: bool
) -> Iterator[tuple[Course, dict[str, SmallDisk]]]:
    """Start a stack for the rounds ``numbers``, on small discs if wanted."""
    disks: dict[str, SmallDisk] = {}
    try:
        if with_disks:
            disks["postgres"] = SmallDisk(folder / "postgres", POSTGRES_DISK_BYTES)
            disks["s3"] = SmallDisk(folder / "s3", S3_DISK_BYTES)
        with Stack(
            folder,
            store="s3",
            proxied=True,
            partitions={SECOND_TITLE: SECOND_PARTITION},
            environment=environment_of(numbers),
        ) as stack:
            yield Course(stack), disks
    finally:
        for disk in disks.values():
            disk.close()


def main(arguments: list[str] | None = None) -> int:
    """Run the rounds and return the exit code."""
    options = _parse(arguments)
    pause_exactly()
    report = options.report or Path(tempfile.mkdtemp(prefix="gantry-faults-"))
    report.mkdir(parents=True, exist_ok=True)
    # Ended from outside, it still ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results: list[RoundResult] = []
    overall: list[Finding] = []
    last = options.first + options.rounds
    try:
        for first in range(options.first, last, options.rounds_per_stack):
            numbers = range(first, min(first + options.rounds_per_stack, last))
            found = len(overall) + sum(not result.ok for result in results)
            folder = Path(tempfile.mkdtemp(prefix="gantry-faults-stack-"))
            try:
                _run_stack(options, folder, numbers, report, results, overall)
            finally:
                if options.keep_logs or len(overall) + sum(not result.ok for result in results) > found:
                    shutil.copytree(folder / "logs", report / f"logs-{first}", dirs_exist_ok=True)
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        (report / "report.md").write_text(markdown(options.seed, results, overall))
        _say(f"report: {report / 'report.md'}")
    return 0 if not overall and all(result.ok for result in results) else 1


def _run_stack(
    options: argparse.Namespace,
    folder: Path,
    numbers: Sequence[int],
    report: Path,
    results: list[RoundResult],
    overall: list[Finding],
) -> None:
    with_disks = not options.no_disks and SmallDisk.is_possible()
    with stage(folder, numbers, with_disks=with_disks) as (course, disks):
        for number in numbers:
            dice = dice_of(options.seed, number)
            plan = draw(dice, options.only, () if with_disks else ("disk",))
            begun = time.monotonic()
            scene = Scene(course.stack, dice, LEASE_SECONDS, disks)
            result = run_round(course, scene, plan, number, f"{options.seed}.{number}")
            results.append(result)
            write_line(report / "rounds.jsonl", result)
            _say(
                f"round {number}: {'; '.join(plan.names)}: {result.answers} settled in"
                f" {result.settle_seconds:g} s, {len(result.findings)} findings,"
                f" {time.monotonic() - begun:.0f} s"
            )
            for finding in result.findings:
                _say(f"    {finding.rule}: {finding.subject}: {finding.detail}")
        overall += audit_everything(course)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gantry_testing.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--first", type=int, default=1, help="number of the first round, to repeat one")
    parser.add_argument(
        "--only", action="append", default=[], choices=[*(kind.name for kind in CATALOGUE), POISON]
    )
    parser.add_argument("--rounds-per-stack", type=int, default=20)
    parser.add_argument("--no-disks", action="store_true", help="mount nothing, leave full discs out")
    parser.add_argument("--keep-logs", action="store_true", help="also those of stacks without findings")
    parser.add_argument("--report", type=Path, help="folder (default: a temporary one)")
    return parser.parse_args(arguments)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
