"""Subjects of other issuers that are let in no more."""

from __future__ import annotations

from alembic import op
from gantry_auth.migrations import SQL
from gantry_index.migrations.sql_files import run_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create their table."""
    run_file(op.get_bind(), SQL / "0003_barred_subjects.sql")
