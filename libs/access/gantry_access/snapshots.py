"""Policy snapshots at rest: ``p/<version>``, sealed, never written over, the newest wins."""

from __future__ import annotations

import re
from datetime import datetime

from gantry.access.v1.access_pb2 import PolicySnapshot
from gantry_dicom.errors import Conflict, NotFound

from gantry_access.storage import Seals, Store

SNAPSHOT_PREFIX = "p/"
# Published to after a snapshot was put, with its version as text: a hint to look, no more.
POLICY_CHANNEL = "gantry.policy"

# Every reader lists them again and again: so many fit one answer of any store.
KEPT_SNAPSHOTS = 300

_KEY = re.compile(r"p/([0-9]{20})")


def snapshot_key(version: int) -> str:
    """Return the key of snapshot ``version``, so padded that keys sort as versions do."""
    return f"{SNAPSHOT_PREFIX}{version:020d}"


def snapshot_version(key: str) -> int | None:
    """Return the version in a snapshot's key, or ``None`` for another key."""
    match = _KEY.fullmatch(key)
    return int(match[1]) if match else None


async def publish_snapshot(store: Store, sealer: Seals, snapshot: PolicySnapshot) -> str:
    """Put ``snapshot`` where none of its version is, and return its key.

    Raises ``Conflict`` when another snapshot of that version is there (the publisher takes the
    next number), ``Unavailable`` when the store is in trouble. Publishing the same snapshot
    again is fine. Tell ``POLICY_CHANNEL`` afterwards.
    """
    key = snapshot_key(snapshot.version)
    sealed = sealer.seal(snapshot)
    try:
        await store.put(key, sealed, create=True)
    except Conflict:
        # An earlier attempt may have been stored although its answer was lost.
        if await store.get(key) != sealed:
            raise
    return key


async def newest_version(store: Store) -> int:
    """Return the highest version that is there, 0 when there is none. Raises ``Unavailable``."""
    versions = [snapshot_version(info.key) or 0 async for info in store.list(SNAPSHOT_PREFIX)]
    return max(versions, default=0)


async def forget_old_snapshots(store: Store, *, older_than: datetime, kept: int = KEPT_SNAPSHOTS) -> int:
    """Delete what is older than ``older_than`` and not among the ``kept`` newest; return how many went.

    For the storage service: nobody else deletes. Raises ``Unavailable``.
    """
    listed = [
        (version, info.last_modified)
        async for info in store.list(SNAPSHOT_PREFIX)
        if (version := snapshot_version(info.key)) is not None
    ]
    old = [version for version, written_at in sorted(listed)[:-kept] if written_at < older_than]
    for version in old:
        await store.delete(snapshot_key(version))
    return len(old)


async def load_newest(
    store: Store, sealer: Seals, *, newer_than: int = 0
) -> tuple[PolicySnapshot | None, list[str]]:
    """Return the newest good snapshot above version ``newer_than``, and the keys of bad ones met.

    A snapshot with a broken seal, or under another version's key, is passed over: whoever can
    write to the bucket but cannot seal must not be able to take the rules away. Raises
    ``Unavailable``.
    """
    bad: list[str] = []
    versions = [snapshot_version(info.key) or 0 async for info in store.list(SNAPSHOT_PREFIX)]
    for version in sorted((v for v in versions if v > newer_than), reverse=True):
        key = snapshot_key(version)
        try:
            snapshot = sealer.open(await store.get(key), PolicySnapshot)
        except NotFound:
            continue  # Removed between listing and reading: an old one.
        except Conflict:
            bad.append(key)
            continue
        if snapshot.version == version:
            return snapshot, bad
        bad.append(key)
    return None, bad
