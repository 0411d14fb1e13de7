"""Rows of the table of receptions as the manifest lines that they were."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gantry.reception.v1.reception_pb2 import Outcome, Reception, Source
from gantry_dicom.keys import parse_order_key

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Of the alias ``r``; the UIDs are those that the instance was received with.
RECEPTION_COLUMNS = """r.object_key, r.store_id, r.order_key, r.sop_uid, r.sop_class_uid,
       coalesce(r.received_study_uid, r.study_uid) AS study_uid,
       coalesce(r.received_series_uid, r.series_uid) AS series_uid,
       r.transfer_syntax_uid, r.size, r.meta_length, r.data_set_digest, r.source, r.received_at"""


def reception_of(row: Mapping[str, Any]) -> Reception:
    """Return the reception of a row of ``RECEPTION_COLUMNS``."""
    batch, ordinal = parse_order_key(row["order_key"])
    return Reception(
        object_key=row["object_key"],
        batch=batch,
        ordinal=ordinal,
        store_id=row["store_id"],
        size=row["size"],
        meta_length=row["meta_length"],
        data_set_digest=row["data_set_digest"],
        transfer_syntax_uid=row["transfer_syntax_uid"],
        sop_class_uid=row["sop_class_uid"],
        study_instance_uid=row["study_uid"],
        series_instance_uid=row["series_uid"],
        sop_instance_uid=row["sop_uid"],
        outcome=Outcome.OUTCOME_ACKNOWLEDGED,
        source=Source.FromString(row["source"]),
        received_at_us=round((row["received_at"] - _EPOCH).total_seconds() * 1_000_000),
    )
