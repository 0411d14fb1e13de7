"""``gantry backup create``: dumps, a base backup, keys, configuration and what the archive answers."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gantry_dicom.errors import BadRequest, Conflict, GantryError
from gantry_embedded.postgres import PostgresServer
from gantry_index.migrate import current_revision
from gantry_objectstore.keys import JOURNAL_PREFIX, MANIFEST_PREFIX, batch_time, parse_journal_key
from gantry_objectstore.protocol import ObjectStore

from gantry_cli.access import AccessOptions
from gantry_cli.backup.databases import Snapshot, base_backup, connected, dump, snapshot_of
from gantry_cli.backup.keys import WritingKeys
from gantry_cli.backup.places import Archive
from gantry_cli.backup.repository import (
    POINTER_FILE,
    SIGNING_KEY_FILE,
    BaseFacts,
    Manifest,
    Part,
    Repository,
    list_backups,
    new_id,
    write_manifest,
    write_part,
)
from gantry_cli.backup.wal import system_of
from gantry_cli.backup.witness import Answer, Question, Witness, stood_still, witness_of
from gantry_cli.options import CHOICES_FILE, CLIENTS_FOLDER, SEAL_KEYS_FILE
from gantry_cli.stack import ADMIN_PASSWORD

CORE, INDEX, BASE, STATE, WITNESS = "core.dump", "index.dump", "base.tar", "state.json", "witness.json"
STUDIES_ASKED = 25
# Of a state folder: what is not made anew by itself, and may not be lost.
KEPT_FILES = (
    CHOICES_FILE,
    SEAL_KEYS_FILE,
    ADMIN_PASSWORD,
    POINTER_FILE,
    SIGNING_KEY_FILE,
    "ports.json",
    "postgres/password",
    "valkey/password",
    "s3/access-key",
    "s3/secret-key",
    "s3/sse-key",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a backup shall hold beside `core`, keys and configuration."""

    index: bool = False
    base: bool = False
    studies: int = STUDIES_ASKED


async def create(
    repository: Repository, keys: WritingKeys, archive: Archive, access: AccessOptions, wanted: Wanted
) -> Manifest:
    """Make a backup and return its manifest.

    Raises ``BadRequest`` for what this archive cannot give, ``Conflict``, and ``Unavailable``.
    """
    if wanted.base and archive.folder is None:
        raise BadRequest(
            "a base backup is made of the local stack; elsewhere the database's own service makes it"
        )
    if wanted.index and not archive.index_dsn:
        raise BadRequest("GANTRY_INDEX_DSN does not name the index")
    now = datetime.now(UTC)
    backup = new_id(now)
    if any(each.id == backup for each in await list_backups(repository)):
        raise Conflict("a backup was begun within this second")
    witness = witness_of(access) if archive.folder is not None else None
    questions = witness.questions(await _partitions(archive), wanted.studies) if witness else []
    before = _ask(witness, questions)
    whole_until = await oldest_undecided(archive.store, now)
    manifest = Manifest(
        id=backup,
        moment=now.isoformat(),
        index_whole_until=whole_until.isoformat(),
        version=version("gantry-cli"),
        postgres="",
        schemas={},
        tables={},
        seal_keys=[item.partition(":")[0].strip() for item in archive.seal_keys.split(",")],
    )
    for name, dsn in _dumped(archive, wanted).items():
        manifest = await _add_dump(repository, manifest, name, dsn)
    if wanted.base and archive.folder is not None:
        manifest = await _add_base(repository, manifest, archive.folder)
    kept = stood_still(before, _ask(witness, questions))
    documents: dict[str, Any] = {
        STATE: state_document(archive.folder, os.environ),
        WITNESS: [asdict(answer) for answer in kept],
    }
    for name, document in documents.items():
        part = await write_part(repository, backup, name, _once(json.dumps(document).encode()))
        manifest = _with(manifest, part)
    await write_manifest(repository, manifest, keys.signer)
    return manifest


def state_document(folder: Path | None, environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return keys, secrets and choices of a state folder, and the settings in the environment."""
    files: dict[str, str] = {}
    if folder is not None:
        clients = folder / CLIENTS_FOLDER
        names = [*KEPT_FILES, *(f"{CLIENTS_FOLDER}/{file.name}" for file in clients.glob("[!.]*"))]
        files = {
            name: base64.b64encode((folder / name).read_bytes()).decode()
            for name in names
            if (folder / name).is_file()
        }
    settings = {
        name: value
        for name, value in environment.items()
        if name.startswith("GANTRY_") and not name.startswith("GANTRY_BACKUP_")
    }
    return {"files": files, "environment": settings}


async def oldest_undecided(store: ObjectStore, now: datetime) -> datetime:
    """Return the moment before which every reception has its verdict in the index.

    A journal entry stays until its batch has: the oldest of them bounds what a dump may lack.
    """
    moments = [now]
    async for info in store.list(JOURNAL_PREFIX):
        try:
            moments.append(batch_time(parse_journal_key(info.key)))
        except GantryError:
            continue
    return min(moments)


def _dumped(archive: Archive, wanted: Wanted) -> dict[str, str]:
    found = {CORE: archive.core_dsn} if archive.core_dsn else {}
    return found | ({INDEX: archive.index_dsn} if wanted.index else {})


async def _add_dump(repository: Repository, manifest: Manifest, name: str, dsn: str) -> Manifest:
    kind = name.removesuffix(".dump")
    with ExitStack() as afterwards:
        held: Snapshot = await asyncio.to_thread(afterwards.enter_context, snapshot_of(dsn))
        part = await write_part(repository, manifest.id, name, dump(held))
    revision = await asyncio.to_thread(current_revision, dsn)
    return replace(
        _with(manifest, part),
        postgres=held.server,
        schemas={**manifest.schemas, kind: revision or ""},
        tables={**manifest.tables, kind: held.tables},
    )


async def _add_base(repository: Repository, manifest: Manifest, folder: Path) -> Manifest:
    server = PostgresServer(folder / "postgres").recall()
    with connected(server.dsn) as connection:
        row = connection.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchone()
    first_segment = str(row[0]) if row else ""
    part = await write_part(repository, manifest.id, BASE, base_backup(server.dsn))
    facts = BaseFacts(system_of(server.data_folder), first_segment, datetime.now(UTC).isoformat())
    return replace(_with(manifest, part), base=facts)


def _with(manifest: Manifest, part: Part) -> Manifest:
    return replace(manifest, parts=[*manifest.parts, part])


async def _partitions(archive: Archive) -> list[str]:
    return sorted({"main", *await archive.store.list_folders(MANIFEST_PREFIX)})


def _ask(witness: Witness | None, questions: list[Question]) -> list[Answer]:
    return [witness.ask(question) for question in questions] if witness else []


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
