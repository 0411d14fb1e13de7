"""Verdicts and attempts in the index database, as isolation needs them."""

from __future__ import annotations

from gantry.index.v1.index_pb2 import IndexRequest, Verdict
from gantry_index import verdicts
from gantry_index.pools import IndexPool
from gantry_messaging.verdicts import is_standing

from gantry_indexer.isolating import Attempt


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
        await verdicts.forgive_attempt(self._pool, object_key)

    async def quarantine(self, request: IndexRequest, reason: str) -> Verdict:
        """Set the verdict unless another one stands; returns the one that stands."""
        return await verdicts.quarantine(self._pool, request.reception.object_key, reason)
