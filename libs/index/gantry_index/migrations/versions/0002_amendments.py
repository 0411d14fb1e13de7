"""Amendments, and the objects they hide."""

from __future__ import annotations

from alembic import op
from gantry_index.migrations.sql_files import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables."""
    run_sql(op.get_bind(), "0002_amendments.sql")
