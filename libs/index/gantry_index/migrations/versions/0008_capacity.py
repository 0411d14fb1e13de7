"""How much is stored, kept up by triggers; what was there before is counted by the storage service."""

from __future__ import annotations

from alembic import op
from gantry_index.migrations.sql_files import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create tables, functions and triggers."""
    run_sql(op.get_bind(), "0008_capacity.sql")
