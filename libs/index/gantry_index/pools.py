"""Connections to the index database that a service can start without.

A pool connects when it is first used, so a service runs while PostgreSQL is down; an
operation then raises ``Unavailable``. A server that has failed over shows in one of two
ways: it ends our connections, or it stays up read-only (SQLSTATE 25006) and answers old
data. Both drop every pooled connection, so the next operation resolves the name again and
meets the new primary.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

import asyncpg
from gantry_dicom.errors import Unavailable
from gantry_dicom.fuzzy_names import LEAST
from gantry_telemetry.logs import get_logger
from gantry_telemetry.metrics import counter, gauge, histogram

log = get_logger(__name__)

TROUBLES = counter("gantry_index_database_trouble", "Operations the index database did not serve", ["reason"])
LENT = gauge("gantry_index_pool_connections_in_use", "Connections to the index database that are lent out")
MOST = gauge("gantry_index_pool_connections_limit", "Connections to the index database that may be open")
WAIT = histogram("gantry_index_pool_wait_seconds", "Until a connection to the index database was lent")

Connection = Any
"""An ``asyncpg`` connection out of a pool."""

# SQLSTATE classes and codes after which the same statement may succeed later (PostgreSQL, appendix A).
_UNAVAILABLE_CLASSES = frozenset({"08", "28", "53", "57", "58"})
_UNAVAILABLE_CODES = frozenset({"25006", "25P03", "25P04", "3D000", "42P01", "55000", "55P03"})
# Those after which the connection, and its neighbours, lead to a server that is gone or demoted.
_LOST_CODES = frozenset({"25006", "57P01", "57P02", "57P03", "57P04", "57P05"})


class Purpose(Enum):
    """What a pool is for; decides how its statements are planned."""

    READ = "read"
    WRITE = "write"


# Searches differ wildly in selectivity: a plan made once for all of them is the wrong one
# (105 ms against 1.4 ms). Writes look up keys they know: index lookups are always right, also
# in a plan that was made while the tables were empty.
_PLANNING: Mapping[Purpose, Mapping[str, str]] = {
    Purpose.READ: {
        "plan_cache_mode": "force_custom_plan",
        "jit": "off",
        # What the index of names calls alike; see gantry_dicom.fuzzy_names.
        "pg_trgm.strict_word_similarity_threshold": f"{float(LEAST)}",
    },
    Purpose.WRITE: {"plan_cache_mode": "force_generic_plan", "jit": "off", "enable_seqscan": "off"},
}


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Bounds of a pool; times in seconds.

    ``statement_timeout`` is kept by the server and, a second later, by this side, because a
    stopped server keeps nothing. ``recheck_after`` bounds how long a demoted server that
    still answers is read from.
    """

    max_size: int = 8
    connect_timeout: float = 3.0
    acquire_timeout: float = 10.0
    statement_timeout: float = 20.0
    lock_timeout: float = 10.0
    idle_in_transaction_timeout: float = 30.0
    recheck_after: float = 10.0


def is_unavailable(error: BaseException) -> bool:
    """Whether ``error`` is the database's trouble, not the statement's."""
    if isinstance(error, asyncpg.PostgresError):
        code = error.sqlstate or ""
        return code[:2] in _UNAVAILABLE_CLASSES or code in _UNAVAILABLE_CODES
    if isinstance(error, ValueError):  # asyncpg.DataError: a parameter that cannot be encoded
        return False
    return isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError | asyncpg.InternalClientError)


def _is_lost(error: BaseException) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith("08") or error.sqlstate in _LOST_CODES
    return True


