"""The parts of retention, put together."""

from __future__ import annotations

from collections.abc import Mapping
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
from gantry_storage.tiering.moving import Mover
from gantry_storage.tiering.planning import MovePlanner


@dataclass(frozen=True, slots=True)
class RetentionParts:
    """What retention is made of; ``runs`` says whether there are policies to be carried out."""

    purging: Purging
    planner: Planner
    locks: HoldLocks
    mover: Mover
    moves: MovePlanner
    methods: Methods
    runs: bool


def make_retention(
    store: ObjectStore,
    sealer: Sealer,
    pool: IndexPool,
    send: SendAmendment,
    settings: RetentionSettings,
    *,
    stores: Mapping[str, ObjectStore],
    places: tuple[str, ...],
    backups: tuple[str, ...],
) -> RetentionParts:
    """Return the parts; ``places`` and ``backups`` are URLs. Raises ``BadRequest`` for a wrong file.

    ``stores`` are those that ``store`` consists of by their ids, the first one first.
    """
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
            tuple(map(place_of, places)),
            tuple(map(place_of, backups)),
        ),
    )
    planner = Planner(store, sealer, pool, send, purging, retention)
    mover = Mover(store, stores, sealer, pool, send, timedelta(days=retention.move_grace_days))
    moves = MovePlanner(pool, mover, retention, stores)
    return RetentionParts(
        purging,
        planner,
        HoldLocks(store, sealer, pool),
        mover,
        moves,
        retention_methods(planner, purging, moves, mover),
        found is not None,
    )


def place_of(url: str) -> str:
    """Return a store's URL without anything that only says how it is reached."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
