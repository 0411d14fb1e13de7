"""The archive that is backed up: the one that the environment names to its services, or a local stack."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gantry_dicom.errors import BadRequest
from gantry_embedded.postgres import PostgresServer
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.tiers import open_tiers, parse_tiers

from gantry_cli.options import choices_of
from gantry_cli.rebuild import local_surroundings
from gantry_cli.stack import CORE_DATABASE

NEEDED = ("GANTRY_CORE_DSN", "GANTRY_STORE_URL", "GANTRY_SEAL_KEYS")


@dataclass(frozen=True, slots=True)
class Archive:
    """Databases, bucket and keys; ``folder`` is the state folder of a local stack."""

    folder: Path | None
    core_dsn: str
    index_dsn: str
    store: ObjectStore
    seal_keys: str

    @property
    def sealer(self) -> Sealer:
        """What opens and seals the records in the bucket."""
        return Sealer.from_text(self.seal_keys)


def archive_of(state: Path) -> Archive:
    """Return the archive. Raises ``BadRequest``, ``NotFound``, ``CannotRun``."""
    if os.environ.get("GANTRY_STORE_URL"):
        missing = [name for name in NEEDED if not os.environ.get(name)]
        if missing:
            raise BadRequest(f"the environment lacks {', '.join(missing)}")
        return Archive(
            folder=None,
            core_dsn=os.environ["GANTRY_CORE_DSN"],
            index_dsn=os.environ.get("GANTRY_INDEX_DSN", ""),
            store=_store_at(os.environ["GANTRY_STORE_URL"], StoreSettings.from_environment()),
            seal_keys=os.environ["GANTRY_SEAL_KEYS"],
        )
    found = local_surroundings(state)
    return Archive(
        folder=state,
        core_dsn=_core_of(state),
        index_dsn=found["GANTRY_INDEX_DSN"],
        store=_store_at(found["GANTRY_STORE_URL"], StoreSettings.from_environment(found)),
        seal_keys=found["GANTRY_SEAL_KEYS"],
    )


def _store_at(url: str, settings: StoreSettings) -> ObjectStore:
    """Open the archive's store, with the ones that cold objects were moved to."""
    store_id = os.environ.get("GANTRY_STORE_ID", "primary")
    return open_tiers(
        url, store_id, parse_tiers(os.environ.get("GANTRY_TIERS", ""), store_id), options=settings
    )


def _core_of(state: Path) -> str:
    """Return the connection string of `core`, empty for a stack without login, which has none."""
    if not choices_of(state).login:
        return ""
    return PostgresServer(state / "postgres").recall().dsn_for(CORE_DATABASE)
