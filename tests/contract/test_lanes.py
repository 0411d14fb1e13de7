"""No folder of tests is left out of the lanes in which they are run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_folder_of_tests_is_in_exactly_one_lane():
    lines = (ROOT / "tools" / "run-tests").read_text().split("in_background=", 1)[1].split("codes=", 1)[0]
    words = re.findall(r"[a-z0-9/]+", lines)
    folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("*/*/test_*.py")}
    folders |= {path.parent.relative_to(ROOT) for path in ROOT.glob("*/*/tests/test_*.py")}
    assert len(folders) > 20
    for folder in folders:
        lanes = [word for word in words if word in {str(folder), *map(str, folder.parents[:-1])}]
        assert len(lanes) == 1, f"{folder} is in {len(lanes)} lanes"
