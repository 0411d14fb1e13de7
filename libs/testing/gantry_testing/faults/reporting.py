"""What a run of rounds leaves behind: a line of JSON a round, and a page for people."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from gantry_testing.auditor import Finding
from gantry_testing.faults.rounds import RoundResult


def write_line(file: Path, result: RoundResult) -> None:
    """Add a round to the file of JSON lines."""
    with file.open("a") as lines:
        lines.write(json.dumps(asdict(result)) + "\n")


def markdown(seed: int, results: Sequence[RoundResult], overall: Sequence[Finding]) -> str:
    """Return the page: totals, a table by kind of strike, and every finding."""
    answers: Counter[str] = Counter()
    for result in results:
        answers.update(result.answers)
    failed = [result for result in results if not result.ok]
    settle = sorted(result.settle_seconds for result in results) or [0.0]
    sent = ", ".join(f"{count} {name}" for name, count in answers.items())
    totals = (
        f"Seed {seed}, {len(results)} rounds, {sum(len(result.strikes) for result in results)} strikes,"
        f" {sum(result.restarts for result in results)} restarts of services."
        f" {sum(answers.values())} instances sent: {sent}."
        f" {len(failed)} rounds with findings, {len(overall)} findings over everything at the end of a stack."
        f" Everything decided after the last strike: median {median(settle):g} s, at most {settle[-1]:g} s."
    )
    lines = ["# Fault rounds", "", totals, ""]
    lines += ["| strike | times | rounds with findings | longest until decided, s |", "|---|---|---|---|"]
    by_kind: defaultdict[str, list[RoundResult]] = defaultdict(list)
    for result in results:
        for strike in result.strikes:
            by_kind[strike].append(result)
    for name, rounds in sorted(by_kind.items()):
        bad = sum(not result.ok for result in rounds)
        lines.append(f"| {name} | {len(rounds)} | {bad} | {max(r.settle_seconds for r in rounds):g} |")
    for result in failed:
        lines += ["", f"## Round {result.number}", "", *(f"- {what}" for what in result.told), ""]
        lines += [f"- **{each.rule}** {each.subject}: {each.detail}" for each in result.findings]
    if overall:
        lines += ["", "## Over everything", ""]
        lines += [f"- **{each.rule}** {each.subject}: {each.detail}" for each in overall]
    suspicious: Counter[str] = Counter()
    for result in results:
        suspicious.update(result.suspicious)
    if suspicious:
        lines += ["", "## Log events to look at", ""]
        lines += [f"- {count} times {event}" for event, count in suspicious.most_common()]
    return "\n".join(lines) + "\n"
