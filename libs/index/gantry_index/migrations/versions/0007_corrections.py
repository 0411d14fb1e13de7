"""What was corrected, merged, moved and rejected by administrators."""

from __future__ import annotations

from alembic import op
from gantry_index.migrations.sql_files import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the tables and columns."""
    run_sql(op.get_bind(), "0007_corrections.sql")
