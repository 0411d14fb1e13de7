"""``python -m gantry_storage scrub``: read everything again, print what is wrong, then end."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from datetime import datetime

from gantry_index import verdicts
from gantry_telemetry import configure

from gantry_storage.bootstrap import make_parts
from gantry_storage.scrub import Scrub
from gantry_storage.settings import StorageSettings


def run(
    settings: StorageSettings, partition: str | None, since: datetime | None, bytes_per_second: float
) -> int:
    """Print each finding as a line of JSON; returns how many there were."""
    configure("storage-scrub", settings.log_level, settings.otlp_endpoint, settings.trace_share)
    return asyncio.run(_scrub(settings, partition, since, bytes_per_second))


async def _scrub(
    settings: StorageSettings, partition: str | None, since: datetime | None, bytes_per_second: float
) -> int:
    parts = make_parts(settings)
    scrub = Scrub(
        parts.store,
        parts.sealer,
        lambda keys: verdicts.undecided(parts.pool, keys),
        bytes_per_second=bytes_per_second,
    )
    count = 0
    try:
        async for finding in scrub.run(partition, since):
            count += 1
            sys.stdout.write(json.dumps(asdict(finding)) + "\n")
            sys.stdout.flush()
    finally:
        await parts.close()
    sys.stdout.write(f"{scrub.objects} objects, {scrub.bytes} bytes read; {count} findings\n")
    return count
