"""Rejected instances: kept in the index, left out of ordinary searches.

Notes are taken down when they are indexed. What they reject is decided when it is asked: an
instance is rejected while a note about it is there, whichever came first. Studies without a note
cost a search one lookup in a small table.
"""

from __future__ import annotations

from collections.abc import Iterable

from gantry_dicom.query import Level, Query
from gantry_dicom.rejection_notes import KEY_OBJECT_SELECTION, Rejected, rejected_by

from gantry_index.pools import Connection
from gantry_index.records import InstanceRecord

_TAKE_DOWN = """
INSERT INTO rejection (partition, study_uid, sop_uid, note_study_uid, note_sop_uid, reason)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
ON CONFLICT DO NOTHING
"""

# OFFSET keeps it one lookup: without it the whole table might be hashed for every search.
_IS_TOUCHED = """EXISTS (
    SELECT 1 FROM rejection r WHERE r.partition = s.partition AND r.study_uid = s.study_uid OFFSET 0)"""

_IS_SHOWN = {
    Level.STUDY: "s.instance_count > rejected_in_study(s.id)",
    Level.SERIES: "e.instance_count > rejected_in_series(e.id)",
    Level.INSTANCE: "NOT is_rejected(s.id, i.sop_uid)",
}


def shown(level: Level) -> str:
    """Return the term that leaves out what is rejected, for the aliases ``s``, ``e`` and ``i``."""
    return f"(NOT {_IS_TOUCHED} OR {_IS_SHOWN[level]})"


# What an ordinary answer says of a study with rejected instances; no row for other studies.
_VISIBLE = f"LEFT JOIN LATERAL (SELECT * FROM shown_of_study(s.id) WHERE {_IS_TOUCHED}) v ON true"  # noqa: S608
_STUDY_NUMBERS = ("modalities", "sop_classes", "series_count", "instance_count")


def study_numbers(query: Query) -> tuple[str, str]:
    """Return the columns that sum a study up as a search shows it, and the join that they need."""
    if query.shows_rejected:
        return ", ".join(f"s.{name}" for name in _STUDY_NUMBERS), ""
    return ", ".join(f"coalesce(v.{name}, s.{name}) AS {name}" for name in _STUDY_NUMBERS), f" {_VISIBLE}"


def series_count(query: Query) -> str:
    """Return the number of instances that a search shows of the series ``e`` of the study ``s``."""
    if query.shows_rejected:
        return "e.instance_count"
    rejected = "(SELECT count(*)::int FROM rejected_instance x WHERE x.series_pk = e.id)"
    return f"e.instance_count - CASE WHEN {_IS_TOUCHED} THEN {rejected} ELSE 0 END"


async def take_down(connection: Connection, records: Iterable[InstanceRecord]) -> None:
    """Write what the rejection notes among ``records`` reject, in the current transaction."""
    rows = sorted(
        (
            record.partition,
            one.study_uid,
            one.sop_uid,
            note.study_instance_uid,
            note.sop_instance_uid,
            one.reason,
        )
        for record in records
        if (note := record.reception).sop_class_uid == KEY_OBJECT_SELECTION
        for one in _rejected(record)
    )
    if rows:
        await connection.execute(_TAKE_DOWN, *map(list, zip(*rows, strict=True)))


def _rejected(record: InstanceRecord) -> Iterable[Rejected]:
    found = rejected_by(record.facts.instance.metadata)
    if not found:
        return ()
    note = record.reception
    # The note goes with what it rejects.
    return {*found, Rejected(note.study_instance_uid, note.sop_instance_uid, found[0].reason)}
