"""Every panel of every dashboard finds data in a real Prometheus that scrapes a loaded archive."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
from gantry_testing.prometheus import Prometheus, hastened
from gantry_testing.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.prometheus]

FILES = Path(__file__).resolve().parents[2] / "charts" / "gantry" / "files"


@pytest.fixture(scope="module")
def prometheus(archive, tmp_path_factory, rule_files):
    folder = tmp_path_factory.mktemp("prometheus")
    rules = folder / "slos.yaml"
    (objectives,) = [path for path in rule_files if path.stem == "slos"]
    rules.write_text(hastened(objectives.read_text(), 60))
    targets = {job: f"127.0.0.1:{port}" for job, port in archive.ports.items()}
    with Prometheus(folder, targets, [rules]) as running:
        wait_for(lambda: len(running.query("up == 1")) == len(targets), "scrapes")
        yield running


def panels():
    for path in sorted((FILES / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield path.stem, panel["title"], target["expr"]


def test_every_panel_finds_data(load, prometheus):
    waiting = list(panels())
    assert len(waiting) > 100
    # Rates need events in the last moments: load goes on while panels are looked at.
    deadline = time.monotonic() + 150
    while waiting and time.monotonic() < deadline:
        load.round()
        waiting = [panel for panel in waiting if not has_data(prometheus, panel[2])]
    assert not waiting, "\n".join(map(str, waiting))


def has_data(prometheus, expression):
    expression = expression.replace("$namespace", ".*").replace("$__rate_interval", "30s")
    return any(not math.isnan(value) for _, value in prometheus.query(expression))


@pytest.mark.parametrize(
    ("job", "metric"),
    [
        # Workers that are processes, and a service that is one.
        ("gateway", "gantry_http_request_seconds_bucket"),
        ("ingest", "gantry_dimse_store_seconds_bucket"),
        ("indexer", "gantry_searchable_seconds_bucket"),
    ],
)
def test_buckets_lead_to_traces(load, prometheus, job, metric):
    since = time.time() - 3600
    load.round()
    selector = f'{metric}{{job="{job}"}}'
    found = wait_for(lambda: prometheus.exemplars(selector, since, time.time() + 60), "exemplars")
    assert all(len(exemplar["labels"]["trace_id"]) == 32 for exemplar in found)
