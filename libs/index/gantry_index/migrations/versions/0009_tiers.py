"""Objects in other stores than they were received into, and when a study was last looked at."""

from __future__ import annotations

from alembic import op
from gantry_index.migrations.sql_files import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create tables, functions and triggers."""
    run_sql(op.get_bind(), "0009_tiers.sql")
