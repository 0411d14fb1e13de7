"""The journal: which batches are not safely indexed yet, oldest first, by the store's clock."""

from __future__ import annotations

from dataclasses import dataclass

from gantry.reception.v1.reception_pb2 import JournalEntry
from gantry_dicom.errors import NotFound
from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import JOURNAL_PREFIX, parse_journal_key
from gantry_objectstore.records import read_journal
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import ObjectStore
from gantry_telemetry.logs import get_logger

from gantry_storage.instruments import BROKEN, JOURNAL_ENTRIES, OLDEST_ENTRY

log = get_logger(__name__)

# Entries whose contents are remembered; an entry never changes.
KEPT_ENTRIES = 50_000


@dataclass(frozen=True, slots=True)
class Listed:
    """A journal entry as it was listed; its age is the store's Date less its LastModified."""

    key: str
    batch: str
    age_seconds: float


class Journal:
    """Lists and reads journal entries."""

    def __init__(self, store: ObjectStore, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer
        self._known: dict[str, JournalEntry] = {}

    async def entries(self) -> list[Listed]:
        """Return all entries, oldest first. Raises ``Unavailable``."""
        # Asked before the listing: an entry seems younger than it is, never older.
        now = await self._store.now()
        listed = []
        async for info in self._store.list(JOURNAL_PREFIX):
            try:
                batch = parse_journal_key(info.key)
            except BadKey:
                BROKEN.labels("journal-key").inc()
                log.error("journal_key_refused")  # noqa: TRY400 - the place says nothing
                continue
            listed.append(Listed(info.key, batch, (now - info.last_modified).total_seconds()))
        listed.sort(key=lambda entry: (-entry.age_seconds, entry.batch))
        JOURNAL_ENTRIES.set(len(listed))
        OLDEST_ENTRY.set(listed[0].age_seconds if listed else 0)
        self._forget_all_but({entry.key for entry in listed})
        return listed

    async def read(self, entry: Listed) -> JournalEntry | None:
        """Return what an entry says; ``None`` when it is gone or not believed. Raises ``Unavailable``."""
        known = self._known.get(entry.key)
        if known is not None:
            return known
        try:
            read = await read_journal(self._store, entry.key, self._sealer)
        except NotFound:
            return None
        except (BadKey, BadSeal):
            # Left where it is: whoever put it there did not have our key, and a person should look.
            BROKEN.labels("journal").inc()
            log.exception("journal_entry_refused", batch=entry.batch)
            return None
        if len(self._known) < KEPT_ENTRIES:
            self._known[entry.key] = read
        return read

    async def delete(self, entry: Listed) -> None:
        """Delete an entry whose work is done. Raises ``Unavailable``."""
        await self._store.delete(entry.key)
        self._known.pop(entry.key, None)

    def _forget_all_but(self, keys: set[str]) -> None:
        self._known = {key: entry for key, entry in self._known.items() if key in keys}
