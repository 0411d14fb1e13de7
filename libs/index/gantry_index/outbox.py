"""The outbox table as a relay needs it (``gantry_messaging.outbox.Outbox``).

Everything happens on the connection that holds the relay's lock: a relay that has lost the
lock without knowing can neither read nor remove.
"""

from __future__ import annotations

from collections.abc import Sequence

from gantry_dicom.errors import Unavailable

from gantry_index.locks import OUTBOX_RELAY, TROUBLE, AdvisoryLock
from gantry_index.pools import is_unavailable


class OutboxTable:
    """Rows of ``outbox`` for the one relay of a database. Methods raise ``Unavailable``."""

    def __init__(self, dsn: str) -> None:
        self._lock = AdvisoryLock(dsn, OUTBOX_RELAY)

    async def become_relay(self) -> bool:
        """Take or confirm the relay's lock; returns whether this process has it."""
        return await self._lock.hold()

    async def oldest(self, limit: int) -> Sequence[tuple[int, bytes]]:
        """Return up to ``limit`` rows (sequence, serialised ``IndexEvent``), oldest first."""
        try:
            rows = await self._lock.connection.fetch(
                "SELECT sequence, payload FROM outbox ORDER BY sequence LIMIT $1", limit
            )
        except TROUBLE as error:
            raise await self._lost(error) from error
        return [(row["sequence"], row["payload"]) for row in rows]

    async def remove(self, sequences: Sequence[int]) -> None:
        """Delete rows that have been relayed."""
        try:
            await self._lock.connection.execute(
                "DELETE FROM outbox WHERE sequence = ANY($1::bigint[])", list(sequences)
            )
        except TROUBLE as error:
            raise await self._lost(error) from error

    async def close(self) -> None:
        """Give up the lock and close the connection."""
        await self._lock.release()

    async def _lost(self, error: Exception) -> Exception:
        if not is_unavailable(error):
            return error
        await self._lock.release()
        return Unavailable("the index database does not serve the outbox")
