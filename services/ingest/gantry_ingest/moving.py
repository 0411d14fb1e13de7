"""C-MOVE: instances over associations of our own to a third party (PS3.4 C.4.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from gantry_dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from gantry_dimse.association import Association
from gantry_dimse.commands import MEDIUM
from gantry_dimse.connecting import open_association
from gantry_dimse.entity import Entity, Operation, Response
from gantry_dimse.errors import NotAssociated, Rejected
from gantry_dimse.limits import Limits
from gantry_dimse.negotiating import propose
from gantry_dimse.negotiation import MAXIMUM_CONTEXTS, ProposedContext, RejectResult
from gantry_index.records import StoredInstance
from gantry_telemetry.logs import get_logger

from gantry_ingest.access import C_MOVE, Caller, allow
from gantry_ingest.destinations import Destination, Destinations
from gantry_ingest.query_contexts import is_explicit
from gantry_ingest.query_statuses import DESTINATION_UNKNOWN
from gantry_ingest.retrieving import Planning, Retrieval
from gantry_ingest.sending import Errand, InstanceSender

log = get_logger(__name__)

# Attempts to reach a destination without an instance sent in between.
_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS = 0.5
# Instances that one more association is worth.
_WORTH_ANOTHER = 32
_COMMON = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


class Requestor(Entity):
    """Our side of an association to a destination; it answers nothing."""

    def __init__(self, connect_seconds: float) -> None:
        self.limits = Limits(artim_seconds=connect_seconds)


@dataclass(frozen=True, slots=True)
class Moving:
    """Answers C-MOVE."""

    planning: Planning
    sender: InstanceSender
    destinations: Destinations
    # Associations at a time to one destination, for one request.
    associations: int = 1
    connect_seconds: float = 10.0

    async def move(self, operation: Operation, caller: Caller) -> Response:
        """Send what is asked for, then say how it went. Raises ``GantryError``."""
        allow(self.planning.access, caller, C_MOVE)
        wanted = operation.command.move_destination or ""
        destination = self.destinations.find(wanted, caller.partition)
        if destination is None:
            return Response(DESTINATION_UNKNOWN, error_comment="the move destination is not known")
        purpose = f"{C_MOVE} {destination.ae_title}"
        instances = await self.planning.plan(operation, caller, C_MOVE, purpose)
        retrieval = Retrieval(operation, instances)
        waiting = list(retrieval.waiting)
        async with retrieval.telling():
            for contexts, batch in batches(waiting):
                retrieval.waiting.clear()
                retrieval.waiting.extend(batch)
                await self._send(retrieval, destination, contexts)
                if retrieval.cancelled:
                    break
        return retrieval.counts.final(cancelled=retrieval.cancelled, explicit=is_explicit(operation.context))

    async def _send(
        self, retrieval: Retrieval, destination: Destination, contexts: tuple[ProposedContext, ...]
    ) -> None:
        """Send what waits over as many associations as it is worth, of which one has to work."""
        more = min(self.associations - 1, len(retrieval.waiting) // _WORTH_ANOTHER)
        openings = [
            asyncio.create_task(self._open(retrieval.operation, destination, contexts)) for _ in range(more)
        ]
        helpers = [asyncio.create_task(self._help(retrieval, opening)) for opening in openings]
        try:
            await self._send_all(retrieval, destination, contexts)
        finally:
            # Those that have begun to send finish what they have in hand.
            for opening in openings:
                opening.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
        # What a helper has given back.
        await self._send_all(retrieval, destination, contexts)

    async def _help(self, retrieval: Retrieval, opening: asyncio.Task[Association]) -> None:
        try:
            async with await opening as association:
                await retrieval.send_over(association, self.sender, _errand(retrieval.operation))
        except NotAssociated as error:
            log.info("destination_takes_no_more", reason=type(error).__name__)

    async def _open(
        self, operation: Operation, destination: Destination, contexts: tuple[ProposedContext, ...]
    ) -> Association:
        return await open_association(
            destination.host,
            destination.port,
            # As whom the requestor knows us.
            calling_ae_title=operation.association.called_ae_title,
            called_ae_title=destination.ae_title,
            contexts=contexts,
            entity=Requestor(self.connect_seconds),
        )

    async def _send_all(
        self, retrieval: Retrieval, destination: Destination, contexts: tuple[ProposedContext, ...]
    ) -> None:
        """Send what waits, over one association after the other where they break."""
        attempt = 0
        while retrieval.waiting and not retrieval.cancelled:
            remaining = retrieval.counts.remaining
            try:
                async with await self._open(retrieval.operation, destination, contexts) as association:
                    await retrieval.send_over(association, self.sender, _errand(retrieval.operation))
            except NotAssociated as error:
                log.warning(
                    "destination_not_reached",
                    called_ae_title=destination.ae_title,
                    attempt=attempt,
                    reason=type(error).__name__,
                )
                if isinstance(error, Rejected) and error.rejection.result == RejectResult.PERMANENT:
                    attempt = _ATTEMPTS
            attempt = 0 if retrieval.counts.remaining < remaining else attempt + 1
            if not retrieval.waiting:
                return
            if attempt >= _ATTEMPTS:
                retrieval.fail_waiting()
                return
            await _pause(retrieval.operation, _FIRST_PAUSE_SECONDS * 2**attempt)


def _errand(operation: Operation) -> Errand:
    command = operation.command
    return Errand(
        MEDIUM if command.priority is None else command.priority,
        operation.association.calling_ae_title,
        command.message_id,
    )


async def _pause(operation: Operation, seconds: float) -> None:
    """Wait, but not when the requestor has cancelled."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await operation.cancelled.wait()


def batches(
    instances: Sequence[StoredInstance],
) -> Iterator[tuple[tuple[ProposedContext, ...], list[StoredInstance]]]:
    """Part instances so that the contexts of each part fit into one association (PS3.8 9.3.2.2).

    Every transfer syntax has a context of its own, so that the destination says of each whether it
    takes it.
    """
    syntaxes: dict[str, dict[str, None]] = {}
    for one in instances:
        wanted = syntaxes.setdefault(one.sop_class_uid, {})
        wanted[one.transfer_syntax_uid] = None
    parts: list[dict[str, list[str]]] = []
    room = 0
    for sop_class_uid, stored in syntaxes.items():
        offered = list(dict.fromkeys((*stored, *_COMMON)))
        if len(offered) > room:
            parts.append({})
            room = MAXIMUM_CONTEXTS
        parts[-1][sop_class_uid] = offered
        room -= len(offered)
    for part in parts:
        wanted_contexts = [(uid, [syntax]) for uid, offered in part.items() for syntax in offered]
        yield propose(wanted_contexts), [one for one in instances if one.sop_class_uid in part]
