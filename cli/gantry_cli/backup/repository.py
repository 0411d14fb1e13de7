"""A folder or bucket of backups: what lies where, and whether it is as it was written.

::

    repository.json                who may open it
    backups/<id>/manifest.json     what the backup is, in the open; put last: without it there is none
    backups/<id>/manifest.sig      signature of the manifest
    backups/<id>/<part>            sealed
    wal/<system>/<file>            sealed and signed one by one, see ``gantry_cli.backup.wal``
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from gantry_dicom.errors import BadRequest, Conflict, NotFound
from gantry_embedded.files import private_folder, write_private
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store

from gantry_cli.backup.keys import ReadingKeys, WritingKeys, from_text, locked, unlocked
from gantry_cli.backup.sealing import BadBackup, opened, sealed

FORMAT = 1
REPOSITORY_KEY = "repository.json"
BACKUPS_PREFIX = "backups/"
# Below the state folder: which repository this archive writes to, and the key it signs with.
POINTER_FILE, SIGNING_KEY_FILE = "backup.json", "backup-signing-key"
PASSPHRASE_VARIABLE = "GANTRY_BACKUP_PASSPHRASE"  # noqa: S105 - a variable's name
ID_FORMAT = "%Y%m%dT%H%M%SZ"
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A sealed part: its bytes at rest and their SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """What a physical backup of the local cluster needs of the WAL archive."""

    system: str
    first_segment: str
    # Recovery reaches no moment before this one.
    ended: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is. Moments are ISO 8601 in UTC."""

    id: str
    # Nothing that came later is in the dumps.
    moment: str
    # From here on receptions may be missing in the dumped index: replays begin there.
    index_whole_until: str
    version: str
    postgres: str
    schemas: dict[str, str]
    # Rows and digest of every dumped table, by database.
    tables: dict[str, dict[str, list[str]]]
    # Ids of the keys that seal records in the bucket.
    seal_keys: list[str]
    parts: list[Part] = field(default_factory=list)
    base: BaseFacts | None = None
    format: int = FORMAT

    def part(self, name: str) -> Part | None:
        """Return the part of that name, if there is one."""
        return next((part for part in self.parts if part.name == name), None)


@dataclass(frozen=True, slots=True)
class Repository:
    """An opened repository."""

    where: str
    store: ObjectStore
    recipient: X25519PublicKey
    lock: Document | None


def repository_store(where: str) -> ObjectStore:
    """Return the store of a repository: a folder, or a URL as services take it for their objects.

    A bucket is reached with ``GANTRY_BACKUP_S3_ACCESS_KEY`` and ``GANTRY_BACKUP_S3_SECRET_KEY``, which
    should not be those of the archive: who can delete one must not be able to delete the other.
    """
    if "://" not in where:
        return open_store(Path(where).absolute().as_uri())
    settings = StoreSettings(
        access_key=os.environ.get("GANTRY_BACKUP_S3_ACCESS_KEY", ""),
        secret_key=os.environ.get("GANTRY_BACKUP_S3_SECRET_KEY", ""),
        ca_file=os.environ.get("GANTRY_BACKUP_S3_CA_FILE", ""),
    )
    return open_store(where, options=settings)


async def make_repository(where: str, writing: WritingKeys, reading: ReadingKeys, passphrase: str) -> None:
    """Begin a repository; without a passphrase its key is nowhere in it.

    Raises ``Conflict`` when there is one, ``BadRequest``, ``Unavailable``.
    """
    document = {
        "format": FORMAT,
        "recipient": writing.recipient.public_bytes_raw().hex(),
        "lock": locked(reading, passphrase) if passphrase else None,
    }
    store = repository_store(where)
    try:
        await store.put(REPOSITORY_KEY, json.dumps(document, indent=1).encode(), create=True)
    except Conflict:
        raise Conflict(f"{where} holds a repository already") from None
    finally:
        await store.close()


async def open_repository(where: str) -> Repository:
    """Open a repository. Raises ``NotFound``, ``BadBackup``, ``Unavailable``."""
    store = repository_store(where)
    try:
        document = json.loads(await store.get(REPOSITORY_KEY))
        if document["format"] > FORMAT:
            raise BadBackup("the repository is of a newer release")
        recipient = X25519PublicKey.from_public_bytes(bytes.fromhex(document["recipient"]))
        return Repository(where, store, recipient, document.get("lock"))
    except NotFound:
        await store.close()
        raise NotFound(f"{where} holds no repository of backups; `gantry backup init` begins one") from None
    except (ValueError, KeyError, TypeError) as error:
        await store.close()
        raise BadBackup("the repository's description cannot be read") from error


def reading_keys(repository: Repository, passphrase_file: Path | None, key_file: Path | None) -> ReadingKeys:
    """Return the keys that open the repository. Raises ``BadRequest``, ``NotAllowed``, ``BadBackup``."""
    if key_file is not None:
        keys = from_text(_text_of(key_file))
    elif repository.lock is None:
        raise BadRequest("this repository is opened with the file that its key was written to: --key-file")
    else:
        keys = unlocked(repository.lock, passphrase_of(passphrase_file))
    if keys.private.public_key().public_bytes_raw() != repository.recipient.public_bytes_raw():
        raise BadBackup("the repository's key was exchanged, or the key file is another repository's")
    return keys


def passphrase_of(file: Path | None) -> str:
    """Return the passphrase in a file or in the environment. Raises ``BadRequest`` without one."""
    text = _text_of(file) if file is not None else os.environ.get(PASSPHRASE_VARIABLE, "")
    if not text:
        raise BadRequest(f"give the passphrase: --passphrase-file FILE, or {PASSPHRASE_VARIABLE}")
    return text


