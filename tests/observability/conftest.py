from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "charts" / "gantry" / "files"


@pytest.fixture(scope="session")
def rule_files():
    """Every rule file of the chart."""
    return sorted((FILES / "rules").glob("*.yaml"))
