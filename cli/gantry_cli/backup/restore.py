"""``gantry restore``: a stack made anew from a backup and the bucket.

Nothing is touched before every part has been read and found to be as its manifest says. A dump is
restored beside the database in use and takes its place when its tables are what they were.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gantry_dicom.errors import BadRequest, Conflict, NotFound
from gantry_embedded.files import private_folder, write_private
from gantry_embedded.postgres import PostgresServer
from gantry_embedded.state import is_running
from gantry_embedded.supervisor import Supervisor
from gantry_index.migrate import migrate, revisions
from gantry_index.switching import database_of, ensure_database, forget_events, sibling, switch
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store

from gantry_cli.backup import recovery
from gantry_cli.backup.create import CORE, INDEX, KEPT_FILES, STATE
from gantry_cli.backup.databases import check_tables, connected, tables_in
from gantry_cli.backup.keys import ReadingKeys
from gantry_cli.backup.objects import BucketCopy
from gantry_cli.backup.programs import connection_of, feed, program
from gantry_cli.backup.repository import (
    POINTER_FILE,
    SIGNING_KEY_FILE,
    Manifest,
    Repository,
    list_backups,
    read_document,
    read_manifest,
    read_part,
    verify_parts,
)
from gantry_cli.backup.sealing import BadBackup
from gantry_cli.options import CHOICES_FILE, CLIENTS_FOLDER, SEAL_KEYS_FILE, choices_of
from gantry_cli.rebuild import run_storage, start_worker
from gantry_cli.stack import CORE_DATABASE, INDEX_DATABASE, Servers, servers_of, start_servers
from gantry_cli.terminal import say

PROCESSES = 2
# Made anew at every start from what is kept, or worth nothing without the database beside it.
REPLACED = ("postgres", "valkey")


@dataclass(frozen=True, slots=True)
class Source:
    """A backup that was verified, and what opens it."""

    repository: Repository
    manifest: Manifest
    keys: ReadingKeys


@dataclass(frozen=True, slots=True)
class Target:
    """What is restored, and where to."""

    state: Path
    replace: bool = False
    # A copy of the bucket that the new stack begins with; None leaves the bucket as it is.
    objects: ObjectStore | None = None
    links: bool = False
    # Prefixes of the copy that are not taken over.
    leave_out: tuple[str, ...] = ()
    # Use the base backup and the archived log: up to a moment, or as far as they reach.
    until: datetime | None = None
    latest: bool = False
    # It takes the place of the stack that was backed up. Any other would archive its log among that one's,
    # and the next recovery would follow the wrong of the two.
    resumes: bool = False
    keep_ports: bool = True


async def find_backup(
    repository: Repository,
    backup: str,
    keys: ReadingKeys,
    until: datetime | None = None,
    *,
    latest: bool = False,
) -> Manifest:
    """Return the named backup's manifest, else of the newest one that the wanted moment is reached from.

    Raises ``NotFound``, ``BadBackup``, ``BadRequest``.
    """
    if not backup:
        found = [each.id for each in await list_backups(repository) if reaches(each, until, latest=latest)]
        if not found:
            wanted = f" from which {until.isoformat()} can be reached" if until else ""
            wanted += " with a base backup" if latest else ""
            raise NotFound(f"{repository.where} holds no complete backup{wanted}")
        backup = found[-1]
    manifest = await read_manifest(repository, backup, keys)
    if not reaches(manifest, until, latest=latest):
        before = " that ended before that moment" if until else ""
        raise BadRequest(f"backup {backup} has no base backup{before}: `gantry backup create --base`")
    return manifest


def reaches(manifest: Manifest, until: datetime | None, *, latest: bool) -> bool:
    """Whether a moment, or the end of the archived log, can be recovered from a backup."""
    if until is None:
        return not latest or manifest.base is not None
    return manifest.base is not None and datetime.fromisoformat(manifest.base.ended) <= until


async def verified(repository: Repository, manifest: Manifest, keys: ReadingKeys) -> dict[str, Any]:
    """Read every part; returns what the backup holds of the state folder.

    Raises ``BadBackup`` when a part is not as it was written, or is of a newer release.
    """
    await verify_parts(repository, manifest)
    known = {"index": revisions()}
    for kind, revision in manifest.schemas.items():
        if kind in known and revision and revision not in known[kind]:
            raise BadBackup(f"the {kind} database of this backup is of a newer release: install that first")
    document: dict[str, Any] = await read_document(repository, manifest, STATE, keys)
    return document


def restore_stack(runner: asyncio.Runner, source: Source, document: dict[str, Any], target: Target) -> None:
    """Make the stack of a state folder anew; it is not running afterwards.

    Raises ``Conflict`` for a folder in use, and what its steps raise.
    """
    check_target(target)
    manifest, state = source.manifest, target.state
    is_recovery = target.until is not None or target.latest
    files: dict[str, str] = document["files"]
    if CHOICES_FILE not in files:
        raise BadRequest(
            f"backup {manifest.id} is not of a local stack: name its databases in the environment"
        )
    seal_keys = merged_keys(
        _text_of(state / SEAL_KEYS_FILE), base64.b64decode(files[SEAL_KEYS_FILE]).decode()
    )
    _put_aside(target)
    _write_files(state, files, target)
    write_private(state / SEAL_KEYS_FILE, seal_keys)
    since: datetime | None = None
    if is_recovery:
        since = recovery.recover(runner, source.repository, manifest, source.keys, state, target.until)
    elif manifest.part(INDEX) is not None:
        since = datetime.fromisoformat(manifest.index_whole_until)
    with _servers_of(state) as (environment, servers):
        if not is_recovery:
            _restore_dumps(runner, source, servers)
        if target.objects is not None:
            _bring_objects(runner, target, environment)
        _bring_index(environment, state / "logs", since)


# Files of a backup that not every restored stack has.
_OPTIONAL_FILES: Mapping[str, Callable[[Target], bool]] = {
    "ports.json": lambda target: target.keep_ports,
    POINTER_FILE: lambda target: target.resumes,
    SIGNING_KEY_FILE: lambda target: target.resumes,
}


def check_target(target: Target) -> None:
    """Raise ``Conflict`` unless the folder may be written to."""
    if is_running(target.state):
        raise Conflict(f"a stack runs in {target.state}: stop it with `gantry down` first")
    held = [name for name in (CHOICES_FILE, *REPLACED) if (target.state / name).exists()]
    if held and not target.replace:
        raise Conflict(
            f"{target.state} holds a stack: name another folder with --state, or put it aside with --replace"
        )


def check_empty(dsn: str, *, replace: bool) -> None:
    """Raise ``Conflict`` when a database holds tables and may not be replaced."""
    ensure_database(dsn)
    with connected(dsn) as connection:
        held = tables_in(connection)
    if held and not replace:
        raise Conflict(f"the database {database_of(dsn)} holds tables: put it aside with --replace")


async def restore_dump(source: Source, name: str, dsn: str) -> str:
    """Restore a dump beside the database that ``dsn`` names and put it in its place.

    Returns what the earlier one is called now. Raises ``BadBackup`` when the tables are not as they
    were dumped; the database in use is then untouched.
    """
    kind = name.removesuffix(".dump")
    ensure_database(dsn)
    fresh = f"{database_of(dsn)}_restored"
    beside = sibling(dsn, fresh)
    if not ensure_database(beside):
        raise Conflict(f"a database {fresh} is there, of a restore that was not finished: drop it")
    target, environment = connection_of(beside)
    argv = (
        *(str(program("pg_restore")), "--exit-on-error", "--single-transaction", "--no-owner"),
        *("--no-privileges", f"--dbname={target}"),
    )
    await feed(argv, environment, read_part(source.repository, source.manifest, name, source.keys))
    check_tables(beside, source.manifest.tables[kind])
    return switch(dsn, fresh, is_index=name == INDEX)


def merged_keys(in_use: str, of_backup: str) -> str:
    """Return the seal keys that open everything in the bucket; those in use seal on.

    A key that was made after the backup has sealed what came after it. Raises ``BadBackup`` when the
    two have different keys under one id: the bucket is not the one of this backup.
    """
    found: dict[str, str] = {}
    for item in filter(None, (item.strip() for item in f"{in_use},{of_backup}".split(","))):
        key_id, _, digits = item.partition(":")
        if found.setdefault(key_id, digits) != digits:
            raise BadBackup(f"the seal key {key_id} of this folder is another one than the backup's")
    return ",".join(f"{key_id}:{digits}" for key_id, digits in found.items())


def _text_of(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""


def _put_aside(target: Target) -> None:
    """Move what the restore replaces; deleting it is for people, once all is well."""
    state = private_folder(target.state)
    names = [*REPLACED, CLIENTS_FOLDER, *(name for name in KEPT_FILES if "/" not in name)]
    names += [name for name in KEPT_FILES if name.startswith("s3/")]
    held = [name for name in names if (state / name).exists()]
    if not held:
        return
    aside = state / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    for name in held:
        private_folder((aside / name).parent)
        (state / name).rename(aside / name)
    say(f"What was there is in {aside}")


def _write_files(state: Path, files: dict[str, str], target: Target) -> None:
    left_out = {name for name, kept in _OPTIONAL_FILES.items() if not kept(target)}
    for name, text in files.items():
        if name in left_out:
            continue
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise BadBackup("a file of the backup lies outside the state folder")
        private_folder((state / name).parent)
        write_private(state / name, base64.b64decode(text).decode())


@contextmanager
def _servers_of(state: Path) -> Iterator[tuple[dict[str, str], Servers]]:
    """Run PostgreSQL, Valkey and S3 of a state folder, without services."""
    supervisor = Supervisor(state, say)
    servers = servers_of(state, choices_of(state).store)
    with supervisor.running():
        environment = start_servers(supervisor, servers)
        supervisor.wait_ready()
        yield environment, servers
    if servers.s3 is not None:
        servers.s3.after_stop()


def _restore_dumps(runner: asyncio.Runner, source: Source, servers: Servers) -> None:
    postgres: PostgresServer = servers.postgres
    for name, database in ((CORE, CORE_DATABASE), (INDEX, INDEX_DATABASE)):
        if source.manifest.part(name) is not None:
            dsn = postgres.dsn_for(database)
            begun = time.monotonic()
            postgres.drop_database(runner.run(restore_dump(source, name, dsn)))
            if name == INDEX:
                migrate(dsn)
            say(f"Database {database} restored in {time.monotonic() - begun:.1f} s, its tables as they were")


def _bring_objects(runner: asyncio.Runner, target: Target, environment: dict[str, str]) -> None:
    if target.objects is None:
        return
    settings = StoreSettings.from_environment(environment)
    store = open_store(environment["GANTRY_STORE_URL"], options=settings)
    sealer = Sealer.from_text(environment["GANTRY_SEAL_KEYS"])
    copying = BucketCopy(
        target.objects, store, sealer, links=target.links, leave_out=target.leave_out, into_use=True
    )
    report = runner.run(copying.run())
    runner.run(store.close())
    say(f"Bucket: {report.objects} objects of {report.manifests} batches, {report.records} records")
    _complain_of(report.damaged, "are not as their manifest says and were left out")
    _complain_of(report.missing, "are not in the copy")


def _complain_of(keys: list[str], what: str) -> None:
    if keys:
        say(f"  {len(keys)} objects {what}: {', '.join(keys[:3])}{' ...' if len(keys) > 3 else ''}")


def _bring_index(environment: dict[str, str], logs: Path, since: datetime | None) -> None:
    """Index what the bucket holds and the index does not; the past is announced to nobody again."""
    beside = {**os.environ, **environment}
    worker = start_worker(beside, PROCESSES, logs)
    try:
        arguments = ["rebuild"] if since is None else ["replay", "--since", since.isoformat()]
        if run_storage(beside, *arguments):
            raise Conflict("the index is not whole yet: `gantry rebuild --switch` makes it so")
    finally:
        worker.stop()
    forget_events(environment["GANTRY_INDEX_DSN"])
