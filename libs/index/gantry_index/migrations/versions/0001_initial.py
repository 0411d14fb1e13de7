"""The first schema."""

from __future__ import annotations

from alembic import op
from gantry_index.migrations.sql_files import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    run_sql(op.get_bind(), "0001_initial.sql")
