"""What was destroyed, told apart from what is hidden."""

from __future__ import annotations

from alembic import op
from gantry_index.migrations.sql_files import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Extend hidden objects and receptions."""
    run_sql(op.get_bind(), "0006_retention.sql")
