"""``python -m gantry_storage scrub``: read everything again, keep and print what is wrong, then end."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime

from gantry_index.findings import Found
from gantry_telemetry import configure

from gantry_storage.bootstrap import make_parts
from gantry_storage.settings import StorageSettings


def run(settings: StorageSettings, partition: str | None, since: datetime | None) -> int:
    """Print each finding as a line of JSON; returns how many there were. Raises ``Unavailable``."""
    configure("storage-scrub", settings.log_level, settings.otlp_endpoint)
    return asyncio.run(_scrub(settings, partition, since))


async def _scrub(settings: StorageSettings, partition: str | None, since: datetime | None) -> int:
    parts = make_parts(settings)
    objects = size = findings = 0
    first = since.date().isoformat() if since else ""
    try:
        for day in sorted(await parts.scrubbing.days(), key=lambda each: (each.partition, each.day)):
            if day.day < first or partition not in (None, day.partition):
                continue
            read = await parts.scrubbing.read_day(day.partition, day.day, anew=True)
            objects, size, findings = objects + read.objects, size + read.bytes, findings + len(read.found)
            for found in read.found:
                sys.stdout.write(json.dumps(_document(found)) + "\n")
            sys.stdout.flush()
    finally:
        await parts.close()
    sys.stdout.write(f"{objects} objects, {size} bytes read; {findings} findings\n")
    return findings


def _document(found: Found) -> dict[str, object]:
    return {
        "kind": found.kind.value,
        "key": found.object_key,
        "partition": found.partition,
        "study_instance_uid": found.study_uid,
        "sop_instance_uid": found.sop_uid,
        "evidence": dict(found.evidence),
    }
