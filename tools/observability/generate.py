"""Writes the chart's rule file of objectives and its dashboards from their descriptions.

    python tools/observability/generate.py [--check]

``--check`` changes nothing and fails when a file is not what would be written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import dashboards
import slos

FILES = Path(__file__).resolve().parents[2] / "charts" / "gantry" / "files"


def generated() -> dict[Path, str]:
    """Return the text of every generated file."""
    texts = {FILES / "rules" / "slos.yaml": slos.rules()}
    for dashboard in dashboards.all_dashboards():
        texts[FILES / "dashboards" / f"{dashboard['uid']}.json"] = json.dumps(dashboard, indent=1) + "\n"
    return texts


def main() -> int:
    """Write the files, or compare them."""
    texts = generated()
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    stale += sorted(set((FILES / "dashboards").glob("*.json")) - set(texts))
    if sys.argv[1:] == ["--check"]:
        for path in stale:
            print(f"not as generated: {path.name}", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        if path in texts:
            path.write_text(texts[path])
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
