"""Advisory locks: one process at a time does a job, without a table and without a lease.

The lock is the database session's: when the process or its connection dies, so does the
lock. It saves double work; nothing may depend on it for correctness, because a holder can
learn of its loss late.
"""

from __future__ import annotations

import asyncio

import asyncpg
from gantry_dicom.errors import Unavailable

from gantry_index.pools import Connection, is_unavailable

# First bytes of the names as numbers; never reused for another job.
OUTBOX_RELAY = 0x6F7574626F780001
SWEEPER = 0x7377656570000001
ROUTER = 0x726F757465720001
COMMITMENT_REPORTS = 0x636F6D6D69740001

# What a lost connection can raise, depending on what it was doing.
TROUBLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class AdvisoryLock:
    """A session-level lock ``number`` on a connection of its own (not one out of a pool)."""

    def __init__(self, dsn: str, number: int, *, timeout: float = 5.0) -> None:
        self._dsn = dsn
        self._number = number
        self._timeout = timeout
        self._connection: Connection | None = None
        self._asking = asyncio.Lock()

    async def hold(self) -> bool:
        """Take the lock, or make sure that we still have it; returns whether we do.

        Raises ``Unavailable`` when the database cannot tell; the lock is then gone.
        """
        # One connection does one thing at a time; several tasks may share the lock.
        async with self._asking:
            return await self._hold()

    async def _hold(self) -> bool:
        try:
            if self._connection is not None:
                await self._connection.fetchval("SELECT 1")
                return True
            connection = await asyncpg.connect(
                self._dsn,
                timeout=self._timeout,
                command_timeout=self._timeout,
                target_session_attrs="read-write",
            )
            if await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._number):
                self._connection = connection
                return True
            await connection.close(timeout=self._timeout)
        except TROUBLE as error:
            self._drop()
            if not is_unavailable(error):
                raise
            raise Unavailable("the index database does not give the lock") from error
        return False

    @property
    def connection(self) -> Connection:
        """The connection that holds the lock. Raises ``Unavailable`` when it is not held."""
        if self._connection is None:
            raise Unavailable("the lock is not held")
        return self._connection

    async def release(self) -> None:
        """Give the lock back, when it is ours, by ending its session."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=self._timeout)
            except TROUBLE:
                connection.terminate()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
