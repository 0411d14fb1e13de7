"""``gantry rebuild``: the index made anew from the bucket, beside the one in use.

The service that indexes and the one that replays are run once more, on a database and a queue of
their own; the archive goes on with its own. Every pass leaves out what is done, so an interrupted
rebuild is simply started again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from gantry_dicom.errors import BadRequest, Unavailable
from gantry_embedded.ports import free_port
from gantry_embedded.postgres import PostgresServer
from gantry_embedded.process import ChildProcess
from gantry_embedded.s3 import S3Server
from gantry_embedded.valkey import ValkeyServer
from gantry_index.migrate import migrate
from gantry_index.switching import database_of, ensure_database, sibling, switch

from gantry_cli.exits import OK
from gantry_cli.options import OBJECTS_FOLDER, S3_FOLDER, SEAL_KEYS_FILE, store_of
from gantry_cli.services import Service, service_spec
from gantry_cli.stack import INDEX_DATABASE
from gantry_cli.terminal import say
from gantry_cli.tokens import read_secret

NEEDED = ("GANTRY_STORE_URL", "GANTRY_INDEX_DSN", "GANTRY_REDIS_URL", "GANTRY_SEAL_KEYS")
# Redis has sixteen; the services use the first.
QUEUE_DATABASE = 15
# Chunks under way for each process: one in hand, others read ahead of it.
CHUNKS_A_PROCESS = 8


def rebuild(options: argparse.Namespace) -> int:
    """Rebuild, and switch when asked to. Raises the ``GantryError`` that it ends with."""
    if options.switch and (options.until or options.partition):
        raise BadRequest("only a whole index can take the place of the one in use")
    live = surroundings(options.state)
    used = database_of(live["GANTRY_INDEX_DSN"])
    name = options.database or f"{used}_rebuilt"
    if name == used:
        raise BadRequest(f"{name} is the index in use")
    dsn = sibling(live["GANTRY_INDEX_DSN"], name)
    say(f"{'New' if ensure_database(dsn) else 'Going on with'} database {name}")
    migrate(dsn)
    queue = options.queue or _queue_beside(live["GANTRY_REDIS_URL"])
    beside = {**live, "GANTRY_INDEX_DSN": dsn, "GANTRY_REDIS_URL": queue}
    with tempfile.TemporaryDirectory(prefix="gantry-rebuild-") as logs:
        worker = start_worker(beside, options.processes, Path(logs))
        try:
            _pass(beside, options)
            if options.switch:
                # What came meanwhile: the gap to be closed after the switch is then a small one.
                _pass(beside, options)
        finally:
            worker.stop()
    if options.switch:
        kept = switch(live["GANTRY_INDEX_DSN"], name)
        say(f"Switched: {used} is the new index, {kept} the old one")
        _pass(live, options)
    else:
        say(f"The index in use is as it was; with --switch {name} is brought up to date and takes its place")
    return OK


def surroundings(state: Path) -> dict[str, str]:
    """Return the environment of the services: that of this process, else of the stack in ``state``.

    Raises ``BadRequest`` when it is incomplete, ``NotFound`` and ``CannotRun`` for a folder without a stack.
    """
    named = [name for name in NEEDED if os.environ.get(name)]
    if named:
        missing = sorted(set(NEEDED) - set(named))
        if missing:
            raise BadRequest(f"the environment lacks {', '.join(missing)}")
        return dict(os.environ)
    return local_surroundings(state)


def local_surroundings(state: Path) -> dict[str, str]:
    """Return the environment of the services of the stack in ``state``.

    Raises ``NotFound`` and ``CannotRun`` for a folder without one.
    """
    kind = store_of(state)
    found = {
        "GANTRY_INDEX_DSN": PostgresServer(state / "postgres").recall().dsn_for(INDEX_DATABASE),
        "GANTRY_REDIS_URL": ValkeyServer(state / "valkey").recall().url,
        "GANTRY_SEAL_KEYS": read_secret(state / SEAL_KEYS_FILE),
        "GANTRY_STORE_URL": (state / OBJECTS_FOLDER).absolute().as_uri(),
    }
    if kind == "s3":
        server = S3Server(state / S3_FOLDER).recall()
        found |= {
            "GANTRY_STORE_URL": server.url,
            "GANTRY_S3_ACCESS_KEY": server.access_key,
            "GANTRY_S3_SECRET_KEY": server.secret_key,
        }
    return {**os.environ, **found}


def _queue_beside(redis_url: str) -> str:
    parts = urlsplit(redis_url)
    if parts.path.strip("/") == str(QUEUE_DATABASE):
        raise BadRequest(f"database {QUEUE_DATABASE} of Redis is in use; name another with --queue")
    return parts._replace(path=f"/{QUEUE_DATABASE}").geturl()


def start_worker(environment: Mapping[str, str], processes: int, folder: Path) -> ChildProcess:
    """Start an indexer worker of our own, with its logs in ``folder``. Raises ``NotReady``."""
    service = Service("rebuild-worker", "gantry_indexer", ("worker",))
    own = {**environment, "GANTRY_WORKER_PROCESSES": str(processes)}
    worker = ChildProcess(service_spec(service, own, free_port(), folder, folder))
    try:
        worker.wait_ready()
    except BaseException:
        worker.kill()
        raise
    return worker


def _pass(environment: Mapping[str, str], options: argparse.Namespace) -> None:
    """Index what has no verdict yet, and wait for it. Raises ``Unavailable``."""
    arguments = ["rebuild", "--window", str(options.processes * CHUNKS_A_PROCESS)]
    arguments += ["--partition", options.partition] if options.partition else []
    arguments += ["--until", options.until.isoformat()] if options.until else []
    if run_storage(environment, *arguments):
        raise Unavailable("the rebuild was not finished; start it again, it goes on where it ended")


def run_storage(environment: Mapping[str, str], *arguments: str) -> int:
    """Run one of the storage service's commands to its end and return the exit code."""
    command = [sys.executable, "-P", "-m", "gantry_storage", *arguments]
    sys.stdout.flush()
    return subprocess.run(command, env=dict(environment), stdout=sys.stdout, check=False).returncode
