"""What can befall PostgreSQL, Valkey and the S3 server, and the discs under them."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import LiteralString

import psycopg
from gantry_embedded.server import Server
from psycopg import sql

from gantry_testing.faults.scene import Scene, signal_family
from gantry_testing.stack import INDEX_DATABASE, start_again

OLDER_COPY = "older_copy"
# Leaves as many seconds between a backup and the restore of it as a round has room for.
COPY_AGE_SECONDS = 2.0


def server_of(scene: Scene, name: str) -> Server:
    """Return a server of the stack by its name."""
    servers: dict[str, Server | None] = {
        "postgres": scene.stack.postgres,
        "valkey": scene.stack.valkey,
        "s3": scene.stack.s3,
    }
    server = servers[name]
    if server is None:
        raise ValueError(f"the stack has no {name}")
    return server


def crash(scene: Scene, name: str) -> Iterator[float]:
    """Kill it, and start it again after a while."""
    seconds = scene.dice.choice((0.0, 1.0, 4.0))
    scene.tell(f"{name} is killed and away for {seconds:g} s")
    server_of(scene, name).kill()
    yield seconds
    start_again(server_of(scene, name))


def stop(scene: Scene, name: str) -> Iterator[float]:
    """Stop it in order, and start it again after a while."""
    seconds = scene.dice.uniform(0.5, 5.0)
    scene.tell(f"{name} is stopped for {seconds:.1f} s")
    server_of(scene, name).stop()
    yield seconds
    start_again(server_of(scene, name))


def freeze(scene: Scene, name: str) -> Iterator[float]:
    """Let it stand still: connections stay open and nothing answers."""
    seconds = scene.dice.uniform(0.5, 3 * scene.lease_seconds)
    scene.tell(f"SIGSTOP {name} for {seconds:.1f} s")
    child = server_of(scene, name).child
    signal_family(child, signal.SIGSTOP)
    yield seconds
    signal_family(child, signal.SIGCONT)


def stutter(scene: Scene, name: str) -> Iterator[float]:
    """Let it run a third of the time, as on a disc or a processor that has too much to do."""
    seconds = scene.dice.uniform(2.0, 4.0)
    scene.tell(f"{name} runs at a third of its speed for {seconds:.1f} s")
    child = server_of(scene, name).child
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        signal_family(child, signal.SIGSTOP)
        yield 0.2
        signal_family(child, signal.SIGCONT)
        yield 0.1


def flush(scene: Scene, _name: str) -> Iterator[float]:
    """Valkey forgets everything."""
    scene.tell("FLUSHALL")
    scene.stack.valkey.flush()
    yield 0.0


def refuse_writes(scene: Scene, _name: str) -> Iterator[float]:
    """PostgreSQL turns read-only under the services' open connections, as a demoted primary does."""
    seconds = scene.dice.uniform(1.0, 5.0)
    scene.tell(f"PostgreSQL is read-only for {seconds:.1f} s")
    _configure(scene, "ALTER SYSTEM SET default_transaction_read_only = on")
    yield seconds
    _configure(scene, "ALTER SYSTEM RESET default_transaction_read_only")


def fail_over(scene: Scene, _name: str) -> Iterator[float]:
    """An older copy takes the place of the index, and the operator replays the manifests since then."""
    scene.stack.postgres.drop_database(OLDER_COPY)
    with _nobody_connects(scene, INDEX_DATABASE):
        scene.stack.copy_index(OLDER_COPY)
    taken = datetime.now(UTC)
    scene.tell("the index is copied")
    yield COPY_AGE_SECONDS
    scene.tell("the older copy takes the place of the index")
    scene.stack.restore_index(OLDER_COPY)

    def replay() -> None:
        # A batch that was open when the copy was made is older than the copy.
        since = datetime.fromtimestamp(taken.timestamp() - scene.lease_seconds, UTC)
        scene.stack.run("replay", "gantry_storage", "replay", "--since", since.isoformat())

    scene.afterwards.append(replay)


def fill_disk(scene: Scene, name: str) -> Iterator[float]:
    """The disc under a server is full, and has room again after a while."""
    seconds = scene.dice.uniform(1.0, 4.0)
    scene.tell(f"the disc under {name} is full for {seconds:.1f} s")
    disk = scene.disks[name]
    disk.fill()
    yield seconds
    disk.empty()
    # What a server does about it by itself differs; an operator starts it again.
    server_of(scene, name).kill()
    start_again(server_of(scene, name))


@contextmanager
def _nobody_connects(scene: Scene, database: str) -> Iterator[None]:
    """Keep the services out of a database for the block, as a maintenance window does."""
    statement = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
    name = sql.Identifier(database)
    with psycopg.connect(scene.stack.postgres.dsn, autocommit=True) as connection:
        connection.execute(statement.format(name, sql.SQL("false")))
        try:
            yield
        finally:
            connection.execute(statement.format(name, sql.SQL("true")))


def _configure(scene: Scene, statement: LiteralString) -> None:
    with psycopg.connect(scene.stack.postgres.dsn, autocommit=True) as connection:
        connection.execute(statement)
        connection.execute("SELECT pg_reload_conf()")
