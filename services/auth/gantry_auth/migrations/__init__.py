"""Schema revisions of the core database: ``sql/NNNN_name.sql`` says what, ``versions`` puts it in order."""

from __future__ import annotations

from pathlib import Path

from gantry_index.migrate import Schema

_FOLDER = Path(__file__).parent
SQL = _FOLDER / "sql"

# The lock is "gantryco" as a number.
CORE = Schema("core", _FOLDER, 0x67616E747279636F)
