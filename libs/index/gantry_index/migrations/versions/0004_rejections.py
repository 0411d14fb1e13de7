"""What rejection notes take out of the ordinary view."""

from __future__ import annotations

from alembic import op
from gantry_index.migrations.sql_files import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table and its view."""
    run_sql(op.get_bind(), "0004_rejections.sql")
