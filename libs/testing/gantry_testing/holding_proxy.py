"""A TCP proxy that can hold one HTTP exchange, to stop time between two steps of a server.

Put in front of the object store it lets a test act when an object is stored but its answer has
not arrived (``Point.ANSWER``), or when its request has been sent but has not arrived
(``Point.REQUEST``): moments of a few microseconds otherwise.
"""

from __future__ import annotations

import re
import socket
import threading
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self

from gantry_dicom.errors import Unavailable
from gantry_embedded.ports import LOOPBACK

_CHUNK = 256 << 10


class Point(Enum):
    """Where to hold: before the request reaches the server, or before its answer leaves."""

    REQUEST = "request"
    ANSWER = "answer"


@dataclass(slots=True)
class Hold:
    """One armed hold: ``reached`` when an exchange is held, which goes on after ``release``."""

    point: Point
    request_line: re.Pattern[bytes]
    reached: threading.Event = field(default_factory=threading.Event)
    _released: threading.Event = field(default_factory=threading.Event)

    def wait_reached(self, seconds: float = 30.0) -> None:
        """Wait until an exchange is held. Raises ``Unavailable``."""
        if not self.reached.wait(seconds):
            raise Unavailable(f"no request like {self.request_line.pattern!r} came within {seconds:g} s")

    def release(self) -> None:
        """Let the held exchange go on."""
        self._released.set()

    def stop_here(self) -> None:
        """Hold the caller until released."""
        self.reached.set()
        self._released.wait()


class HoldingProxy:
    """Forwards connections to ``port`` on the loopback; ``with`` starts and ends it."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._hold: Hold | None = None
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True, name="holding-proxy").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hold is not None:
            self._hold.release()
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def hold(self, request_line: bytes, point: Point) -> Hold:
        """Arm a hold for the next request whose first line matches the expression."""
        hold = Hold(point, re.compile(request_line))
        with self._lock:
            self._hold = hold
        return hold

    def _take(self, data: bytes) -> Hold | None:
        """Return the hold that this request is for, and disarm it."""
        with self._lock:
            hold = self._hold
            if hold is None or hold.reached.is_set() or hold.request_line.match(data) is None:
                return None
            self._hold = None
            return hold

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((LOOPBACK, self._target))
            self._connections += [client, server]
            held: list[Hold] = []
            for source, sink, requests in ((client, server, True), (server, client, False)):
                arguments = (source, sink, held, requests)
                threading.Thread(target=self._pump, args=arguments, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, held: list[Hold], requests: bool) -> None:
        try:
            while data := source.recv(_CHUNK):
                if requests:
                    hold = self._take(data)
                    if hold is not None and hold.point is Point.REQUEST:
                        hold.stop_here()
                    elif hold is not None:
                        held.append(hold)
                elif held:
                    held.pop().stop_here()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # One side has gone: so has the other.
            source.close()
            sink.close()
