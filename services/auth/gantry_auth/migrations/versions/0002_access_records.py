"""The index of access records."""

from __future__ import annotations

from alembic import op
from gantry_auth.migrations import SQL
from gantry_index.migrations.sql_files import run_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create its tables."""
    run_file(op.get_bind(), SQL / "0002_access_records.sql")
