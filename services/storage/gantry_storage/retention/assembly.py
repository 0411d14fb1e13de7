"""The parts of retention, put together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from gantry_index.pools import IndexPool
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer

from gantry_storage.retention.locking import HoldLocks
from gantry_storage.retention.planning import Planner
from gantry_storage.retention.policies import Retention, read_retention
from gantry_storage.retention.purging import PurgeTerms, Purging, SendAmendment
from gantry_storage.retention.requests import Methods, retention_methods
from gantry_storage.retention.settings import RetentionSettings


@dataclass(frozen=True, slots=True)
class RetentionParts:
    """What retention is made of; ``runs`` says whether there are policies to be carried out."""

    purging: Purging
    planner: Planner
    locks: HoldLocks
    methods: Methods
    runs: bool


def make_retention(
    store: ObjectStore,
    sealer: Sealer,
    pool: IndexPool,
    send: SendAmendment,
    settings: RetentionSettings,
    *,
    stores: tuple[str, ...],
    backups: tuple[str, ...],
) -> RetentionParts:
    """Return the parts; ``stores`` and ``backups`` are URLs. Raises ``BadRequest`` for a wrong file."""
    found = read_retention(settings.file)
    retention = found or Retention()
    purging = Purging(
        store,
        sealer,
        pool,
        send,
        PurgeTerms(
            timedelta(days=retention.grace_days),
            timedelta(days=retention.backups_kept_days),
            tuple(map(place_of, stores)),
            tuple(map(place_of, backups)),
        ),
    )
    planner = Planner(store, sealer, pool, send, purging, retention)
    return RetentionParts(
        purging,
        planner,
        HoldLocks(store, sealer, pool),
        retention_methods(planner, purging),
        found is not None,
    )


def place_of(url: str) -> str:
    """Return a store's URL without anything that only says how it is reached."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
