"""``python -m gantry_storage replay --since ISO [--partition P]``: replay manifests, then end."""

from __future__ import annotations

import asyncio
from datetime import datetime

from gantry_telemetry import configure

from gantry_storage.bootstrap import make_parts
from gantry_storage.replay import ReplayReport
from gantry_storage.settings import StorageSettings


def run(settings: StorageSettings, since: datetime, partition: str | None) -> ReplayReport:
    """Replay until every instance since then is decided; safe to interrupt and to run again."""
    configure("storage-replay", settings.log_level, settings.otlp_endpoint)
    return asyncio.run(_replay(settings, since, partition))


async def _replay(settings: StorageSettings, since: datetime, partition: str | None) -> ReplayReport:
    parts = make_parts(settings)
    try:
        return await parts.replay.run(since, partition)
    finally:
        await parts.close()
