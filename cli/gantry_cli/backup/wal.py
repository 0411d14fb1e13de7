"""The archive of PostgreSQL's write-ahead log, with which a base backup becomes any moment after it.

PostgreSQL itself calls this module for every finished segment (``archive_command``), in its data folder:
``python -m gantry_cli.backup.wal STATE %p %f``. It needs no secret that opens anything. A file is::

    sealed stream of the compressed segment | SHA-256 of the segment (32) | signature of all that (64)

under ``wal/<system>/<name>``, where ``system`` is the cluster's own identifier: two clusters of one
archive, before and after a restore from dumps, never mix.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shlex
import sys
import zlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gantry_dicom.errors import Conflict, GantryError
from gantry_objectstore.protocol import ObjectStore
from isal import isal_zlib

from gantry_cli.backup.keys import ReadingKeys, WritingKeys
from gantry_cli.backup.repository import Repository, remembered, repository_store
from gantry_cli.backup.sealing import BadBackup, open_bytes, seal_bytes

WAL_PREFIX = "wal/"
# Without work a segment is still closed and archived after so long: what a disaster can cost of `core`.
ARCHIVE_SECONDS = 60
_DIGEST_BYTES, _SIGNATURE_BYTES = 32, 64
_TRAILER_BYTES = _DIGEST_BYTES + _SIGNATURE_BYTES
# PostgreSQL: timeline, log and segment, eight hexadecimal digits each.
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_HISTORY = re.compile(r"[0-9A-F]{8}\.history")


@dataclass(frozen=True, slots=True)
class ArchivedWal:
    """What of the log lies in a folder now: files, and how far they reach."""

    files: int
    last: str


def archive_settings(state: Path) -> dict[str, str]:
    """Return the settings of a local PostgreSQL whose log is archived, none where it is not."""
    try:
        pointer, _ = remembered(state)
    except GantryError:
        return {}
    if not pointer["archive_wal"]:
        return {}
    # %p and %f are PostgreSQL's; a % of our own is doubled.
    command = shlex.join(
        [sys.executable, "-P", "-m", "gantry_cli.backup.wal", str(state.absolute())]
    ).replace("%", "%%")
    return {
        "archive_mode": "on",
        "archive_command": f"{command} %p %f",
        "archive_timeout": str(ARCHIVE_SECONDS),
        # A base backup takes its log from the server, which must not have let go of it.
        "wal_keep_size": "1GB",
    }


def system_of(data_folder: Path) -> str:
    """Return the identifier of a cluster: the first eight bytes of its control file."""
    return f"{int.from_bytes((data_folder / 'global' / 'pg_control').read_bytes()[:8], sys.byteorder):d}"


async def archive(store: ObjectStore, keys: WritingKeys, system: str, name: str, data: bytes) -> None:
    """Put a file of the log there, once.

    PostgreSQL may ask again for what it has seen done; other bytes under the same name are refused
    (``Conflict``), as PostgreSQL's manual demands.
    """
    key = f"{WAL_PREFIX}{system}/{name}"
    digest = hashlib.sha256(data).digest()
    compressor = isal_zlib.compressobj(1)
    body = seal_bytes((compressor.compress(data), compressor.flush()), keys.recipient, key) + digest
    try:
        await store.put(key, body + _signature(keys.signer, key, body), create=True)
    except Conflict:
        earlier = await store.get(key)
        if earlier[-_TRAILER_BYTES:-_SIGNATURE_BYTES] != digest:
            raise Conflict(f"{name} is archived already, with other content") from None


async def fetch(
    repository: Repository, system: str, first_segment: str, folder: Path, keys: ReadingKeys
) -> ArchivedWal:
    """Open into ``folder`` everything from a segment on, on every timeline.

    Raises ``BadBackup`` for what the archive has not written, and ``Unavailable``.
    """
    prefix = f"{WAL_PREFIX}{system}/"
    names = sorted([info.key.removeprefix(prefix) async for info in repository.store.list(prefix)])
    segments = [name for name in names if _SEGMENT.fullmatch(name) and name[8:] >= first_segment[8:]]
    wanted = [*segments, *(name for name in names if _HISTORY.fullmatch(name))]
    for name in wanted:
        key = prefix + name
        (folder / name).write_bytes(opened_segment(await repository.store.get(key), key, keys))
    return ArchivedWal(len(wanted), segments[-1] if segments else "")


def opened_segment(data: bytes, key: str, keys: ReadingKeys) -> bytes:
    """Return a file of the log. Raises ``BadBackup``."""
    body, signature = data[:-_SIGNATURE_BYTES], data[-_SIGNATURE_BYTES:]
    keys.verify(signature, _signed(key, body), key)
    plain = zlib.decompress(open_bytes(body[:-_DIGEST_BYTES], keys.private, key))
    if hashlib.sha256(plain).digest() != body[-_DIGEST_BYTES:]:
        raise BadBackup(f"{key} is not what was archived")
    return plain


async def last_archived(repository: Repository, system: str) -> datetime | None:
    """Return when a segment of a cluster's log was last archived, ``None`` when none was."""
    infos = [info async for info in repository.store.list(f"{WAL_PREFIX}{system}/")]
    return max((info.last_modified for info in infos if _is_segment(info.key)), default=None)


async def obsolete(repository: Repository, system: str, first_segment: str) -> list[str]:
    """Return the keys of segments that come before the first one that any kept backup needs."""
    prefix = f"{WAL_PREFIX}{system}/"
    keys = [info.key async for info in repository.store.list(prefix)]
    return [key for key in keys if key.removeprefix(prefix)[8:24] < first_segment[8:] and _is_segment(key)]


def _is_segment(key: str) -> bool:
    return _SEGMENT.fullmatch(key.rsplit("/", 1)[-1]) is not None


def _signature(signer: Ed25519PrivateKey, key: str, body: bytes) -> bytes:
    return signer.sign(_signed(key, body))


def _signed(key: str, body: bytes) -> bytes:
    return key.encode() + b"\0" + hashlib.sha256(body).digest()


async def _archive_one(state: Path, path: Path, name: str) -> None:
    pointer, keys = remembered(state)
    store = repository_store(pointer["repository"])
    try:
        await archive(store, keys, system_of(Path()), name, await asyncio.to_thread(path.read_bytes))
    finally:
        await store.close()


def main() -> int:
    """Archive one file; PostgreSQL tries again as long as the exit code is not 0."""
    state, path, name = sys.argv[1:4]
    try:
        asyncio.run(_archive_one(Path(state), Path(path), name))
    except (GantryError, OSError) as error:
        sys.stderr.write(f"gantry: {name} was not archived: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
