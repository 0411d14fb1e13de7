"""``gantry backup ...`` and ``gantry restore``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path

from gantry_dicom.errors import BadRequest
from gantry_embedded.files import write_private
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.store import open_store
from gantry_telemetry import configure

from gantry_cli.access import AccessOptions
from gantry_cli.backup import drill as drills
from gantry_cli.backup import keys as backup_keys
from gantry_cli.backup import restore as restoring
from gantry_cli.backup.create import CORE, INDEX, Wanted, create
from gantry_cli.backup.objects import ERRANDS, BucketCopy
from gantry_cli.backup.places import archive_of
from gantry_cli.backup.repository import (
    Manifest,
    Repository,
    check_recipient,
    list_backups,
    make_repository,
    open_repository,
    passphrase_of,
    reading_keys,
    remember,
    remembered,
)
from gantry_cli.backup.restore import Source, Target
from gantry_cli.backup.witness import witness_of
from gantry_cli.exits import FAILED, OK
from gantry_cli.options import OBJECTS_FOLDER
from gantry_cli.terminal import say, table

DSN_VARIABLES = {CORE: "GANTRY_CORE_DSN", INDEX: "GANTRY_INDEX_DSN"}


def run(options: argparse.Namespace) -> int:
    """Run one action of ``backup``. Raises the ``GantryError`` that it ends with."""
    actions = {
        "init": _init,
        "create": _create,
        "list": _list,
        "verify": _verify,
        "keys": _keys,
        "objects": _objects,
        "drill": _drill,
        "forget": _forget,
    }
    configure("gantry", "WARNING")
    with asyncio.Runner() as runner:
        return actions[options.action](runner, options)


def restore(options: argparse.Namespace) -> int:
    """Run ``gantry restore``. Raises the ``GantryError`` that it ends with."""
    configure("gantry", "WARNING")
    with asyncio.Runner() as runner, _source(runner, options) as source:
        document = runner.run(restoring.verified(source.repository, source.manifest, source.keys))
        say(f"Backup {source.manifest.id} is whole")
        if os.environ.get("GANTRY_STORE_URL"):
            return _restore_databases(runner, source, options)
        with _store(runner, options.objects) as objects:
            target = Target(
                options.state.absolute(),
                replace=options.replace,
                resumes=options.replace or options.resume,
                objects=objects,
                until=options.until,
                latest=options.latest,
            )
            restoring.restore_stack(runner, source, document, target)
    say(f"Restored. `gantry up --state {options.state}` starts it.")
    return OK


def _init(runner: asyncio.Runner, options: argparse.Namespace) -> int:
    writing, reading = backup_keys.new_keys()
    passphrase = "" if options.key_to else passphrase_of(options.passphrase_file)
    if options.key_to and options.key_to.exists():
        raise BadRequest(f"{options.key_to} is there already")
    if options.key_to:
        # First: a repository whose key is nowhere would be worth nothing.
        write_private(options.key_to, backup_keys.as_text(reading))
    runner.run(make_repository(options.repository, writing, reading, passphrase))
    remember(options.state.absolute(), options.repository, writing, archive_wal=not options.no_wal)
    if options.key_to:
        say(f"What opens the backups is in {options.key_to} and nowhere else: keep it away from here.")
    else:
        say("Without the passphrase the backups cannot be opened: keep it away from here.")
    if not options.no_wal:
        say("A local stack archives its log from its next start on (`gantry down`, `gantry up`).")
    return OK


def _create(runner: asyncio.Runner, options: argparse.Namespace) -> int:
    archive = archive_of(options.state.absolute())
    pointer, keys = remembered(options.state.absolute())
    repository = runner.run(open_repository(pointer["repository"]))
    check_recipient(repository, keys)
    wanted = Wanted(index=options.with_index, base=options.base, studies=options.studies)
    try:
        made = runner.run(create(repository, keys, archive, AccessOptions(options.state.absolute()), wanted))
    finally:
        runner.run(repository.store.close())
        runner.run(archive.store.close())
    say(json.dumps(asdict(made), indent=1) if options.json else f"Backup {made.id} in {repository.where}")
    if not options.json:
        for part in made.parts:
            say(f"  {part.name:<16}{part.size:>14,} bytes")
    return OK


def _list(runner: asyncio.Runner, options: argparse.Namespace) -> int:
    repository = runner.run(_repository(options))
    found = runner.run(list_backups(repository))
    runner.run(repository.store.close())
    if options.json:
        say(json.dumps([asdict(each) for each in found], indent=1))
        return OK
    for line in table(("BACKUP", "MOMENT (UTC)", "BYTES", "HOLDS", "RELEASE"), map(_row, found)):
        say(line)
    return OK


def _verify(runner: asyncio.Runner, options: argparse.Namespace) -> int:
    with _source(runner, options) as source:
        runner.run(restoring.verified(source.repository, source.manifest, source.keys))
    say(f"Backup {source.manifest.id} is whole and of this archive.")
    return OK


def _keys(runner: asyncio.Runner, options: argparse.Namespace) -> int:
    with _source(runner, options) as source:
        document = runner.run(restoring.verified(source.repository, source.manifest, source.keys))
    write_private(options.to, json.dumps(document, indent=1))
    say(f"Keys, secrets and settings are in {options.to}, for its owner only")
    return OK


def _objects(runner: asyncio.Runner, options: argparse.Namespace) -> int:
    archive = archive_of(options.state.absolute())
    with _store(runner, options.destination) as target:
        if target is None:
            raise BadRequest("name a destination")
        report = runner.run(BucketCopy(archive.store, target, archive.sealer, check=options.check).run())
    runner.run(archive.store.close())
    if options.json:
        say(json.dumps(asdict(report), indent=1, default=str))
    else:
        say(
            f"{report.objects} objects of {report.manifests} new batches and {report.records} records copied,"
            f" {report.bytes / 1e6:.1f} MB, every digest compared"
        )
        for what, names in (("is missing in the archive", report.missing), ("is damaged", report.damaged)):
            for name in names:
                say(f"  {name} {what}")
    return FAILED if report.damaged else OK


def _drill(runner: asyncio.Runner, options: argparse.Namespace) -> int:
    with _source(runner, options) as source, _scratch(options.scratch) as folder:
        document = runner.run(restoring.verified(source.repository, source.manifest, source.keys))
        live = witness_of(AccessOptions(options.state.absolute()))
        objects = options.objects or _own_objects(options.state.absolute())
        with _store(runner, objects) as copy:
            target = Target(
                folder / "state",
                objects=copy,
                links=True,
                leave_out=ERRANDS,
                until=options.until,
                latest=options.latest,
                keep_ports=False,
            )
            # What it says on its way is not its answer.
            with redirect_stdout(sys.stderr):
                report = drills.drill(runner, source, document, target, live)
    if options.json:
        say(drills.as_json(report))
    else:
        for line in drills.describe(report):
            say(line)
    return FAILED if report.differences else OK


def _forget(runner: asyncio.Runner, options: argparse.Namespace) -> int:
    from gantry_cli.backup.forgetting import forget

    repository = runner.run(_repository(options))
    gone, files = runner.run(forget(repository, options.keep))
    runner.run(repository.store.close())
    say(f"{len(gone)} backups and {files} files of the log deleted; the newest {options.keep} are kept")
    return OK


def _restore_databases(runner: asyncio.Runner, source: Source, options: argparse.Namespace) -> int:
    """Restore the dumps into the databases that the environment names."""
    if options.until or options.latest:
        raise BadRequest("the point in time of a database elsewhere is a matter of its own service")
    held = {item.partition(":")[0].strip() for item in os.environ.get("GANTRY_SEAL_KEYS", "").split(",")}
    if missing := sorted(set(source.manifest.seal_keys) - held):
        raise BadRequest(
            f"GANTRY_SEAL_KEYS lacks {', '.join(missing)}, without which the bucket cannot be read; "
            "`gantry backup keys` takes them out of the backup"
        )
    for name, variable in DSN_VARIABLES.items():
        if source.manifest.part(name) is None or not os.environ.get(variable):
            continue
        restoring.check_empty(os.environ[variable], replace=options.replace)
        kept = runner.run(restoring.restore_dump(source, name, os.environ[variable]))
        say(f"{name} restored, its tables as they were; what was there is the database {kept}")
    say(f"Then: python -m gantry_storage replay --since {source.manifest.index_whole_until}")
    return OK


def _row(manifest: Manifest) -> tuple[str, ...]:
    size = sum(part.size for part in manifest.parts)
    names = ", ".join(part.name.split(".")[0] for part in manifest.parts)
    return manifest.id, manifest.moment[:19], f"{size:,}", names, manifest.version


@contextmanager
def _source(runner: asyncio.Runner, options: argparse.Namespace) -> Iterator[Source]:
    """Give the backup that was named, once its manifest is known to be the archive's."""
    repository = runner.run(_repository(options))
    try:
        keys = reading_keys(repository, options.passphrase_file, options.key_file)
        until, latest = getattr(options, "until", None), getattr(options, "latest", False)
        found = restoring.find_backup(repository, options.backup or "", keys, until, latest=latest)
        manifest = runner.run(found)
        yield Source(repository, manifest, keys)
    finally:
        runner.run(repository.store.close())


async def _repository(options: argparse.Namespace) -> Repository:
    where = options.repository or remembered(options.state.absolute())[0]["repository"]
    return await open_repository(where)


@contextmanager
def _store(runner: asyncio.Runner, where: str | None) -> Iterator[ObjectStore | None]:
    store = None
    if where:
        store = open_store(where if "://" in where else Path(where).absolute().as_uri())
    try:
        yield store
    finally:
        if store is not None:
            runner.run(store.close())


def _own_objects(state: Path) -> str:
    if not (state / OBJECTS_FOLDER).exists():
        raise BadRequest("name a copy of the bucket: --objects; `gantry backup objects` makes one")
    return str(state / OBJECTS_FOLDER)


@contextmanager
def _scratch(named: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="gantry-drill-", dir=named))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
