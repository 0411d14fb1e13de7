"""Events of the index, put into the outbox by the transaction that makes them true."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from gantry.events.v1.events_pb2 import (
    EVENT_KIND_CONFLICT_FOUND,
    EVENT_KIND_INSTANCE_QUARANTINED,
    EVENT_KIND_INSTANCE_REPLACED,
    EVENT_KIND_INSTANCES_AMENDED,
    EVENT_KIND_INSTANCES_INDEXED,
    EventKind,
    IndexEvent,
)

from gantry_index.decisions import Decisions

_Place = tuple[EventKind, str, str, str]


def chunk_events(decisions: Decisions) -> Iterator[bytes]:
    """Yield the serialised events of a chunk: one for each kind and series."""
    sops: dict[_Place, list[str]] = defaultdict(list)
    traces: dict[_Place, str] = {}
    for placement in decisions.placements:
        kind = EVENT_KIND_INSTANCES_INDEXED if placement.is_new else EVENT_KIND_INSTANCE_REPLACED
        if placement.is_renewed:
            kind = EVENT_KIND_INSTANCES_AMENDED
        partition, study_uid, sop_uid = placement.source.identity
        place = (kind, partition, study_uid, placement.source.series_uid)
        sops[place].append(sop_uid)
        traces.setdefault(place, placement.source.record.traceparent)
    for finding in sorted(decisions.findings):
        if finding.object_key:
            place = (EVENT_KIND_CONFLICT_FOUND, finding.partition, finding.study_uid, finding.series_uid)
            sops[place].append(finding.sop_uid)
    for place, uids in sops.items():
        kind, partition, study_uid, series_uid = place
        yield event(kind, partition, study_uid, series_uid, uids, traces.get(place, ""))


def quarantine_event(partition: str, study_uid: str, series_uid: str, sop_uid: str) -> bytes:
    """Return the event for an instance that was put aside."""
    return event(EVENT_KIND_INSTANCE_QUARANTINED, partition, study_uid, series_uid, [sop_uid], "")


def event(
    kind: EventKind,
    partition: str,
    study_uid: str,
    series_uid: str,
    sop_uids: Sequence[str],
    traceparent: str,
) -> bytes:
    """Return a serialised ``IndexEvent`` without its sequence, which the table gives it."""
    return IndexEvent(
        kind=kind,
        partition=partition,
        study_instance_uid=study_uid,
        series_instance_uid=series_uid,
        sop_instance_uids=sop_uids,
        occurred_at_us=time.time_ns() // 1000,
        traceparent=traceparent,
    ).SerializeToString()
