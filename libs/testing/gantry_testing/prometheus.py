"""A real Prometheus that scrapes services under test and evaluates rules, on a free port."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from gantry_dicom.errors import NotFound
from gantry_embedded.ports import LOOPBACK, free_port
from gantry_embedded.process import ChildProcess, ProcessSpec

from gantry_testing.debian_tools import find_program

_DURATION = re.compile(r"\b(\d+)(ms|s|m|h|d)\b")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
# A rate needs two samples, one a second.
_LEAST_WINDOW = 4.0


class Prometheus:
    """Scrapes ``targets`` (address by job) every second; ``with Prometheus(...) as server`` runs it."""

    def __init__(self, folder: Path, targets: Mapping[str, str], rules: Iterable[Path] = ()) -> None:
        program = find_program("prometheus")
        if program is None:
            raise NotFound("Prometheus is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        config = folder / "prometheus.json"
        # JSON is YAML, too.
        config.write_text(
            json.dumps(
                {
                    "global": {
                        "scrape_interval": "1s",
                        "scrape_timeout": "1s",
                        "evaluation_interval": "1s",
                    },
                    "rule_files": [str(path) for path in rules],
                    "scrape_configs": [
                        {"job_name": job, "static_configs": [{"targets": [address]}]}
                        for job, address in targets.items()
                    ],
                }
            )
        )
        arguments = (
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{port}",
            "--enable-feature=exemplar-storage",
        )
        self._spec = ProcessSpec(
            name="prometheus",
            argv=(program, *arguments),
            log_file=folder / "prometheus.log",
            cwd=folder,
            env=dict(os.environ),
            ready=self._is_ready,
            ready_seconds=60.0,
            grace_seconds=10.0,
            death_signal=signal.SIGKILL,
        )
        self._child: ChildProcess | None = None

    def __enter__(self) -> Self:
        self._child = ChildProcess(self._spec)
        self._child.wait_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.kill()

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of every series that answers ``expression`` now."""
        found = self._ask("query", query=expression)
        return [(one["metric"], float(one["value"][1])) for one in found["result"]]

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        return {labels["alertname"] for labels, _ in self.query('ALERTS{alertstate="firing"}')}

    def exemplars(self, selector: str, since: float, until: float) -> list[dict[str, Any]]:
        """Return the exemplars of the series of ``selector`` between two times (s since the epoch)."""
        found = self._ask("query_exemplars", query=selector, start=f"{since}", end=f"{until}")
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def _ask(self, what: str, **parameters: str) -> Any:  # noqa: ANN401 - whatever the API answers
        answer = httpx.post(f"{self.url}/api/v1/{what}", data=parameters, timeout=10)
        answer.raise_for_status()
        return answer.json()["data"]

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=2).is_success
        except httpx.HTTPError:
            return False


def hastened(rules: str, times: float, limits: Mapping[str, str] | None = None) -> str:
    """Return a rule file with every duration shortened ``times`` times, so that a test can wait for it.

    ``limits`` replaces parts of expressions: thresholds that are times themselves. Raises
    ``NotFound`` for one that is not there, so that it is not a test of another rule.
    """
    for old, new in (limits or {}).items():
        if old not in rules:
            raise NotFound(f"no rule says {old}")
        rules = rules.replace(old, new)

    def shorter(match: re.Match[str]) -> str:
        seconds = int(match[1]) * _SECONDS[match[2]] / times
        return f"{int(max(_LEAST_WINDOW, seconds) * 1000)}ms"

    lines = []
    for line in rules.splitlines():
        is_name = "record:" in line or "slo_errors" in line or "summary:" in line
        lines.append(line if is_name else _DURATION.sub(shorter, line))
    return re.sub(r"for: \d+ms", "for: 1s", "\n".join(lines)) + "\n"
