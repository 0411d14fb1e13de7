"""Certificates and limits of application entities."""

from __future__ import annotations

from alembic import op
from gantry_auth.migrations import SQL
from gantry_index.migrations.sql_files import run_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add their columns."""
    run_file(op.get_bind(), SQL / "0004_entity_limits.sql")