def remember(state: Path, where: str, keys: WritingKeys, *, archive_wal: bool) -> None:
    """Write down where this archive's backups go."""
    place = where if "://" in where else str(Path(where).absolute())
    pointer = {
        "repository": place,
        "recipient": keys.recipient.public_bytes_raw().hex(),
        "archive_wal": archive_wal,
    }
    write_private(private_folder(state) / SIGNING_KEY_FILE, keys.signer.private_bytes_raw().hex())
    write_private(state / POINTER_FILE, json.dumps(pointer, indent=1))


def remembered(state: Path) -> tuple[Document, WritingKeys]:
    """Return where this archive's backups go and the keys to make them. Raises ``NotFound``."""
    try:
        pointer: Document = json.loads((state / POINTER_FILE).read_text())
        signer = Ed25519PrivateKey.from_private_bytes(
            bytes.fromhex((state / SIGNING_KEY_FILE).read_text().strip())
        )
    except FileNotFoundError:
        raise NotFound(f"{state} names no repository; `gantry backup init` begins one") from None
    return pointer, WritingKeys(
        X25519PublicKey.from_public_bytes(bytes.fromhex(pointer["recipient"])), signer
    )


def check_recipient(repository: Repository, keys: WritingKeys) -> None:
    """Raise ``BadBackup`` when the repository names another key than the archive was told of.

    Whoever can write there could otherwise have the next backup sealed to a key of their own.
    """
    if repository.recipient.public_bytes_raw() != keys.recipient.public_bytes_raw():
        raise BadBackup("the repository's key was exchanged, or it is another archive's")


def part_key(backup: str, name: str) -> str:
    """Return the key of a part of a backup."""
    return f"{BACKUPS_PREFIX}{backup}/{name}"


def new_id(now: datetime) -> str:
    """Return the id of a backup begun now: ids are in the order of time."""
    return now.astimezone(UTC).strftime(ID_FORMAT)


async def write_part(repository: Repository, backup: str, name: str, plain: AsyncIterable[bytes]) -> Part:
    """Seal ``plain`` into a part. Raises ``Unavailable`` and what ``plain`` raises."""
    key = part_key(backup, name)
    digest, size = hashlib.sha256(), 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal size
        async for piece in sealed(plain, repository.recipient, key):
            digest.update(piece)
            size += len(piece)
            yield piece

    await repository.store.put_large(key, counted())
    return Part(name, size, digest.hexdigest())


async def write_manifest(repository: Repository, manifest: Manifest, signer: Ed25519PrivateKey) -> None:
    """Make the backup exist."""
    data = json.dumps(asdict(manifest), indent=1).encode()
    await repository.store.put(part_key(manifest.id, "manifest.sig"), signer.sign(data))
    await repository.store.put(part_key(manifest.id, "manifest.json"), data)


async def list_backups(repository: Repository) -> list[Manifest]:
    """Return every complete backup, oldest first, as its manifest says of itself."""
    found = []
    for backup in sorted(await repository.store.list_folders(BACKUPS_PREFIX)):
        try:
            found.append(_parsed(await repository.store.get(part_key(backup, "manifest.json"))))
        except NotFound:
            continue
    return found


async def read_manifest(repository: Repository, backup: str, keys: ReadingKeys) -> Manifest:
    """Return the manifest of a backup when the archive has signed it.

    Raises ``NotFound``, ``BadBackup`` and ``Unavailable``.
    """
    try:
        data = await repository.store.get(part_key(backup, "manifest.json"))
        signature = await repository.store.get(part_key(backup, "manifest.sig"))
    except NotFound:
        raise NotFound(f"there is no complete backup {backup} in {repository.where}") from None
    keys.verify(signature, data, f"the manifest of {backup}")
    manifest = _parsed(data)
    if manifest.id != backup:
        raise BadBackup(f"the manifest of {backup} is another backup's")
    return manifest


async def verify_parts(repository: Repository, manifest: Manifest) -> int:
    """Read every part and compare with the manifest; returns the bytes read. Raises ``BadBackup``."""
    total = 0
    for part in manifest.parts:
        digest, size = hashlib.sha256(), 0
        try:
            async for piece in repository.store.stream(part_key(manifest.id, part.name)):
                digest.update(piece)
                size += len(piece)
        except NotFound:
            raise BadBackup(f"{part.name} of {manifest.id} is missing") from None
        if (size, digest.hexdigest()) != (part.size, part.sha256):
            raise BadBackup(f"{part.name} of {manifest.id} is not what was written")
        total += size
    return total


def read_part(
    repository: Repository, manifest: Manifest, name: str, keys: ReadingKeys
) -> AsyncIterator[bytes]:
    """Yield the plaintext of a part. Raises ``BadBackup``, ``NotFound``, ``Unavailable``."""
    key = part_key(manifest.id, name)
    return opened(repository.store.stream(key), keys.private, key)


async def read_document(repository: Repository, manifest: Manifest, name: str, keys: ReadingKeys) -> Any:  # noqa: ANN401 - a JSON value
    """Return a part that is JSON. Raises what ``read_part`` raises."""
    return json.loads(b"".join([piece async for piece in read_part(repository, manifest, name, keys)]))


def _parsed(data: bytes) -> Manifest:
    try:
        document = json.loads(data)
        if document["format"] > FORMAT:
            raise BadBackup(f"the backup {document['id']} is of a newer release")
        parts = [Part(**part) for part in document.pop("parts")]
        base = document.pop("base")
        return Manifest(**document, parts=parts, base=BaseFacts(**base) if base else None)
    except (ValueError, KeyError, TypeError) as error:
        raise BadBackup("a manifest cannot be read") from error


def _text_of(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise BadRequest(f"cannot read {file}: {error.strerror}") from error
