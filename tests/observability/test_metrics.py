"""Every metric of every service: named by convention, explained, and bounded in its series."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "charts" / "gantry" / "files"
RUNBOOKS = ROOT / "docs" / "runbooks" / "alerts"
# Some of their modules are imported only when they are needed.
LIBRARIES = ("access", "messaging")
SERVICES = ("auth", "gateway", "indexer", "ingest", "storage")

# How each label is bounded; a new label needs a line here, and a reason.
LABELS = {
    "action": "a list in the code",
    "backend": "file or s3",
    "cache": "a list in the code",
    "channel": "an enumeration",
    "diagnosis": "the table of libs/failures",
    "fault": "an enumeration",
    "how": "a list in the code",
    "job": "names of functions",
    "kind": "a list in the code",
    "lane": "an enumeration",
    "method": "the methods of HTTP that we know, and other",
    "modality": "the defined terms of PS3.3 C.7.3.1.1.1, and other",
    "operation": "a list in the code",
    "outcome": "a list in the code",
    "partition": "BoundedLabel, or the partitions that the index has",
    "phase": "a list in the code",
    "policy": "the retention policies that an administrator wrote",
    "reason": "a list in the code, SQLSTATEs, names of exceptions",
    "route": "templates of routes",
    "rule": "the rules that an administrator wrote",
    "setting": "a list in the code",
    "state": "an enumeration",
    "status": "statuses of HTTP and of DIMSE that we send",
    "store": "the stores that an administrator configured",
    "stream": "a list in the code",
    "tier": "the tiers that an administrator configured",
    "title": "registered AE titles, 500 at most, and other",
    "why": "a list in the code",
    "where": "memory or disk",
}

# Base units, at the end of the name (before _total); what has none counts things.
UNITS = ("seconds", "bytes")
NOT_BASE_UNITS = re.compile(r"_(ms|milliseconds|minutes|hours|kb|mb|kilobytes|megabytes|percent)(_|$)")
# Named by who uses them: a forecast is read in days.
ALLOWED_UNITS = {"gantry_capacity_days_left"}

WALK = """
import importlib, json, pkgutil, sys
def walk(name):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith(("__main__", "migrations.env")):
            importlib.import_module(module.name)
for name in sys.argv[1:]:
    walk(name)
from prometheus_client import REGISTRY
seen = {}
for collector in REGISTRY._collector_to_names:
    if hasattr(collector, "_labelnames"):
        seen[collector._name] = [
            collector._type,
            collector._documentation,
            list(collector._labelnames),
            len(getattr(collector, "_upper_bounds", ())),
        ]
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def metrics():
    """The metrics of all services, as they are once all of their modules are imported."""
    run = subprocess.run(
        [sys.executable, "-P", "-c", WALK, *(f"gantry_{name}" for name in (*SERVICES, *LIBRARIES))],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert len(found) > 80
    return found


def test_metrics_are_named_by_convention_and_bounded(metrics):
    for name, (kind, documentation, labels, buckets) in metrics.items():
        assert re.fullmatch(r"gantry(_[a-z][a-z0-9]*)+", name), name
        assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_info")), name
        assert not NOT_BASE_UNITS.search(name), name
        assert "days" not in name or name in ALLOWED_UNITS, name
        assert len(documentation) > 10, f"{name} is not explained"
        assert documentation[0].isupper() or documentation[0].isdigit(), name
        for unit in UNITS:
            assert f"_{unit}_" not in name, f"{name}: the unit belongs at the end"
        for label in labels:
            assert label in LABELS, f"{name}: nobody says how the label {label} is bounded"
        assert len(labels) <= 3, name
        if kind == "histogram":
            assert buckets <= 16, name
            assert len(labels) <= 3, name


def test_rules_dashboards_and_runbooks_ask_for_metrics_that_are_there(metrics):
    of_processes = {"process_cpu_seconds", "process_resident_memory_bytes", "process_open_files"}
    known = {*metrics, *(f"gantry_{name}" for name in (*of_processes, "processes", "build_info"))}
    files = [*FILES.glob("rules/*.yaml"), *FILES.glob("dashboards/*.json"), *RUNBOOKS.glob("*.md")]
    assert len(files) > 40
    for path in files:
        for name in re.findall(r"\bgantry_[a-z0-9_]+", path.read_text()):
            assert {name, re.sub(r"_(total|count|sum|bucket)$", "", name)} & known, f"{path.name}: {name}"


def test_settings_named_in_runbooks_are_there():
    settings = "".join(path.read_text() for path in ROOT.glob("services/*/gantry_*/settings.py"))
    for path in RUNBOOKS.glob("*.md"):
        for name in re.findall(r"GANTRY_([A-Z_]+)", path.read_text()):
            assert re.search(rf"^    {name.lower()}:", settings, re.MULTILINE), f"{path.name}: {name}"
