"""Tables of results, and the ratios that are to be reached."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS = (
    "workload",
    "case",
    "n",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "first_byte_p50_ms",
    "req_s",
    "items_s",
    "mb_s",
    "server_cpu_ms_per_req",
    "server_memory_mb",
    "server_processes",
    "client_cpu_s",
    "errors",
    "check",
    "note",
)


@dataclass(frozen=True, slots=True)
class Goal:
    """A row to be reached: the case by how it begins and ends, the figure, and how many times as good."""

    row: str
    workload: str
    begins: str
    ends: str
    ratio: float
    figure: str = "req_s"

    @property
    def is_time(self) -> bool:
        """Whether less of the figure is better."""
        return self.figure.endswith("_ms") or self.figure.startswith("server_")


GOALS = (
    Goal("STOW CT, 1 a request, c=4", "W1", "STOW ct", "1/request, c=4", 1.5, "items_s"),
    Goal("STOW CT, 50 a request, c=4", "W1", "STOW ct", "50/request, c=4", 1.5, "items_s"),
    Goal("STOW SR, 50 a request, c=4", "W1", "STOW sr", "50/request, c=4", 5, "items_s"),
    Goal("C-STORE, 1 association", "W2", "C-STORE", ", 1 association(s)", 2, "items_s"),
    Goal("C-STORE, 4 associations", "W2", "C-STORE", ", 4 association(s)", 2, "items_s"),
    Goal("QIDO patient id", "W3", "QIDO", "PatientID exact, c=8", 1.5),
    Goal("QIDO accession number", "W3", "QIDO", "AccessionNumber exact, c=8", 1.5),
    Goal("QIDO name prefix", "W3", "QIDO", "FAM*, c=8", 8),
    Goal("QIDO name infix", "W3", "QIDO", "*AM*, c=8", 8),
    Goal("QIDO 14 days + modality", "W3", "QIDO", "ModalitiesInStudy=CT, c=8", 20),
    Goal("QIDO first page of all", "W3", "QIDO", "offset=0, c=8", 20),
    Goal("QIDO offset in the middle", "W3", "QIDO", "offset in the middle, c=8", 30),
    Goal("QIDO 500 instances of a series", "W3", "QIDO", "500 instances of a series, c=8", 10),
    Goal("metadata of 500, first after store", "W4", "series metadata", "first after store #0", 5, "p50_ms"),
    Goal("metadata of 500, warm, c=1", "W4", "series metadata", "warm, c=1", 3, "p50_ms"),
    Goal("metadata of 500, warm, c=4", "W4", "series metadata", "warm, c=4", 3),
    Goal("metadata of an instance, c=8", "W4", "instance metadata", "c=8", 3),
    Goal("frame of a single-frame CT, c=8", "W5", "frame 1", "c=8", 3),
    Goal("frame k, raw, c=8", "W5", "frame k", "uncompressed, c=8", 3),
    Goal("frame k, RLE as stored, c=8", "W5", "frame k", "RLE as stored, c=8", 3),
    Goal("frame k, J2K as stored, c=8", "W5", "frame k", "lossless as stored, c=8", 3),
    Goal("frame k, RLE decoded, c=1", "W5", "frame k", "decoded by the server, c=1", 20, "p50_ms"),
    Goal("series of 500, c=1", "W6", "series of 500", "c=1", 1, "mb_s"),
    Goal("series of 500, c=4", "W6", "series of 500", "c=4", 1, "mb_s"),
    Goal("rendered JPEG, c=8", "W7", "rendered JPEG 512x512", "c=8", 2),
    Goal("thumbnail, c=8", "W7", "thumbnail of instance", "c=8", 2),
    Goal("C-FIND 500 instances", "W9", "C-FIND 500", "series", 2, "p50_ms"),
    Goal("C-GET of 500", "W9", "C-GET", ")", 1, "p50_ms"),
    Goal("C-MOVE of 500", "W9", "C-MOVE", "--ignore", 1, "p50_ms"),
    Goal("CPU, STOW CT 1 a request", "W1", "STOW ct", "1/request, c=4", 1, "server_cpu_ms_per_req"),
    Goal("CPU, C-STORE", "W2", "C-STORE", ", 4 association(s)", 1, "server_cpu_ms_per_req"),
    Goal("CPU, QIDO patient id", "W3", "QIDO", "PatientID exact, c=8", 1, "server_cpu_ms_per_req"),
    Goal("CPU, metadata of an instance", "W4", "instance metadata", "c=8", 1, "server_cpu_ms_per_req"),
    Goal("CPU, frame of a CT", "W5", "frame 1", "c=8", 1, "server_cpu_ms_per_req"),
)  # fmt: skip

Results = Sequence[Mapping[str, Any]]


def figure_of(goal: Goal, runs: Sequence[Results]) -> float | None:
    """Return the median of a goal's figure over runs; ``None`` where it was not measured, or was wrong."""
    found = [
        result[goal.figure]
        for results in runs
        for result in results
        if result["workload"] == goal.workload
        and result["case"].startswith(goal.begins)
        and result["case"].endswith(goal.ends)
        and not result["check"].startswith("FAILED")
        and result["n"]
        and result[goal.figure]
    ]
    return statistics.median(found) if found else None


def ratios(ours: Sequence[Results], theirs: Sequence[Results]) -> dict[str, dict[str, float | None]]:
    """Return each goal's ratio: how many times better we are."""
    found: dict[str, dict[str, float | None]] = {}
    for goal in GOALS:
        mine, other = figure_of(goal, ours), figure_of(goal, theirs)
        ratio = None
        if mine and other:
            ratio = round(other / mine if goal.is_time else mine / other, 2)
        found[goal.row] = {"ratio": ratio, "goal": goal.ratio, "ours": mine, "theirs": other}
    return found


def ratio_table(rows: Mapping[str, Mapping[str, float | None]], ours: str, theirs: str) -> str:
    """Return the ratios as Markdown."""
    lines = [f"| row | {theirs} | {ours} | ratio | at least | |", "|---|---|---|---|---|---|"]
    for row, values in rows.items():
        ratio, goal = values["ratio"], values["goal"]
        mark = "" if ratio is None or goal is None else "reached" if ratio >= goal else "not reached"
        cells = (row, values["theirs"], values["ours"], ratio, goal, mark)
        lines.append("| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def table(results: Results) -> str:
    """Return the results of one server as Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for result in results:
        cells = (result.get(column) for column in COLUMNS)
        lines.append("| " + " | ".join("" if cell in (None, {}) else str(cell) for cell in cells) + " |")
    return "\n".join(lines)
