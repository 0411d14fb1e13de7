"""Indexes for the remaining selective keys of searches.

Made concurrently: writers and readers go on. Such an index that could not be finished is left
invalid, so a run begins by dropping what an earlier one may have left.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_INDEXES = {
    # Wild cards and prefixes of identifiers; `=` is answered by it as well.
    "study_identifiers_infix": (
        "study USING gin (accession_number gin_trgm_ops, patient_id gin_trgm_ops, study_id gin_trgm_ops)"
    ),
    "study_classes": "study USING gin (sop_classes)",
    "study_birth_date": "study (partition, patient_birth_date)",
    "series_description_infix": "series USING gin (series_description gin_trgm_ops)",
    "series_requests": "series USING gin (scheduled_step_ids, requested_procedure_ids)",
    "patient_name_infix": "patient USING gin (name_norm gin_trgm_ops)",
    "patient_birth_date": "patient (partition, birth_date)",
}


def upgrade() -> None:
    """Create the indexes."""
    with op.get_context().autocommit_block():
        for name, definition in _INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")
