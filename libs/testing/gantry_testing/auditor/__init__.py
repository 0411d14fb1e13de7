"""The auditor: the invariants of the ack contract, asked from outside.

``audit`` takes what was sent and answered, and where store, index and gateway are; it returns
findings as values. As a program: ``python -m gantry_testing.auditor --help``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store

from gantry_testing.auditor import evidence as gather
from gantry_testing.auditor.rules import judge
from gantry_testing.auditor.values import (
    Answer,
    Content,
    Evidence,
    Finding,
    Report,
    SentInstance,
    content_of,
    data_set_start,
)

__all__ = [
    "Answer",
    "Content",
    "Finding",
    "Report",
    "SentInstance",
    "Target",
    "audit",
    "audit_now",
    "content_of",
    "data_set_start",
]

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Target:
    """Where the archive under audit is. ``gateway_url`` is the root, without ``/dicom-web``.

    Without a gateway nothing is retrieved; the bytes are then compared in the store only.
    """

    store_url: str
    seal_keys: str = field(repr=False)
    index_dsn: str = field(repr=False)
    gateway_url: str | None = None
    store_settings: StoreSettings = field(default_factory=StoreSettings, repr=False)


async def audit(
    sent: Sequence[SentInstance],
    target: Target,
    *,
    orphan_age: timedelta = DAY,
    known: Collection[str] = (),
) -> Report:
    """Gather, judge, report. Raises what store, database and HTTP client raise when they are down.

    Objects of the manifests in ``known`` (keys), which an earlier audit has read, are not read again.
    """
    store = open_store(target.store_url, options=target.store_settings)
    try:
        sealer = Sealer.from_text(target.seal_keys)
        lines, unreadable = await gather.read_manifests(store, sealer)
        destroyed, unbelieved = await gather.read_certificates(store, sealer)
        objects = await gather.list_objects(store)
        unread = {line.object_key for line in lines if line.manifest_key not in known}
        contents = await gather.read_contents(store, sorted(unread))
        now = await store.now()
    finally:
        await store.close()
    verdicts, instances, miscounts = await asyncio.to_thread(gather.read_index, target.index_dsn)
    served = {}
    if target.gateway_url is not None:
        served = await gather.retrieve(target.gateway_url, sent, instances)
    found = Evidence(
        now=now,
        lines=tuple(lines),
        unreadable_records=(*unreadable, *unbelieved),
        objects=objects,
        contents=contents,
        verdicts=verdicts,
        instances=tuple(instances),
        served=served,
        destroyed=destroyed,
        miscounts=tuple(miscounts),
    )
    counts = {
        "sent": len(sent),
        "acknowledged": sum(item.answer is Answer.ACKNOWLEDGED for item in sent),
        "objects": len(objects),
        "manifest lines": len(lines),
        "verdicts": len(verdicts),
        "instances": len(instances),
        "retrieved": len(served),
    }
    return Report(judge(sent, found, orphan_age), counts)


def audit_now(
    sent: Sequence[SentInstance],
    target: Target,
    *,
    orphan_age: timedelta = DAY,
    known: Collection[str] = (),
) -> Report:
    """Do the same for a caller without an event loop."""
    return asyncio.run(audit(sent, target, orphan_age=orphan_age, known=known))
