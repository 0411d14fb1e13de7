"""What Prometheus and Grafana are given: whole files, found by their labels, about metrics that exist."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "gantry"
RULES = sorted((CHART / "files" / "rules").glob("*.yaml"))
DASHBOARDS = sorted((CHART / "files" / "dashboards").glob("*.json"))


def metrics():
    """Return the names of all metrics that the code makes."""
    names = set()
    for path in (*ROOT.glob("libs/*/gantry_*/**/*.py"), *ROOT.glob("services/*/gantry_*/**/*.py")):
        text = path.read_text()
        if "gantry_" in text:
            names |= {
                node.value
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and re.fullmatch(r"gantry_[a-z_]+", node.value)
            }
    return names


def test_every_file_of_rules_becomes_an_object(renderings):
    for name, rendered in renderings.items():
        rules = rendered.kind("PrometheusRule")
        if name not in {"hospital", "network", "everything-on", "long-release", "oldest-kubernetes"}:
            assert not rules
            continue
        contents = [yaml.safe_load(path.read_text()) for path in RULES]
        assert [rule["spec"] for rule in rules] == contents


def test_rules_and_dashboards_are_found_by_their_labels(renderings):
    rendered = renderings["everything-on"]
    for each in rendered.kind("PrometheusRule", "ServiceMonitor"):
        assert each["metadata"]["labels"]["release"] == "prometheus"
    boards = [each for each in rendered.kind("ConfigMap") if "-dashboard-" in each["metadata"]["name"]]
    assert len(boards) == len(DASHBOARDS)
    for each in boards:
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert each["metadata"]["annotations"] == {"folder": "Gantry"}


def test_dashboards_arrive_unchanged(renderings):
    data = {}
    for each in renderings["everything-on"].kind("ConfigMap"):
        data |= each["data"]
    for path in DASHBOARDS:
        assert json.loads(data[path.name]) == json.loads(path.read_text())


def test_every_alert_has_a_runbook_that_exists():
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    runbook = rule["annotations"]["runbook_url"]
                    file = re.search(r"docs/runbooks/[A-Za-z0-9/_-]+\.md", runbook)
                    assert file, f"{rule['alert']}: {runbook}"
                    assert (ROOT / file[0]).is_file(), f"{rule['alert']}: {file[0]}"


def test_every_component_is_scraped_under_its_name(renderings):
    for name in ("hospital", "network", "everything-on"):
        rendered = renderings[name]
        (monitor,) = rendered.kind("ServiceMonitor")
        selector = monitor["spec"]["selector"]["matchLabels"]
        (endpoint,) = monitor["spec"]["endpoints"]
        scraped = {
            service["metadata"]["labels"][monitor["spec"]["jobLabel"]]
            for service in rendered.kind("Service")
            if selector.items() <= service["metadata"]["labels"].items()
            and endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
        }
        serving = {
            pod.component
            for pod in rendered.pods()
            if pod.is_ours and pod.owner["kind"] in {"Deployment", "StatefulSet"}
        }
        assert scraped == serving


def test_autoscalers_look_at_metrics_that_exist(renderings):
    known = metrics()
    asked = set()
    for rendered in renderings.values():
        for autoscaler in rendered.kind("HorizontalPodAutoscaler"):
            for metric in autoscaler["spec"]["metrics"]:
                source = metric.get("pods") or metric.get("external")
                if source:
                    asked.add(source["metric"]["name"])
    assert asked == {"gantry_dimse_associations", "gantry_index_stream_depth"}
    assert asked <= known


def test_the_queue_is_the_stream_that_the_indexer_reads(renderings):
    from gantry_messaging.names import INDEX_LIVE

    (autoscaler,) = [
        each
        for each in renderings["network"].kind("HorizontalPodAutoscaler")
        if each["metadata"]["name"].endswith("-indexer")
    ]
    selectors = [
        metric["external"]["metric"]["selector"]["matchLabels"]
        for metric in autoscaler["spec"]["metrics"]
        if metric["type"] == "External"
    ]
    assert selectors == [{"stream": INDEX_LIVE}]
