"""The SQL of the writing side.

Rows go in as arrays, one parameter a column. A ``{name}`` in a statement is the rows of the
group ``name``: ``unnest($1::text[], ...) AS name(column, ...)``. Lookups of rows by key are
lateral and fenced (``OFFSET 0``), so they stay index lookups whatever the planner believes
about the size of a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from gantry.index.v1.index_pb2 import VERDICT_STATE_INDEXED, VERDICT_STATE_PENDING


class Group(NamedTuple):
    """Rows that a statement takes: a name and (column, SQL type) pairs."""

    name: str
    columns: tuple[tuple[str, str], ...]


def group(name: str, text: str) -> Group:
    """Return the group whose columns ``text`` lists as ``column type, ...``."""
    pairs = (part.split() for part in text.split(","))
    return Group(name, tuple((column, kind) for column, kind in pairs))


def prepare(template: str, groups: Sequence[Group], **fragments: str) -> str:
    """Return ``template`` with each group's rows and each fragment in its place."""
    filled = dict(fragments)
    number = 0
    for name, columns in groups:
        arrays = []
        for _, kind in columns:
            number += 1
            arrays.append(f"${number}::{kind}[]")
        names = ", ".join(column for column, _ in columns)
        filled[name] = f"unnest({', '.join(arrays)}) AS {name}({names})"
    return template.format(**filled)


def parameters(groups: Sequence[Group], rows: Sequence[Iterable[Sequence[object]]]) -> list[list[object]]:
    """Return the arrays for the ``groups`` of a prepared statement; ``rows`` in the same order."""
    arrays: list[list[object]] = []
    for (_, columns), given in zip(groups, rows, strict=True):
        transposed = [list(column) for column in zip(*given, strict=True)]
        arrays.extend(transposed or [[] for _ in columns])
    return arrays


def first_wins(columns: Sequence[str]) -> str:
    """Return assignments to ``t`` that take the new row's ``columns`` when its order key is smaller."""
    return ",\n        ".join(
        f"{column} = CASE WHEN excluded.order_key < t.order_key THEN excluded.{column} ELSE t.{column} END"
        for column in columns
    )


def of(alias: str, columns: Sequence[str]) -> str:
    """Return ``columns`` as those of ``alias``."""
    return ", ".join(f"{alias}.{column}" for column in columns)


# Locks -----------------------------------------------------------------------------------

# Held to the end of the transaction. The keys come sorted and without repeats, so that two
# writers always meet in the same order and wait instead of deadlocking.
LOCK = "SELECT count(pg_advisory_xact_lock(key)) FROM unnest('{{{keys}}}'::bigint[]) AS key"

# Shared by all who write instances; taken before the others.
LOCK_SHARED = "SELECT count(pg_advisory_xact_lock_shared(key)) FROM unnest('{{{keys}}}'::bigint[]) AS key"

# What is known ---------------------------------------------------------------------------

_RECEPTION = """r.object_key, r.partition, r.study_uid, r.series_uid, r.sop_uid, r.order_key, r.state,
       r.survivor_key, r.reason, r.replaces, r.data_set_digest, r.transfer_syntax_uid, r.store_id,
       r.size, r.meta_length, r.frame_table, r.received_at"""

SOPS = group("sops", "partition text, sop_uid text")
KEYS = group("keys", "object_key text")

# Every reception of the instances of a chunk, wherever in the partition, and of its keys.
RECEPTIONS = prepare(
    """
SELECT {columns}
FROM {sops} CROSS JOIN LATERAL (
    SELECT * FROM reception AS t
    WHERE t.partition = sops.partition AND t.sop_uid = sops.sop_uid OFFSET 0
) AS r
UNION ALL
SELECT {columns}
FROM {keys} CROSS JOIN LATERAL (
    SELECT * FROM reception AS t WHERE t.object_key = keys.object_key OFFSET 0
) AS r
""",
    (SOPS, KEYS),
    columns=_RECEPTION,
)

PLACES = group("places", "partition text, study_uid text, series_uid text")

# The study and series rows of a chunk, one row a place in the given order.
KNOWN_LEVELS = prepare(
    """
SELECT places.partition, places.study_uid, places.series_uid,
       st.id AS study_pk, st.order_key AS study_order_key, st.patient_pk, st.patient_id, st.patient_issuer,
       st.study_date, st.accession_number, st.accession_issuer, st.study_id, st.modalities,
       se.id AS series_pk, se.order_key AS series_order_key, se.modality,
       ARRAY(
           SELECT study.study_uid FROM series AS t JOIN study ON study.id = t.study_pk
           WHERE t.partition = places.partition AND t.series_uid = places.series_uid
             AND study.study_uid <> places.study_uid
       ) AS elsewhere
FROM {places}
LEFT JOIN LATERAL (
    SELECT * FROM study AS t
    WHERE t.partition = places.partition AND t.study_uid = places.study_uid OFFSET 0
) AS st ON true
LEFT JOIN LATERAL (
    SELECT * FROM series AS t
    WHERE t.study_pk = st.id AND t.series_uid = places.series_uid OFFSET 0
) AS se ON true
""",
    (PLACES,),
)

