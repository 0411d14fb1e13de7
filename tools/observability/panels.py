"""Grafana's JSON out of short descriptions: a dashboard is rows of panels, a panel is questions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_WIDTH = 24
_HEIGHT = 8
_STAT_HEIGHT = 4
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """Questions to Prometheus, each with the legend of its answers, and the unit of the values.

    ``{ns}`` in a question becomes the selector of the namespace chosen.
    """

    title: str
    questions: Sequence[tuple[str, str]]
    unit: str = "short"
    help: str = ""
    width: int = 12
    # `timeseries`, or `stat` for one number now.
    kind: str = "timeseries"
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page."""

    uid: str
    title: str
    about: str
    rows: Sequence[Row]


def stat(title: str, question: str, unit: str = "short", explanation: str = "", width: int = 4) -> Panel:
    """Return a panel that shows one number."""
    return Panel(title, [(question, "")], unit, explanation, width, "stat")


def quantiles(title: str, metric: str, selector: str = "", by: str = "", explanation: str = "") -> Panel:
    """Return a panel of the median and the slowest hundredth of a histogram of seconds."""
    inside = ",".join(filter(None, ["{ns}", selector]))
    labels = ", ".join(filter(None, ["le", by]))
    legend = f"{{{{{by}}}}} " if by else ""
    rate = f"sum by ({labels}) (rate({metric}_bucket{{{inside}}}[$__rate_interval]))"
    questions = [
        (f"histogram_quantile({share}, {rate})", f"{legend}{name}")
        for share, name in ((0.5, "half within"), (0.99, "99 % within"))
    ]
    return Panel(title, questions, "s", explanation)


def rate(
    title: str,
    metric: str,
    selector: str = "",
    by: str = "",
    unit: str = "ops",
    *,
    width: int = 12,
    stacked: bool = False,
) -> Panel:
    """Return a panel of the rate of a counter."""
    inside = ",".join(filter(None, ["{ns}", selector]))
    question = f"sum by ({by}) (rate({metric}{{{inside}}}[$__rate_interval]))"
    if not by:
        question = f"sum(rate({metric}{{{inside}}}[$__rate_interval]))"
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",") if label)
    return Panel(title, [(question, legend)], unit, width=width, stacked=stacked)


def render(dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard as Grafana takes it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in dashboard.rows:
        panels.append(
            {
                "type": "row", "title": row.title, "id": len(panels) + 1, "collapsed": False,
                "gridPos": {"h": 1, "w": _WIDTH, "x": 0, "y": top}, "panels": [],
            }
        )  # fmt: skip
        top += 1
        left = tallest = 0
        for panel in row.panels:
            if left + panel.width > _WIDTH:
                top, left, tallest = top + tallest, 0, 0
            height = _STAT_HEIGHT if panel.kind == "stat" else _HEIGHT
            place = {"h": height, "w": panel.width, "x": left, "y": top}
            panels.append(_panel(panel, len(panels) + 1, place))
            left, tallest = left + panel.width, max(tallest, height)
        top += tallest
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["gantry"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "links": [
            {
                "type": "dashboards",
                "tags": ["gantry"],
                "asDropdown": True,
                "title": "Gantry",
                "keepTime": True,
            }
        ],
        "templating": {"list": list(_variables())},
        "panels": panels,
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    custom: dict[str, Any] = {}
    if panel.kind == "timeseries":
        custom = {"lineWidth": 1, "fillOpacity": 30 if panel.stacked else 10, "showPoints": "never"}
        if panel.stacked:
            custom["stacking"] = {"mode": "normal"}
    return {
        "type": panel.kind,
        "id": number,
        "title": panel.title,
        "description": panel.help,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + position),
                "datasource": _SOURCE,
                "expr": question.replace("{ns}", 'namespace=~"$namespace"'),
                "legendFormat": legend or "__auto",
                "exemplar": "_bucket" in question,
                "instant": panel.kind == "stat",
            }
            for position, (question, legend) in enumerate(panel.questions)
        ],
    }


def _variables() -> Iterable[dict[str, Any]]:
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    yield {
        "name": "namespace",
        "label": "Namespace",
        "type": "query",
        "datasource": _SOURCE,
        "query": "label_values(gantry_build_info, namespace)",
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
