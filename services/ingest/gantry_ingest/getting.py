"""C-GET: instances over the association that asks for them (PS3.4 C.4.3)."""

from __future__ import annotations

from dataclasses import dataclass

from gantry_dimse.commands import MEDIUM
from gantry_dimse.entity import Operation, Response

from gantry_ingest.access import C_GET, Caller
from gantry_ingest.query_contexts import is_explicit
from gantry_ingest.retrieving import Planning, Retrieval
from gantry_ingest.sending import Errand, InstanceSender


@dataclass(frozen=True, slots=True)
class Getting:
    """Answers C-GET."""

    planning: Planning
    sender: InstanceSender

    async def get(self, operation: Operation, caller: Caller) -> Response:
        """Send what is asked for, then say how it went. Raises ``GantryError``."""
        retrieval = Retrieval(operation, await self.planning.plan(operation, caller, C_GET, C_GET))
        priority = operation.command.priority
        errand = Errand(priority=MEDIUM if priority is None else priority)
        async with retrieval.telling():
            await retrieval.send_over(operation.association, self.sender, errand)
        return retrieval.counts.final(cancelled=retrieval.cancelled, explicit=is_explicit(operation.context))
