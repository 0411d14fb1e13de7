"""An application entity on our own upper layer for tests: takes everything and remembers it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gantry_dimse.association import Association
from gantry_dimse.commands import CommandField
from gantry_dimse.connecting import open_association
from gantry_dimse.entity import Agreement, Entity, Operation, Response, Service
from gantry_dimse.facts import AssociationFacts
from gantry_dimse.limits import Limits
from gantry_dimse.listening import Listener
from gantry_dimse.negotiating import accept_roles, answer_contexts, propose
from gantry_dimse.negotiation import VERIFICATION, AssociateReject, AssociateRequest
from gantry_dimse.statuses import SUCCESS

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
_SECONDS = 10.0


class Recorder(Entity):
    """Accepts every context in its first transfer syntax; keeps what is stored and how associations end."""

    def __init__(self, limits: Limits | None = None, **services: Service) -> None:
        """``services`` are added to C_ECHO and C_STORE, by the names of ``CommandField``."""
        self.limits = limits or Limits()
        own: dict[int, Service] = {CommandField.C_ECHO: self.echo, CommandField.C_STORE: self.store}
        self.services = own | {CommandField[name]: service for name, service in services.items()}
        self.stored: list[tuple[str | None, bytes]] = []
        self.associations: list[Association] = []
        self.answer: AssociateReject | None = None
        self._ends: asyncio.Queue[AssociationFacts] = asyncio.Queue()

    async def negotiate(
        self, association: Association, request: AssociateRequest
    ) -> Agreement | AssociateReject:
        """Accept, unless ``answer`` says otherwise."""
        self.associations.append(association)
        if self.answer is not None:
            return self.answer
        return Agreement(
            answer_contexts(request, lambda context: context.transfer_syntaxes[0]),
            accept_roles(request, lambda _: True),
        )

    async def echo(self, _: Operation) -> Response:
        """Answer a C-ECHO."""
        return Response(SUCCESS)

    async def store(self, operation: Operation) -> Response:
        """Keep an instance."""
        self.stored.append((operation.command.affected_sop_instance_uid, bytes(operation.data)))
        return Response(SUCCESS)

    def ended(self, association: Association) -> None:
        """Keep the facts."""
        self._ends.put_nowait(association.facts)

    async def next_end(self) -> AssociationFacts:
        """Return the facts of the association that has ended next; raises ``TimeoutError``."""
        async with asyncio.timeout(_SECONDS):
            return await self._ends.get()


@dataclass(frozen=True, slots=True)
class Listening:
    """A listener and where it is."""

    listener: Listener
    port: int
    entity: Recorder

    async def associate(self, contexts: object = None, **options: object) -> Association:
        """Associate with it; ``options`` are those of ``open_association``."""
        settings = {
            "calling_ae_title": "TESTER",
            "called_ae_title": "GANTRY",
            "contexts": contexts or propose([(VERIFICATION, [IMPLICIT]), (CT, [EXPLICIT, IMPLICIT])]),
        }
        return await open_association("127.0.0.1", self.port, **(settings | options))  # type: ignore[arg-type]


@asynccontextmanager
async def listening(
    entity: Recorder, *, tls: ssl.SSLContext | None = None, maximum_unassociated: int = 256
) -> AsyncIterator[Listening]:
    """Run a listener for ``entity`` on a free port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        listener = Listener(server, entity, tls=tls, maximum_unassociated=maximum_unassociated)
        listener.accept(accepting=True)
        try:
            yield Listening(listener, server.getsockname()[1], entity)
        finally:
            async with asyncio.timeout(_SECONDS):
                await listener.close(1.0)
