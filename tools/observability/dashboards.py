"""The dashboards."""

from __future__ import annotations

from typing import Any


def all_dashboards() -> list[dict[str, Any]]:
    """Return every dashboard."""
    return []
