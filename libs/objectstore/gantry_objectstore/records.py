"""Journal entries and manifests: sealed records at the keys their batch gives them.

A record is believed only where it belongs: one copied to another batch's key is refused
like one with a broken seal.
"""

from __future__ import annotations

from collections.abc import Iterable

from gantry.reception.v1.reception_pb2 import JournalEntry, Manifest
from gantry_dicom.errors import Conflict

from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import (
    journal_key,
    manifest_key,
    parse_journal_key,
    parse_manifest_key,
    parse_object_key,
)
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer


async def write_journal(store: ObjectStore, entry: JournalEntry, sealer: Sealer) -> str:
    """Put a journal entry and return its key. Raises ``Unavailable``."""
    key = journal_key(entry.batch)
    await store.put(key, sealer.seal(entry))
    return key


async def read_journal(store: ObjectStore, key: str, sealer: Sealer) -> JournalEntry:
    """Return the journal entry at ``key``. Raises ``NotFound``, ``BadKey``, ``BadSeal``, ``Unavailable``."""
    batch = parse_journal_key(key)
    entry = sealer.open(await store.get(key), JournalEntry)
    if entry.batch != batch:
        raise BadSeal("a journal entry under another batch's key")
    _check_places(entry.late_object_keys, entry.partition)
    return entry


async def write_manifest(store: ObjectStore, manifest: Manifest, sealer: Sealer) -> str:
    """Put a manifest where none is and return its key.

    Whoever writes a batch's manifest first (receiver or sweeper) has written it for good:
    ``Conflict`` says that another one is there. Raises ``Unavailable``.
    """
    key = manifest_key(manifest.partition, manifest.batch)
    sealed = sealer.seal(manifest)
    try:
        await store.put(key, sealed, create=True)
    except Conflict:
        # An earlier attempt may have been stored although its answer was lost.
        if await store.get(key) != sealed:
            raise
    return key


async def read_manifest(store: ObjectStore, key: str, sealer: Sealer) -> Manifest:
    """Return the manifest at ``key``. Raises ``NotFound``, ``BadKey``, ``BadSeal``, ``Unavailable``."""
    place = parse_manifest_key(key)
    manifest = sealer.open(await store.get(key), Manifest)
    if manifest.batch != place.batch or manifest.partition != place.partition:
        raise BadSeal("a manifest under another batch's key")
    _check_places([reception.object_key for reception in manifest.receptions], place.partition)
    return manifest


def _check_places(object_keys: Iterable[str], partition: str) -> None:
    try:
        strangers = any(parse_object_key(key).partition != partition for key in object_keys)
    except BadKey:
        strangers = True
    if strangers:
        raise BadSeal("a record that names what is no object of its partition")
