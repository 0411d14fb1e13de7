"""``python -m gantry_storage bucket --verify|--apply``, and what the worker says of the bucket."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict

from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store
from gantry_telemetry import configure
from gantry_telemetry.logs import get_logger
from gantry_telemetry.metrics import gauge

from gantry_storage.bucket.checks import Check, State, apply, verify
from gantry_storage.settings import BucketSettings, StorageSettings

SETTING = gauge(
    "gantry_bucket_setting_ok",
    "Whether a setting of the bucket is as it should be",
    ["setting"],
)
log = get_logger(__name__)


def run(settings: StorageSettings, *, change: bool) -> int:
    """Print how the bucket is as JSON; returns how many settings are wrong."""
    configure("storage-bucket", settings.log_level, settings.otlp_endpoint)
    checks = asyncio.run(_run(settings, change=change))
    sys.stdout.write(json.dumps([asdict(check) for check in checks], indent=1) + "\n")
    return sum(check.state is State.WRONG for check in checks)


async def watch_bucket(store: ObjectStore, settings: BucketSettings) -> list[Check]:
    """Set the gauges, and log what is wrong. Raises ``Unavailable``."""
    checks = await verify(store, settings)
    for check in checks:
        if check.state in (State.OK, State.WRONG):
            SETTING.labels(check.setting).set(check.state is State.OK)
        if check.state is State.WRONG:
            log.warning("bucket_setting_wrong", kind=check.setting, reason=check.detail)
    return checks


async def _run(settings: StorageSettings, *, change: bool) -> list[Check]:
    options = StoreSettings(settings.s3_access_key, settings.s3_secret_key, settings.s3_ca_file)
    store = open_store(settings.store_url, options=options)
    try:
        wanted = BucketSettings()
        return await (apply(store, wanted) if change else verify(store, wanted))
    finally:
        await store.close()
