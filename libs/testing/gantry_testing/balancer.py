"""A TCP load balancer, for tests that replace one of several processes behind one address.

It does what a Service of Kubernetes does and nothing more: each new connection goes to the next
endpoint. It retries nothing, and connections that are open stay where they are when their
endpoint is taken out.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from gantry_embedded.ports import LOOPBACK

_CHUNK = 256 << 10


class Balancer:
    """Spreads connections to ``port`` over endpoints on the loopback; ``with`` starts and ends it."""

    def __init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._endpoints: tuple[int, ...] = ()
        self._turn = 0
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True, name="balancer").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                connection.close()

    def add(self, port: int) -> None:
        """Send new connections to ``port`` too."""
        with self._lock:
            self._endpoints = (*self._endpoints, port)

    def remove(self, port: int) -> None:
        """Send no new connection to ``port`` any more."""
        with self._lock:
            self._endpoints = tuple(endpoint for endpoint in self._endpoints if endpoint != port)

    def _next(self) -> int | None:
        with self._lock:
            if not self._endpoints:
                return None
            self._turn += 1
            return self._endpoints[self._turn % len(self._endpoints)]

    def _accept(self) -> None:
        for client in self._clients():
            port = self._next()
            try:
                server = socket.create_connection((LOOPBACK, port or 0))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._connections |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _clients(self) -> Iterator[socket.socket]:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield client

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(_CHUNK):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # One side has gone: so has the other.
            source.close()
            sink.close()
        finally:
            with self._lock:
                self._connections.discard(source)
