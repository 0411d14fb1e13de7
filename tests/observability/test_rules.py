"""Alerts are valid, tested both ways, and lead to a runbook that says what to do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from gantry_testing.debian_tools import find_program

ROOT = Path(__file__).resolve().parents[2]
TESTS = sorted((ROOT / "tests" / "observability" / "rules_tests").glob("*.yaml"))
SECTIONS = ("## Meaning", "## Impact", "## Check", "## Fix")


def alerts(rule_files):
    return [
        rule
        for path in rule_files
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]


def run_promtool(*arguments):
    run = subprocess.run(
        [find_program("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.prometheus
def test_prometheus_takes_the_rules(rule_files):
    run_promtool("check", "rules", *rule_files)


@pytest.mark.prometheus
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_silent_as_written(path):
    run_promtool("test", "rules", path)


def test_every_alert_is_tested_both_ways(rule_files):
    fires, silent = set(), set()
    for path in TESTS:
        for group in yaml.safe_load(path.read_text())["tests"]:
            for case in group["promql_expr_test"]:
                (name,) = re.findall(r'alertname="(\w+)"', case["expr"])
                (fires if case["exp_samples"] else silent).add(name)
    names = {rule["alert"] for rule in alerts(rule_files)}
    assert len(names) > 30
    assert fires == names
    assert silent == names


def test_every_alert_leads_to_a_runbook(rule_files):
    for rule in alerts(rule_files):
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        runbook = ROOT / rule["annotations"]["runbook_url"]
        assert runbook.exists(), rule["alert"]
        text = runbook.read_text()
        assert [line for line in text.splitlines() if line.startswith("## ")] == list(SECTIONS), runbook.name
        assert rule["alert"] in text, f"{runbook.name} does not name {rule['alert']}"


def test_every_runbook_of_an_alert_is_led_to(rule_files):
    led_to = {ROOT / rule["annotations"]["runbook_url"] for rule in alerts(rule_files)}
    assert set((ROOT / "docs" / "runbooks" / "alerts").glob("gantry-*.md")) == led_to


def test_generated_files_are_as_generated():
    run = subprocess.run(
        [sys.executable, ROOT / "tools" / "observability" / "generate.py", "--check"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
