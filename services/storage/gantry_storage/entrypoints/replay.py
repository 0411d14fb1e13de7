"""``python -m gantry_storage replay|rebuild``: replay manifests, then end."""

from __future__ import annotations

import asyncio
from datetime import datetime

from gantry_telemetry import configure

from gantry_storage.bootstrap import make_parts
from gantry_storage.replay import ReplayReport
from gantry_storage.settings import StorageSettings


def run(
    settings: StorageSettings,
    since: datetime,
    partition: str | None,
    *,
    until: datetime | None = None,
    window: int = 16,
) -> ReplayReport:
    """Replay until every instance since then is decided; safe to interrupt and to run again.

    ``until`` leaves out what came later; ``window`` is the number of chunks under way at a time.
    """
    configure("storage-replay", settings.log_level, settings.otlp_endpoint, settings.trace_share)
    return asyncio.run(_replay(settings, since, partition, until, window))


async def _replay(
    settings: StorageSettings, since: datetime, partition: str | None, until: datetime | None, window: int
) -> ReplayReport:
    parts = make_parts(settings, replay_window=window)
    try:
        return await parts.replay.run(since, partition, until=until)
    finally:
        await parts.close()
