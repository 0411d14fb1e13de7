"""Verdicts and attempts in the index database, as isolation needs them."""

from __future__ import annotations

from gantry.index.v1.index_pb2 import VERDICT_STATE_PENDING, IndexRequest, Verdict
from gantry_index import verdicts
from gantry_index.pools import IndexPool
from gantry_messaging.verdicts import is_standing

from gantry_indexer.isolating import Attempt

_FORGIVE = """
UPDATE reception SET attempts = attempts - 1 WHERE object_key = $1 AND state = $2 AND attempts > 0
"""


class StandingVerdicts:
    """Meets ``gantry_indexer.isolating.Standing`` with one pool."""

    def __init__(self, pool: IndexPool) -> None:
        self._pool = pool

    async def begin_attempt(self, request: IndexRequest) -> Attempt:
        """Commit that an attempt begins, unless a verdict stands."""
        begun = await verdicts.begin_attempt(self._pool, request.partition, request.reception)
        return Attempt(begun.number, begun.verdict if is_standing(begun.verdict) else None)

    async def forgive_attempt(self, object_key: str) -> None:
        """Take back an attempt that ended because something else was down."""
        await self._pool.execute(_FORGIVE, object_key, VERDICT_STATE_PENDING)

    async def quarantine(self, request: IndexRequest, reason: str) -> Verdict:
        """Set the verdict unless another one stands; returns the one that stands."""
        return await verdicts.quarantine(self._pool, request.reception.object_key, reason)
