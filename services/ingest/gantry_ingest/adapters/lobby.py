"""Where connections wait until they have sent a whole A-ASSOCIATE-RQ.

A bare TCP probe, a connection that stays silent or one that sends its request byte by byte
costs a descriptor here and nothing else: no thread and no association slot, so that it
cannot starve a modality (case O-25). The request is only peeked at; whoever takes the
connection over reads it from the socket as if nothing had happened.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

log = get_logger(__name__)

DISMISSED = metrics.counter(
    "gantry_dimse_connections_dismissed",
    "Connections closed before they asked for an association",
    ("reason",),
)

# PS3.8 Table 9-11: an A-ASSOCIATE-RQ begins with type 1, a reserved byte and its length.
_PDU_HEAD = struct.Struct(">BBL")
_A_ASSOCIATE_RQ = 0x01
# The largest request that makes sense: 128 contexts with 40 transfer syntaxes each.
_MAXIMUM_REQUEST = 512 << 10
# A request longer than the kernel keeps for peeking is handed over once this much is there.
_ENOUGH = 32 << 10

Address = tuple[str, int]


@dataclass(slots=True)
class _Guest:
    connection: socket.socket
    address: Address
    deadline: float
    # Bytes below which the kernel does not call the connection readable (SO_RCVLOWAT): a
    # request that comes in drops must not wake us for each of them, or for ever.
    awaited: int = _PDU_HEAD.size

    def await_bytes(self, count: int) -> None:
        self.awaited = count
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


class Lobby:
    """Accepts connections from ``listener`` and yields those that ask for an association."""

    def __init__(
        self,
        listener: socket.socket,
        *,
        artim_seconds: float,
        maximum: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener = listener
        self._listener.setblocking(False)
        self._artim_seconds = artim_seconds
        self._maximum = maximum
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._guests: dict[int, _Guest] = {}
        self._accepting = False

    def __len__(self) -> int:
        """Return the number of connections that wait."""
        return len(self._guests)

    def accept_more(self, *, accepting: bool) -> None:
        """Say whether new connections are taken from the listening socket."""
        if accepting == self._accepting:
            return
        if accepting:
            self._selector.register(self._listener, selectors.EVENT_READ)
        else:
            self._selector.unregister(self._listener)
        self._accepting = accepting

    def wait(self, timeout: float) -> Iterator[tuple[socket.socket, Address]]:
        """Wait up to ``timeout`` seconds; yield connections whose request is there, now blocking."""
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._listener:
                self._accept()
                continue
            guest = self._guests[key.fd]
            if self._has_request(guest):
                self._leave(guest)
                guest.await_bytes(1)
                guest.connection.setblocking(True)
                yield guest.connection, guest.address
        now = self._clock()
        for guest in [guest for guest in self._guests.values() if guest.deadline <= now]:
            self._dismiss(guest, "artim")

    def close(self) -> None:
        """Dismiss everybody who waits."""
        self.accept_more(accepting=False)
        for guest in list(self._guests.values()):
            self._dismiss(guest, "closing")
        self._selector.close()

    def _accept(self) -> None:
        try:
            connection, address = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another worker was faster, or the peer has gone
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self._guests) >= self._maximum:
            # The one that has waited longest makes room: a flood of silent connections
            # must not keep out the modality that comes after it.
            self._dismiss(min(self._guests.values(), key=lambda guest: guest.deadline), "crowded")
        guest = _Guest(connection, address[:2], self._clock() + self._artim_seconds)
        guest.await_bytes(_PDU_HEAD.size)
        self._guests[connection.fileno()] = guest
        self._selector.register(connection, selectors.EVENT_READ)

    def _has_request(self, guest: _Guest) -> bool:
        try:
            head = guest.connection.recv(_ENOUGH, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            self._dismiss(guest, "reset")
            return False
        if len(head) < guest.awaited:
            # Readable with less than we wait for: the peer has closed its side.
            self._dismiss(guest, "closed-by-peer")
            return False
        kind, _, length = _PDU_HEAD.unpack_from(head)
        if kind != _A_ASSOCIATE_RQ:
            self._dismiss(guest, "not-dicom")
            return False
        if length > _MAXIMUM_REQUEST:
            self._dismiss(guest, "request-too-long")
            return False
        needed = min(_PDU_HEAD.size + length, _ENOUGH)
        if len(head) < needed:
            guest.await_bytes(needed)
            return False
        return True

    def _leave(self, guest: _Guest) -> None:
        self._selector.unregister(guest.connection)
        del self._guests[guest.connection.fileno()]

    def _dismiss(self, guest: _Guest, reason: str) -> None:
        self._leave(guest)
        guest.connection.close()
        DISMISSED.labels(reason).inc()
        log.debug("connection_dismissed", reason=reason, peer_address=guest.address[0])
