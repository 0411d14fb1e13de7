"""Capacity: sums kept up, counted anew now and then, what is left in each store, and the gauges."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gantry_dicom.errors import BadRequest, Unavailable
from gantry_index.capacity import (
    counted_at,
    days_left,
    fold,
    growth,
    note_room,
    recount,
    totals,
    window,
)
from gantry_index.pools import IndexPool
from gantry_objectstore.files import FileStore
from gantry_objectstore.protocol import ObjectStore
from gantry_telemetry.logs import get_logger
from gantry_telemetry.metrics import counter, gauge
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

log = get_logger(__name__)

BYTES = gauge("gantry_capacity_bytes", "Bytes of stored objects", ["partition", "tier"])
INSTANCES = gauge("gantry_capacity_instances", "Stored objects", ["partition", "tier"])
ROOM = gauge("gantry_capacity_room_bytes", "Bytes left in the quota or on the disk of a store", ["tier"])
DAYS_LEFT = gauge(
    "gantry_capacity_days_left", "Days until a store is full when it goes on growing like this", ["tier"]
)
DRIFTED = counter("gantry_capacity_drifted", "Sums that differed from a count of everything")


class CapacitySettings(BaseSettings):
    """Settings; names in the environment have the prefix ``GANTRY_CAPACITY_``."""

    model_config = SettingsConfigDict(env_prefix="GANTRY_CAPACITY_", frozen=True)

    # Bytes that each store may hold, `primary=20000000000000,cold=...`; where none is given, what is free
    # on its disk counts, which only a `file://` store has.
    quotas: str = ""
    # How often sums and gauges are brought up to date, and everything is counted.
    fold_seconds: float = Field(default=30.0, gt=0)
    recount_hours: float = Field(default=24.0, gt=0)
    # Whole days that a forecast looks back.
    window_days: int = Field(default=30, ge=2, le=3660)

    @field_validator("quotas")
    @classmethod
    def _check_quotas(cls, value: str) -> str:
        parse_quotas(value)
        return value


def parse_quotas(text: str) -> dict[str, int]:
    """Return the bytes of each store. Raises ``ValueError``."""
    found: dict[str, int] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, number = item.partition("=")
        if not (equals and name and number.isascii() and number.isdigit()) or name in found:
            raise ValueError("quotas are store=bytes,store=bytes")
        found[name] = int(number)
    return found


class CapacityKeeper:
    """Keeps what the index knows of capacity true. Every method raises ``Unavailable``."""

    def __init__(
        self, pool: IndexPool, stores: Mapping[str, ObjectStore], settings: CapacitySettings
    ) -> None:
        self._pool = pool
        self._stores = stores
        self._settings = settings
        self._quotas = parse_quotas(settings.quotas)
        unknown = set(self._quotas) - set(stores)
        if unknown:
            raise BadRequest(f"a quota names a store that is not there: {', '.join(sorted(unknown))}")
        self._shown: set[tuple[str, str]] = set()

    async def turn(self) -> None:
        """Sum up what changed, count everything when that is due, measure, and set the gauges."""
        await fold(self._pool)
        counted = await counted_at(self._pool)
        if counted is None or datetime.now(UTC) - counted > timedelta(hours=self._settings.recount_hours):
            await self.recount()
        await self._show()

    async def recount(self) -> int:
        """Count everything; returns how many sums were wrong."""
        drift = await recount(self._pool)
        if drift:
            DRIFTED.inc(drift)
            log.warning("capacity_drifted", count=drift)
        return drift

    async def _show(self) -> None:
        found = {(one.partition, one.store_id): one for one in await totals(self._pool)}
        for partition, store_id in self._shown - set(found):
            BYTES.labels(partition, store_id).set(0)
            INSTANCES.labels(partition, store_id).set(0)
        self._shown |= set(found)
        used = dict.fromkeys(self._stores, 0)
        for (partition, store_id), total in found.items():
            BYTES.labels(partition, store_id).set(total.bytes)
            INSTANCES.labels(partition, store_id).set(total.instances)
            used[store_id] = used.get(store_id, 0) + total.bytes
        grown = await growth(self._pool, *window(datetime.now(UTC), self._settings.window_days))
        for store_id, store in self._stores.items():
            quota = self._quotas.get(store_id)
            room = await _room(store, used[store_id], quota)
            await note_room(self._pool, store_id, room, quota)
            if room is not None:
                ROOM.labels(store_id).set(room)
            left = days_left(grown.get(store_id, ()), room)
            DAYS_LEFT.labels(store_id).set(float("inf") if left is None else left)


async def _room(store: ObjectStore, used: int, quota: int | None) -> int | None:
    """Return the bytes left: of the quota, of the disk, or whichever is less; ``None`` when unknown."""
    free = await asyncio.to_thread(_free_bytes, store.root) if isinstance(store, FileStore) else None
    left = None if quota is None else quota - used
    known = [room for room in (free, left) if room is not None]
    return min(known) if known else None


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise Unavailable("the object store's disk does not answer") from error
