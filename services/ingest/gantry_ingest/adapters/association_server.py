"""pynetdicom's association server without its own listening and accepting."""

from __future__ import annotations

import socket
from collections.abc import Callable

from pynetdicom import AE, evt
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.transport import AssociationServer, RequestHandler

BeforeRelease = Callable[[Association], None]


class _SettlingACSE(ACSE):
    """Calls ``before_release`` before it answers the peer's A-RELEASE."""

    def __init__(self, association: Association, before_release: BeforeRelease) -> None:
        super().__init__(association)
        self._before_release = before_release

    def send_release(self, is_response: bool = False) -> None:
        """Send an A-RELEASE request, or its answer once what was stored has settled."""
        if is_response:
            self._before_release(self.assoc)
        super().send_release(is_response)


class _Handler(RequestHandler):
    server: HandOverServer

    def handle(self) -> None:
        """Run the association that the connection asks for."""
        association = self._create_association()
        association.acse = _SettlingACSE(association, self.server.before_release)
        evt.trigger(association, evt.EVT_CONN_OPEN, {"address": self.client_address})
        association.start()


class HandOverServer(AssociationServer):
    """Runs associations on connections that somebody else has accepted."""

    def __init__(
        self,
        ae: AE,
        listener: socket.socket,
        ae_title: str,
        handlers: list[EventHandlerType],
        before_release: BeforeRelease,
    ) -> None:
        self._listener_address = listener.getsockname()
        self.before_release = before_release
        super().__init__(
            ae,
            self._listener_address,
            ae_title,
            ae.supported_contexts,
            evt_handlers=handlers,
            request_handler=_Handler,
        )
        # The base class made a socket of its own, which is neither bound nor listening.
        if self.socket is not None:
            self.socket.close()

    def server_bind(self) -> None:
        """Bind nothing: the listening socket belongs to the lobby."""
        self.server_address = self._listener_address

    def server_activate(self) -> None:
        """Listen to nothing."""

    def take_over(self, connection: socket.socket, address: tuple[str, int]) -> None:
        """Run an association on ``connection`` in a thread of its own."""
        self.finish_request(connection, address)

    def association_count(self) -> int:
        """Return how many associations are being negotiated or established."""
        return len(self.active_associations)
