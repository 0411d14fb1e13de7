"""Instances derived again: because of an amendment, or because of a newer encoder."""

from __future__ import annotations

from gantry_index.corrections import due, renewal_failed
from gantry_index.pools import IndexPool
from gantry_telemetry.logs import get_logger

from gantry_indexer.chunks import ChunkIndexer
from gantry_indexer.instruments import RENEWED

log = get_logger(__name__)

# Instances derived again at a time, and attempts at each.
CHUNK = 100
ATTEMPTS = 3


class Renewing:
    """Works off what waits to be derived again; repeating it changes nothing."""

    def __init__(self, pool: IndexPool, indexer: ChunkIndexer) -> None:
        self._pool = pool
        self._indexer = indexer

    async def renew_all(self, partition: str, scope: str) -> int:
        """Derive everything again that waits for ``scope``; returns how many. Raises ``Unavailable``."""
        count = 0
        while done := await self.renew_some(partition, scope, CHUNK):
            count += done
        return count

    async def renew_some(self, partition: str, scope: str, limit: int) -> int:
        """Derive up to ``limit`` again; returns how many were due. Raises ``Unavailable``."""
        instances = await due(self._pool, partition, scope, limit)
        if not instances:
            return 0
        failed = await self._indexer.renew(partition, instances)
        for key, error in failed.items():
            log.error("instance_not_derived_again", object_key=key, exc_info=error)
            await renewal_failed(self._pool, key, ATTEMPTS)
        RENEWED.labels("failed").inc(len(failed))
        RENEWED.labels("derived").inc(len(instances) - len(failed))
        return len(instances)