# The chunk -------------------------------------------------------------------------------

PATIENTS = group(
    "patients",
    "partition text, patient_id text, issuer text, order_key text, name text, name_norm text,"
    " birth_date date, sex text",
)
# `document` is NULL where the study is known to have a smaller order key already.
STUDIES = group(
    "studies",
    "n integer, partition text, study_uid text, order_key text,"
    " patient_id text, patient_issuer text, patient_name text, patient_name_norm text,"
    " patient_birth_date date, patient_sex text, study_date date, study_time time,"
    " accession_number text, accession_issuer text, referring_name_norm text, study_id text,"
    " study_description text, document bytea, extra bytea,"
    " series_count integer, instance_count integer, first_received_at timestamptz",
)
# Classes and modalities are lists, and PostgreSQL has no arrays of lists of differing length.
STUDY_CLASSES = group("study_classes", "study integer, sop_class_uid text")
STUDY_MODALITIES = group("study_modalities", "study integer, modality text")
SERIES = group(
    "series_rows",
    "n integer, study integer, series_uid text, order_key text, modality text, series_number integer,"
    " series_description text, body_part_examined text, pps_start_date date, pps_start_time time,"
    " scheduled_step_ids jsonb, requested_procedure_ids jsonb, document bytea, extra bytea,"
    " instance_count integer,"
    " encoder_version integer, segment_corrections text, segment_instances integer,"
    " segment_metadata bytea, segment_documents bytea, segment_levels bytea",
)
# One row a received object; `series` is set where an instance row points at it, `is_received` is
# not where its reception row is there already.
OBJECTS = group(
    "objects",
    "object_key text, partition text, store_id text, order_key text, study_uid text, series_uid text,"
    " sop_uid text, sop_class_uid text, transfer_syntax_uid text, size bigint, meta_length integer,"
    " data_set_digest bytea, frame_table bytea, received_at timestamptz,"
    " is_received boolean, state smallint, survivor_key text, replaces boolean, source bytea,"
    " series integer, instance_number integer, content_date_time timestamp, rows integer,"
    " columns integer, bits_allocated integer, number_of_frames integer,"
    " metadata_offset integer, metadata_length integer, document_offset integer,"
    " document_length integer, level_offset integer, level_length integer,"
    " header_key text, corrected_size bigint, corrected_frame_table bytea,"
    " received_study_uid text, received_series_uid text",
)
REDECIDED = group("redecided", "object_key text, old_state smallint, state smallint, survivor_key text")
FINDINGS = group(
    "findings", "partition text, kind text, study_uid text, series_uid text, sop_uid text, object_key text"
)
SETTLED = group(
    "settled", "partition text, kind text, study_uid text, series_uid text, sop_uid text, object_key text"
)
EVENTS = group("events", "payload bytea")

CHUNK_GROUPS = (
    *(PATIENTS, STUDIES, STUDY_CLASSES, STUDY_MODALITIES, SERIES, OBJECTS),
    *(REDECIDED, FINDINGS, SETTLED, EVENTS),
)

STUDY_VALUES = (
    "patient_id",
    "patient_issuer",
    "patient_name",
    "patient_name_norm",
    "patient_birth_date",
    "patient_sex",
    "study_date",
    "study_time",
    "accession_number",
    "accession_issuer",
    "referring_name_norm",
    "study_id",
    "study_description",
)
SERIES_VALUES = (
    "modality",
    "series_number",
    "series_description",
    "body_part_examined",
    "pps_start_date",
    "pps_start_time",
    "scheduled_step_ids",
    "requested_procedure_ids",
)
INSTANCE_VALUES = (
    "sop_class_uid",
    "instance_number",
    "order_key",
    "object_key",
    "store_id",
    "size",
    "meta_length",
    "data_set_digest",
    "transfer_syntax_uid",
    "content_date_time",
    "rows",
    "columns",
    "bits_allocated",
    "number_of_frames",
    "frame_table",
    "received_at",
    "metadata_offset",
    "metadata_length",
    "document_offset",
    "document_length",
    "level_offset",
    "level_length",
    "header_key",
    "corrected_size",
    "corrected_frame_table",
)

WRITE_CHUNK = prepare(
    (Path(__file__).parent / "upsert.sql").read_text(),
    CHUNK_GROUPS,
    patient_first=first_wins(("order_key", "name", "name_norm", "birth_date", "sex")),
    study_first=first_wins(("patient_pk", "order_key", *STUDY_VALUES)),
    study_values=", ".join(STUDY_VALUES),
    new_study_values=of("i", STUDY_VALUES),
    series_first=first_wins(("order_key", *SERIES_VALUES)),
    series_values=", ".join(SERIES_VALUES),
    instance_values=", ".join(INSTANCE_VALUES),
    new_instance_values=of("o", INSTANCE_VALUES),
    instance_replaced=", ".join(f"{column} = excluded.{column}" for column in INSTANCE_VALUES),
    pending=str(VERDICT_STATE_PENDING),
    indexed=str(VERDICT_STATE_INDEXED),
)
