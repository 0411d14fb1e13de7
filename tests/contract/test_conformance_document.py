"""The conformance statement says what the services do: it is made from their tables."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_document_is_what_the_tables_say():
    spec = importlib.util.spec_from_file_location("document", ROOT / "tools" / "conformance_document.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.document()
    assert module.DOCUMENT.read_text() == made, "run tools/conformance_document.py"
    for words in ("| C-FIND | search |", "/studies/{study}", "| Q37 |", "CT Image Storage"):
        assert words in made
