"""What a program does with associations: an ``Entity`` decides and has services, an ``Operation`` is asked.

A service class is a coroutine function for each of its commands::

    async def echo(operation: Operation) -> Response:
        return Response(SUCCESS)

    class Archive(Entity):
        services = {CommandField.C_ECHO: echo}
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from gantry_dicom.errors import GantryError

from gantry_dimse.commands import DATA_SET, NO_DATA_SET, RESPONSE, Command
from gantry_dimse.limits import Limits
from gantry_dimse.messages import Buffer, DataSink, MemorySink, Message
from gantry_dimse.negotiation import (
    NO_REASON,
    AssociateReject,
    AssociateRequest,
    ContextAnswer,
    ExtendedNegotiation,
    PresentationContext,
    RoleSelection,
)
from gantry_dimse.statuses import PENDING, PROCESSING_FAILURE

if TYPE_CHECKING:
    from gantry_dimse.association import Association


@dataclass(frozen=True, slots=True)
class Response:
    """An answer to a request; ``data`` is a data set in the context's transfer syntax.

    The numbers are those of sub-operations (PS3.7 C.4.2.1.6 to C.4.2.1.9).
    """

    status: int
    data: Buffer | None = None
    error_comment: str | None = None
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """What an acceptor answers to a request for an association; see ``negotiating``."""

    contexts: tuple[ContextAnswer, ...]
    roles: tuple[RoleSelection, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    identity_response: bytes | None = field(default=None, repr=False)


@dataclass(slots=True, eq=False)
class Operation:
    """A request of the peer, in hand."""

    association: Association
    message: Message
    # Set when the peer asks to cancel (C-CANCEL), and when the association has ended.
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    # Set when the last answer has been sent, or cannot be: what is to follow it may begin.
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def context(self) -> PresentationContext:
        """The presentation context that the request came under."""
        return self.message.context

    @property
    def command(self) -> Command:
        """The request's command set."""
        return self.message.command

    @property
    def data(self) -> Buffer:
        """The request's data set, until the operation ends; empty when it had none.

        Raises the ``GantryError`` for which it could not be taken.
        """
        if self.message.error is not None:
            raise self.message.error
        return self.message.sink.buffer() if self.message.sink is not None else b""

    async def respond(self, response: Response) -> None:
        """Send an answer that is not the last; the last one is what the service returns.

        Waits while the peer does not take what is sent. Raises ``NotAssociated``.
        """
        await self.association.send(self.context, answer_to(self.command, response), response.data)
        # While the peer keeps up nothing above waits; others, and its C-CANCEL, must have their turn.
        await asyncio.sleep(0)

    async def pending(self, data: Buffer) -> None:
        """Send one match (PS3.4 C.4.1.2)."""
        await self.respond(Response(PENDING, data))


Service = Callable[[Operation], Awaitable[Response]]


class Entity:
    """An application entity; override what is not as it should be. One for any number of associations."""

    limits: Limits = Limits()
    # What is answered, by the command field of the request.
    services: Mapping[int, Service] = MappingProxyType({})

    async def negotiate(
        self,
        association: Association,  # noqa: ARG002
        request: AssociateRequest,  # noqa: ARG002
    ) -> Agreement | AssociateReject:
        """Answer a peer that asks for an association; refuses everybody unless overridden.

        Has ``Limits.artim_seconds`` for it. Raises ``GantryError`` to reject without a reason.
        """
        return NO_REASON

    def open_sink(
        self,
        association: Association,  # noqa: ARG002
        context: PresentationContext,  # noqa: ARG002
        command: Command,  # noqa: ARG002
    ) -> DataSink:
        """Return where the data set of ``command`` goes. A ``GantryError`` passes it over."""
        return MemorySink(self.limits.maximum_identifier_bytes)

    def status_of(self, command: Command, error: GantryError) -> int:  # noqa: ARG002
        """Return the status of a request that ``error`` ended."""
        return PROCESSING_FAILURE

    async def before_release(self, association: Association) -> None:
        """Do what is to be done before the peer's A-RELEASE is answered."""

    def ended(self, association: Association) -> None:
        """Take note that an association has ended; ``association.facts`` is complete.

        Called also for connections that never asked for one.
        """


def answer_to(request: Command, response: Response) -> Command:
    """Return the command set of an answer (PS3.7 9.3, 10.3)."""
    return Command(
        request.command_field | RESPONSE,
        affected_sop_class_uid=request.affected_sop_class_uid or request.requested_sop_class_uid,
        message_id_being_responded_to=request.message_id,
        command_data_set_type=NO_DATA_SET if response.data is None else DATA_SET,
        status=response.status,
        error_comment=response.error_comment,
        affected_sop_instance_uid=request.affected_sop_instance_uid or request.requested_sop_instance_uid,
        event_type_id=request.event_type_id,
        action_type_id=request.action_type_id,
        number_of_remaining_suboperations=response.remaining,
        number_of_completed_suboperations=response.completed,
        number_of_failed_suboperations=response.failed,
        number_of_warning_suboperations=response.warning,
    )
