"""The core database: a pool that a service can start without, and rows as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString, TypeVar

import psycopg
from gantry_dicom.errors import BadRequest, Unavailable
from gantry_telemetry.logs import get_logger
from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

log = get_logger(__name__)

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]
Parameters = Sequence[object] | Mapping[str, object]

_OPTIONS = (
    "-c timezone=UTC -c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s"
)


class Database:
    """Lends connections; used from threads, one transaction at a time each."""

    def __init__(self, dsn: str, *, size: int = 8, timeout: float = 5.0) -> None:
        self._pool = ConnectionPool(
            dsn,
            kwargs={"connect_timeout": 3, "application_name": "gantry-auth", "options": _OPTIONS},
            min_size=0,
            max_size=size,
            timeout=timeout,
            max_idle=60.0,
            reconnect_timeout=timeout,
            # A connection that died with its server must not cost somebody their login.
            check=ConnectionPool.check_connection,
            open=False,
        )

    def open(self) -> None:
        """Let the pool connect when it is asked to; needs no server now."""
        self._pool.open()

    def close(self) -> None:
        """End every connection."""
        self._pool.close(timeout=5.0)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Lend a connection; what was done is kept when the block ends well.

        Raises ``Unavailable``; ``BadRequest`` for a value that no column can hold, as one with a NUL.
        """
        try:
            with self._pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            log.warning(
                "core_database_trouble", reason=getattr(error, "sqlstate", None) or type(error).__name__
            )
            raise Unavailable("the database of logins does not serve") from error
        except psycopg.DataError as error:
            log.warning("core_database_refused_value", reason=error.sqlstate or type(error).__name__)
            raise BadRequest("a value has characters or a length that cannot be kept") from error


def one(connection: Connection, kind: type[T], sql: LiteralString, parameters: Parameters = ()) -> T | None:
    """Return the first row as a ``kind``, whose fields are named like the columns."""
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(sql, parameters).fetchone()


def every(connection: Connection, kind: type[T], sql: LiteralString, parameters: Parameters = ()) -> list[T]:
    """Return all rows as values of ``kind``."""
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(sql, parameters).fetchall()