class IndexPool:
    """A pool of connections to one index database; made by ``open_pool``, used in one event loop."""

    def __init__(self, dsn: str, purpose: Purpose, settings: PoolSettings, application_name: str) -> None:
        self._dsn = dsn
        self._purpose = purpose
        self._settings = settings
        self._application_name = application_name
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._checked_at = 0.0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """Lend a connection for the block.

        Raises ``Unavailable`` when there is none, and turns the block's own connection
        trouble into ``Unavailable``.
        """
        begun = time.perf_counter()
        connection = await self._take()
        WAIT.observe(time.perf_counter() - begun)
        LENT.inc()
        try:
            yield connection
        except Exception as error:
            if not is_unavailable(error):
                raise
            await self._note_trouble(error, connection)
            raise _unavailable(error) from error
        finally:
            LENT.dec()
            await self._give_back(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection with a transaction that commits when the block ends well."""
        async with self.acquire() as connection, connection.transaction():
            yield connection

    async def fetch(self, sql: str, *parameters: object) -> list[Any]:
        """Run one statement and return its rows. Raises ``Unavailable``."""
        async with self.acquire() as connection:
            rows: list[Any] = await connection.fetch(sql, *parameters)
            return rows

    async def fetchrow(self, sql: str, *parameters: object) -> Any:  # noqa: ANN401 - a record or None
        """Run one statement and return its first row, or ``None``. Raises ``Unavailable``."""
        async with self.acquire() as connection:
            return await connection.fetchrow(sql, *parameters)

    async def execute(self, sql: str, *parameters: object) -> str:
        """Run one statement and return its command tag. Raises ``Unavailable``."""
        async with self.acquire() as connection:
            tag: str = await connection.execute(sql, *parameters)
            return tag

    async def is_reachable(self) -> bool:
        """Whether the database answers now; for metrics, not for readiness."""
        try:
            await self.fetchrow("SELECT 1")
        except Unavailable:
            return False
        return True

    async def close(self) -> None:
        """Close all connections, waiting a moment for those in use."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        MOST.dec(self._settings.max_size)
        try:
            async with asyncio.timeout(5):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def _take(self) -> Connection:
        try:
            pool = await self._opened()
            connection = await pool.acquire(timeout=self._settings.acquire_timeout)
        except Exception as error:
            if not is_unavailable(error):
                raise
            await self._note_trouble(error, None)
            raise _unavailable(error) from error
        try:
            if not await self._is_demoted(connection):
                return connection
        except BaseException as error:
            drop(connection)
            await self._give_back(connection)
            if not is_unavailable(error):
                raise
            await self._note_trouble(error, None)
            raise _unavailable(error) from error
        TROUBLES.labels("demoted").inc()
        log.warning("index_database_demoted")
        await self._give_back(connection)
        await pool.expire_connections()
        self._checked_at = 0.0
        raise Unavailable("the index database has become read-only")

    async def _is_demoted(self, connection: Connection) -> bool:
        now = time.monotonic()
        if now - self._checked_at < self._settings.recheck_after:
            return False
        read_only = await connection.fetchval(
            "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"
        )
        self._checked_at = now
        return bool(read_only)

    async def _opened(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await self._create()
            return self._pool

    async def _create(self) -> asyncpg.Pool:
        bounds = self._settings
        pool: asyncpg.Pool = await asyncpg.create_pool(
            self._dsn,
            min_size=0,  # nothing connects yet
            max_size=bounds.max_size,
            max_inactive_connection_lifetime=60.0,
            reset=_leave_as_is,
            timeout=bounds.connect_timeout,
            command_timeout=bounds.statement_timeout + 1.0,
            max_cacheable_statement_size=1 << 16,  # the upsert is long, and planned once
            target_session_attrs="read-write",
            server_settings={
                "application_name": self._application_name,
                "timezone": "UTC",
                "statement_timeout": _milliseconds(bounds.statement_timeout),
                "lock_timeout": _milliseconds(bounds.lock_timeout),
                "idle_in_transaction_session_timeout": _milliseconds(bounds.idle_in_transaction_timeout),
                **_PLANNING[self._purpose],
            },
        )
        MOST.inc(bounds.max_size)
        return pool

    async def _note_trouble(self, error: BaseException, connection: Connection | None) -> None:
        reason = getattr(error, "sqlstate", None) or type(error).__name__
        TROUBLES.labels(reason).inc()
        log.warning("index_database_trouble", reason=reason)
        if not _is_lost(error):
            return
        self._checked_at = 0.0
        if connection is not None:
            drop(connection)
        if self._pool is not None:
            await self._pool.expire_connections()

    async def _give_back(self, connection: Connection) -> None:
        pool = self._pool
        if pool is None:
            drop(connection)
            return
        try:
            await pool.release(connection, timeout=self._settings.connect_timeout)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # The pool has ended the connection; what was done on it is done or rolled back.
            log.warning("index_connection_not_returned", error=type(error).__name__)


def open_pool(
    dsn: str,
    *,
    purpose: Purpose = Purpose.READ,
    settings: PoolSettings | None = None,
    application_name: str = "gantry",
) -> IndexPool:
    """Return a pool for ``dsn`` that connects when it is first used; needs no server now."""
    return IndexPool(dsn, purpose, settings or PoolSettings(), application_name)


def drop(connection: Connection) -> None:
    """End a connection at once, and any transaction on it; one that is gone already is left alone."""
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


def _unavailable(error: BaseException) -> Unavailable:
    reason = getattr(error, "sqlstate", None) or type(error).__name__
    return Unavailable(f"the index database does not serve ({reason})")


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


async def _leave_as_is(_connection: Connection) -> None:
    # Nothing here sets session state, so the round trip of a full reset is saved; a
    # transaction left open is rolled back by the pool before this is called.
    return None
