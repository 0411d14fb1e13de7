"""What the storage service finds and is asked to do."""

from __future__ import annotations

from alembic import op
from gantry_index.migrations.sql_files import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Extend findings and receptions, create the tables of the scrub and of requests."""
    run_sql(op.get_bind(), "0005_upkeep.sql")
