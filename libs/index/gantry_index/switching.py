"""Databases of the index as wholes: one made beside the other, and put in its place.

Services name the index by its connection string. Renaming two databases therefore switches all
of them over at once, without a restart: they lose their connections and find the new index under
the old name. Renaming needs the right to create databases, and to own both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
from gantry_dicom.errors import BadRequest, Conflict, NotFound, Unavailable
from gantry_telemetry.logs import get_logger
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

log = get_logger(__name__)

# A database that every cluster has, to stand in while others are renamed.
_MAINTENANCE = "postgres"
_CONNECT_TIMEOUT = 5
_SCHEMES = ("postgresql", "postgres")
# PostgreSQL cuts names at 63 bytes; the time that is appended to one takes 16.
_NAME_LIMIT = 63 - 16


def sibling(dsn: str, name: str) -> str:
    """Return the connection string of another database of the same cluster.

    A URL, as every service takes it. Raises ``BadRequest`` when ``dsn`` is none.
    """
    database_of(dsn)
    parts = urlsplit(dsn)
    if parts.scheme not in _SCHEMES:
        raise BadRequest("the connection string must be a postgresql:// URL")
    return parts._replace(path=f"/{quote(name, safe='')}").geturl()


def ensure_database(dsn: str) -> bool:
    """Create the database that ``dsn`` names, unless it is there; returns whether it was made.

    Raises ``BadRequest`` for a name that cannot be, and ``Unavailable``.
    """
    name = database_of(dsn)
    with _maintenance(dsn) as connection:
        if _exists(connection, name):
            return False
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name))
        )
    return True


def switch(dsn: str, fresh: str, *, is_index: bool = True) -> str:
    """Put the database ``fresh`` in the place of the one that ``dsn`` names; returns what that is called now.

    Both are disconnected for the moment it takes. What a fresh index would tell of the past has
    been told: its events go first, or everything would be sent on and announced once more.
    Raises ``BadRequest``, ``NotFound`` (one of them is not there), ``Conflict`` and ``Unavailable``.
    """
    name = database_of(dsn)
    if fresh == name:
        raise BadRequest("a database does not take its own place")
    kept = f"{name}_{datetime.now(UTC):%Y%m%dT%H%M%S}"
    with _maintenance(dsn) as connection:
        for each in (name, fresh):
            if not _exists(connection, each):
                raise NotFound(f"there is no database {each}")
        if is_index:
            forget_events(sibling(dsn, fresh))
        for each in (name, fresh):
            _close(connection, each, is_open=False)
        try:
            # One transaction: nobody ever finds no index under the name.
            with connection.transaction():
                _rename(connection, name, kept)
                _rename(connection, fresh, name)
        finally:
            for each in (name, fresh, kept):
                if _exists(connection, each):
                    _close(connection, each, is_open=True)
    log.info("index_switched", database=name, kept=kept)
    return kept


def forget_events(dsn: str) -> None:
    """Let an index announce nothing of what it has taken in so far. Raises ``Unavailable``."""
    with _connected(dsn) as connection:
        connection.execute("DELETE FROM outbox")


def _close(connection: psycopg.Connection[Any], name: str, *, is_open: bool) -> None:
    """Let nobody into a database and end who is there, or let everybody in again."""
    word = sql.SQL("true" if is_open else "false")
    connection.execute(
        sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}").format(sql.Identifier(name), word)
    )
    if not is_open:
        # Waits for each to be gone, up to the time in milliseconds.
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", [name]
        )


def _rename(connection: psycopg.Connection[Any], old: str, new: str) -> None:
    statement = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    connection.execute(statement.format(sql.Identifier(old), sql.Identifier(new)))


def _exists(connection: psycopg.Connection[Any], name: str) -> bool:
    row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
    return row is not None


def database_of(dsn: str) -> str:
    """Return the name of the database of a connection string. Raises ``BadRequest`` without a fitting one."""
    try:
        name = conninfo_to_dict(dsn).get("dbname")
    except psycopg.ProgrammingError as error:
        raise BadRequest("no connection string") from error
    if not name or name == _MAINTENANCE or len(str(name).encode()) > _NAME_LIMIT:
        raise BadRequest(f"the connection string must name a database, of {_NAME_LIMIT} bytes at most")
    return str(name)


def _maintenance(dsn: str) -> AbstractContextManager[psycopg.Connection[Any]]:
    return _connected(make_conninfo(dsn, dbname=_MAINTENANCE))


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=_CONNECT_TIMEOUT) as connection:
            yield connection
    except psycopg.errors.ObjectInUse as error:
        raise Conflict("somebody holds on to a database that is to be renamed") from error
    except psycopg.OperationalError as error:
        raise Unavailable("the database does not answer") from error
