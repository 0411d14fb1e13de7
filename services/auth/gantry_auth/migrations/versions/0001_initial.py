"""The first schema."""

from __future__ import annotations

from alembic import op
from gantry_auth.migrations import SQL
from gantry_index.migrations.sql_files import run_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    run_file(op.get_bind(), SQL / "0001_initial.sql")
