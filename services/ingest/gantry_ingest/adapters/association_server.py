"""pynetdicom's association server without its own listening and accepting."""

from __future__ import annotations

import socket
from typing import Any

from pynetdicom import AE
from pynetdicom.transport import AssociationServer


class HandOverServer(AssociationServer):
    """Runs associations on connections that somebody else has accepted."""

    def __init__(self, ae: AE, listener: socket.socket, ae_title: str, handlers: list[Any]) -> None:
        self._listener_address = listener.getsockname()
        super().__init__(ae, self._listener_address, ae_title, ae.supported_contexts, evt_handlers=handlers)
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
