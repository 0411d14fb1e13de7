"""Dumps by ``pg_dump``, backups of a cluster by ``pg_basebackup``, and what proves a restore equal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from gantry_dicom.errors import Unavailable
from isal import isal_zlib
from psycopg import sql

from gantry_cli.backup.programs import connection_of, output_of, program
from gantry_cli.backup.sealing import BadBackup

CONNECT_SECONDS = 10
_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' ORDER BY 1, 2
"""
# The order of rows does not matter, their text does; sixty bits of each row's hash are added up.
_DIGEST = """
SELECT count(*)::text, coalesce(sum(('x' || left(md5(t::text), 15))::bit(60)::bigint), 0)::text FROM {} t
"""
Tables = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A database as it is at one moment, for as long as it is held."""

    dsn: str
    id: str
    moment: datetime
    server: str
    tables: Tables


@contextmanager
def snapshot_of(dsn: str) -> Iterator[Snapshot]:
    """Hold a database at this moment. Raises ``Unavailable``."""
    with connected(dsn) as connection:
        moment = datetime.now(UTC)
        connection.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        exported = _one(connection, "SELECT pg_export_snapshot()")
        server = _one(connection, "SHOW server_version")
        yield Snapshot(dsn, exported, moment, server, tables_of(connection))


def dump(snapshot: Snapshot) -> AsyncIterator[bytes]:
    """Yield the database of a snapshot in ``pg_dump``'s custom format, which compresses."""
    target, environment = connection_of(snapshot.dsn)
    return output_of(
        (
            *(str(program("pg_dump")), "--format=custom", f"--snapshot={snapshot.id}"),
            *("--no-owner", "--no-privileges", f"--dbname={target}"),
        ),
        environment,
    )


async def base_backup(dsn: str) -> AsyncIterator[bytes]:
    """Yield the whole cluster as a compressed tar, with the WAL that makes it whole."""
    target, environment = connection_of(dsn)
    argv = (
        *(str(program("pg_basebackup")), "--pgdata=-", "--format=tar", "--wal-method=fetch"),
        *("--checkpoint=fast", "--label=gantry", "--no-password", f"--dbname={target}"),
    )
    compressor = isal_zlib.compressobj(1)
    async for piece in output_of(argv, environment):
        if ready := compressor.compress(piece):
            yield ready
    yield compressor.flush()


def tables_of(connection: psycopg.Connection[Any]) -> Tables:
    """Return the number of rows and a digest of the content of every table."""
    connection.execute("SET TIME ZONE 'UTC'")
    connection.execute("SET DateStyle = 'ISO'")
    found = {}
    for schema, name in tables_in(connection):
        row = connection.execute(sql.SQL(_DIGEST).format(sql.Identifier(schema, name))).fetchone()
        found[f"{schema}.{name}"] = list(row or ())
    return found


def tables_in(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """Return schema and name of every table of ours."""
    return [(str(schema), str(name)) for schema, name in connection.execute(_TABLES).fetchall()]


def check_tables(dsn: str, expected: Tables) -> None:
    """Raise ``BadBackup`` unless a restored database holds the very rows that were dumped."""
    with connected(dsn) as connection:
        found = tables_of(connection)
    different = sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    )
    if different:
        raise BadBackup(f"after the restore these tables are not as they were: {', '.join(different)}")


@contextmanager
def connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect to a database. Raises ``Unavailable``."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_SECONDS) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise Unavailable(f"the database does not answer: {str(error).strip()}") from error


def _one(connection: psycopg.Connection[Any], statement: str) -> str:
    row = connection.execute(statement.encode()).fetchone()
    return str(row[0]) if row else ""
