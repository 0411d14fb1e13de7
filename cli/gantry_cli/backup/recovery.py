"""Recovery of a cluster from a base backup and the archived log, up to a moment or to the log's end."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import tarfile
import tempfile
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from gantry_dicom.errors import BadRequest, Unavailable
from gantry_embedded.errors import NotReady
from gantry_embedded.files import private_folder
from gantry_embedded.postgres import PostgresServer, server_account
from gantry_embedded.process import ChildProcess

from gantry_cli.backup import wal
from gantry_cli.backup.create import BASE
from gantry_cli.backup.databases import connected
from gantry_cli.backup.keys import ReadingKeys
from gantry_cli.backup.programs import program
from gantry_cli.backup.repository import Manifest, Repository, read_part
from gantry_cli.backup.sealing import BadBackup
from gantry_cli.terminal import say

RECOVERY_SECONDS = 24 * 3600.0
POLL_SECONDS = 0.2
_TOO_EARLY = "recovery ended before configured recovery target was reached"
_LAST = re.compile(r"last completed transaction was at log time ([^\n|(]+)")


def recover(
    runner: asyncio.Runner,
    repository: Repository,
    manifest: Manifest,
    keys: ReadingKeys,
    state: Path,
    until: datetime | None,
) -> datetime:
    """Make the cluster of a state folder anew, and stop it again; returns the moment it has reached.

    Raises ``BadBackup``, and ``BadRequest`` when the archived log does not reach ``until``.
    """
    base = manifest.base
    if base is None:
        raise BadRequest(f"backup {manifest.id} has no base backup")
    folder = private_folder(state / "postgres")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".wal-", dir=folder) as archived:
        log = Path(archived)
        data = folder / "data"
        data.mkdir(mode=0o700)
        runner.run(_extract(repository, manifest, keys, data))
        _verify_base(data)
        reached = runner.run(wal.fetch(repository, base.system, base.first_segment, log, keys))
        (data / "recovery.signal").touch()
        _own(data, log)
        say(f"Base backup and {reached.files} files of the log fetched in {time.monotonic() - begun:.1f} s")
        settings = {
            "restore_command": f"cp {shlex.quote(str(log))}/%f %p",
            "recovery_target_action": "promote",
            "recovery_target_timeline": "latest",
        }
        if until is not None:
            settings["recovery_target_time"] = until.astimezone(UTC).isoformat()
        moment = _run_recovery(folder, settings, until, datetime.fromisoformat(manifest.moment))
    say(f"Recovered up to {moment.isoformat()} in {time.monotonic() - begun:.1f} s")
    return moment


async def _extract(repository: Repository, manifest: Manifest, keys: ReadingKeys, data: Path) -> None:
    """Unpack the base backup through a pipe: it is nowhere in the open but in its place."""
    reading, writing = os.pipe()
    unpacking = asyncio.create_task(asyncio.to_thread(_unpack, reading, data))
    try:
        with os.fdopen(writing, "wb") as pipe:
            async for piece in _inflated(read_part(repository, manifest, BASE, keys)):
                await asyncio.to_thread(pipe.write, piece)
    except BrokenPipeError:
        pass  # it says itself why it ended
    await unpacking


def _unpack(descriptor: int, data: Path) -> None:
    try:
        with os.fdopen(descriptor, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            archive.extractall(data, filter="data")
    except tarfile.TarError as error:
        raise BadBackup(f"the base backup cannot be unpacked: {error}") from error


async def _inflated(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    inflater = zlib.decompressobj()
    async for piece in pieces:
        yield inflater.decompress(piece)
    yield inflater.flush()


def _verify_base(data: Path) -> None:
    """Let PostgreSQL's own program compare every file with the list that the server wrote."""
    done = subprocess.run(
        [str(program("pg_verifybackup")), "--no-parse-wal", "--quiet", str(data)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BadBackup(f"the base backup is not whole: {done.stderr.strip().splitlines()[-1:]}")


def _own(*folders: Path) -> None:
    account = server_account()
    if account is None:
        return
    for folder in folders:
        for each in (folder, *folder.rglob("*")):
            os.chown(each, account.uid, account.gid, follow_symlinks=False)


def _run_recovery(
    folder: Path, settings: dict[str, str], until: datetime | None, base_moment: datetime
) -> datetime:
    server = PostgresServer(folder, settings=settings)
    server.prepare()
    # Until the base backup is consistent nobody is let in, however long that takes.
    child = ChildProcess(replace(server.spec(), ready_seconds=RECOVERY_SECONDS))
    try:
        child.wait_ready()
        return _wait_promoted(server, child, base_moment)
    except NotReady as error:
        words = (folder / "postgres.log").read_text(errors="replace")
        if until is not None and _TOO_EARLY in words:
            last = _LAST.findall(words)
            ends = f"; the last change in it is of {last[-1].strip()}" if last else ""
            raise BadRequest(
                f"the archived log does not reach {until.isoformat()}{ends}. `--latest` recovers all of it"
            ) from error
        raise
    finally:
        child.stop()


def _wait_promoted(server: PostgresServer, child: ChildProcess, base_moment: datetime) -> datetime:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < deadline:
        with suppress(Unavailable), connected(server.dsn) as connection:
            row = connection.execute("SELECT pg_is_in_recovery(), pg_last_xact_replay_timestamp()").fetchone()
            if row and not row[0]:
                return row[1] or base_moment
        if not child.is_alive():
            raise NotReady(f"PostgreSQL ended while it recovered: {child.last_words()}")
        time.sleep(POLL_SECONDS)
    raise Unavailable("the recovery takes longer than a day")
