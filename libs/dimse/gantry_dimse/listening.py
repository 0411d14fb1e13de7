"""Accepting associations on a listening socket."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

from gantry_telemetry.logs import get_logger

from gantry_dimse.association import Association
from gantry_dimse.entity import Entity
from gantry_dimse.transport import describe

log = get_logger(__name__)


class Listener:
    """Takes connections from a socket that listens; several processes may share it.

    A connection that has not asked for an association costs a descriptor and a few kilobytes.
    There are ``maximum_unassociated`` of them at most: beyond, the one that has waited longest
    makes room, so that a flood of silent ones does not keep out the modality after it. Belongs
    to one event loop.
    """

    def __init__(
        self,
        listener: socket.socket,
        entity: Entity,
        *,
        tls: ssl.SSLContext | None = None,
        maximum_unassociated: int = 256,
    ) -> None:
        listener.setblocking(False)
        self._socket = listener
        self._entity = entity
        self._tls = tls
        self._maximum_unassociated = maximum_unassociated
        self._loop = asyncio.get_running_loop()
        self._accepting = False
        self._delay = 0.0
        self._delayed: asyncio.TimerHandle | None = None
        # In the order they came; what opens them is over at once unless there is TLS.
        self._connections: dict[Association, socket.socket] = {}
        self._opening: set[asyncio.Task[None]] = set()

    @property
    def associations(self) -> list[Association]:
        """The associations that are being negotiated or are established."""
        return [each for each in self._connections if each.request is not None and not each.over]

    def use(self, tls: ssl.SSLContext | None) -> None:
        """Take ``tls`` for the connections that come from now on."""
        self._tls = tls

    def accept(self, *, accepting: bool, delay: float = 0.0) -> None:
        """Say whether connections are taken from the socket.

        With ``delay`` one is taken only when no other process has, that many seconds after it came.
        """
        self._delay = delay
        if accepting == self._accepting:
            return
        self._accepting = accepting
        if accepting:
            self._loop.add_reader(self._socket.fileno(), self._ready)
        else:
            self._loop.remove_reader(self._socket.fileno())
            if self._delayed is not None:
                self._delayed.cancel()
                self._delayed = None

    async def close(self, drain_seconds: float) -> None:
        """Take no more connections, let the socket go and end the associations; see ``Association.drain``.

        What succeeds this program can listen on the port while it still drains.
        """
        self.accept(accepting=False)
        self._socket.close()
        connections = list(self._connections)
        for association in connections:
            if association.layer.transport is None:
                self._dismiss(association, "the program stops")
        await asyncio.gather(*self._opening)
        await asyncio.gather(*(association.drain(drain_seconds) for association in connections))
        await asyncio.gather(*(association.wait_closed() for association in connections))

    def _ready(self) -> None:
        if not self._delay:
            self._take()
            return
        self._loop.remove_reader(self._socket.fileno())
        self._delayed = self._loop.call_later(self._delay, self._take_late)

    def _take_late(self) -> None:
        self._delayed = None
        self._loop.add_reader(self._socket.fileno(), self._ready)
        self._take()

    def _take(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process was faster, or the peer has gone
        except OSError as error:
            log.warning("connection_not_accepted", reason=type(error).__name__)
            return
        connection.setblocking(False)
        association = Association(self._entity)
        association.on_closed = self._forget
        self._connections[association] = connection
        task = self._loop.create_task(self._open(association, connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        self._make_room()

    async def _open(self, association: Association, connection: socket.socket) -> None:
        peer = _peer_of(connection)
        try:
            async with asyncio.timeout(self._entity.limits.artim_seconds):
                await self._loop.connect_accepted_socket(lambda: association.layer, connection, ssl=self._tls)
        except (OSError, TimeoutError) as error:
            association.not_opened(*describe(error, connected=self._tls is not None), peer)

    def _make_room(self) -> None:
        unassociated = [each for each in self._connections if each.request is None and not each.over]
        if len(unassociated) <= self._maximum_unassociated:
            return
        self._dismiss(unassociated[0], "others were waiting to ask for an association")

    def _dismiss(self, association: Association, detail: str) -> None:
        association.dismiss(detail)
        if association.layer.transport is None:
            # The handshake ends when the connection does; the socket is the transport's by now.
            with suppress(OSError):
                self._connections[association].shutdown(socket.SHUT_RDWR)

    def _forget(self, association: Association) -> None:
        self._connections.pop(association, None)


def _peer_of(connection: socket.socket) -> tuple[str, int] | None:
    try:
        name = connection.getpeername()
    except OSError:
        return None  # gone already
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
