"""A thin HTTP/1.1 client on asyncio sockets: the client must not be the bottleneck of a measurement."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 180.0
_BUFFER_BYTES = 1 << 20
# RFC 9110 15.3.5, 15.4.5: answers that have no content.
_WITHOUT_CONTENT = (204, 304)


@dataclass(frozen=True, slots=True)
class Request:
    """One request; a body comes in pieces. ``path`` is below the server's base."""

    path: str
    accept: str = "*/*"
    method: str = "GET"
    body: Sequence[bytes | memoryview] = ()
    content_type: str = ""

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.body))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; ``body`` is empty unless it was to be kept. Times are seconds since the request began."""

    status: int
    headers: Mapping[str, str]
    size: int
    seconds: float
    first_byte_seconds: float
    body: bytes = b""


@dataclass(slots=True)
class _Body:
    keep: bool
    size: int = 0
    pieces: list[bytes] = field(default_factory=list)

    def take(self, piece: bytes | memoryview) -> None:
        self.size += len(piece)
        if self.keep:
            self.pieces.append(bytes(piece))


class Connection:
    """One connection that is kept open; opened again when the server has closed an idle one."""

    def __init__(self, base_url: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        url = urlsplit(base_url)
        self._address = (url.hostname or "127.0.0.1", url.port or 80)
        self._prefix = url.path.rstrip("/")
        self._common = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self._socket: socket.socket | None = None
        self._view = memoryview(bytearray(_BUFFER_BYTES))
        self.opened = 0

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def send(self, request: Request, *, keep: bool = False) -> Answer:
        """Send a request and return the answer, with its body when ``keep`` says so.

        Raises ``ConnectionError``, ``EOFError`` and ``TimeoutError``.
        """
        begun = time.perf_counter()
        is_fresh = self._socket is None
        try:
            return await self._try(begun, request, keep)
        except (ConnectionError, EOFError):
            self.close()
            # The server may close an idle connection just then; what may have had an effect is not repeated.
            if is_fresh or request.method != "GET":
                raise
            return await self._try(begun, request, keep)
        except BaseException:
            self.close()
            raise

    async def _try(self, begun: float, request: Request, keep: bool) -> Answer:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            if self._socket is None:
                await self._open()
            return await self._exchange(begun, request, keep)

    async def _open(self) -> None:
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(self._socket, self._address)
        self.opened += 1

    async def _exchange(self, begun: float, request: Request, keep: bool) -> Answer:
        await self._send_all(self._head(request))
        for piece in request.body:
            await self._send_all(piece)
        received = await self._receive()
        first_byte = time.perf_counter() - begun
        head, rest = await self._answer_head(received)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        fields = (line.partition(":") for line in lines[1:])
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        body = _Body(keep)
        ends = await self._read_body(status, headers, rest, body)
        if ends or headers.get("connection", "").lower() == "close":
            self.close()
        seconds = time.perf_counter() - begun
        return Answer(status, headers, body.size, seconds, first_byte, b"".join(body.pieces))

    def _head(self, request: Request) -> bytes:
        host, port = self._address
        lines = (
            f"{request.method} {self._prefix}{request.path} HTTP/1.1\r\n"
            f"Host: {host}:{port}\r\nAccept: {request.accept}\r\n{self._common}"
        )
        if request.body:
            lines += f"Content-Type: {request.content_type}\r\nContent-Length: {request.size}\r\n"
        return f"{lines}\r\n".encode()

    async def _answer_head(self, received: bytes) -> tuple[bytes, bytes]:
        while True:
            while (end := received.find(b"\r\n\r\n")) < 0:
                received += await self._receive()
            head, received = received[:end], received[end + 4 :]
            # RFC 9110 15.2: what is only interim.
            if head[9:10] != b"1":
                return head, received

    async def _read_body(self, status: int, headers: Mapping[str, str], rest: bytes, body: _Body) -> bool:
        """Read the body; return whether it ends with the connection."""
        if status in _WITHOUT_CONTENT:
            return False
        if "chunked" in headers.get("transfer-encoding", "").lower():
            await self._read_chunks(rest, body)
            return False
        body.take(rest)
        if "content-length" in headers:
            wanted = int(headers["content-length"])
            while body.size < wanted:
                body.take(await self._receive_view())
            return False
        try:
            while True:
                body.take(await self._receive_view())
        except EOFError:
            return True

    async def _read_chunks(self, rest: bytes, body: _Body) -> None:
        while True:
            while (end := rest.find(b"\r\n")) < 0:
                rest += await self._receive()
            missing, rest = int(rest[:end].split(b";")[0], 16), rest[end + 2 :]
            if not missing:
                while b"\r\n" not in rest:
                    rest += await self._receive()
                return
            while missing:
                piece: bytes | memoryview = rest or await self._receive_view()
                body.take(piece[:missing])
                rest = bytes(piece[missing:])
                missing -= min(missing, len(piece))
            while len(rest) < len(b"\r\n"):
                rest += await self._receive()
            rest = rest[2:]

    async def _send_all(self, data: bytes | memoryview) -> None:
        if self._socket is not None:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def _receive(self) -> bytes:
        return bytes(await self._receive_view())

    async def _receive_view(self) -> memoryview:
        """Return what has come, valid until the next call. Raises ``EOFError``."""
        if self._socket is None:
            raise EOFError("the connection is closed")
        size = await asyncio.get_running_loop().sock_recv_into(self._socket, self._view)
        if not size:
            raise EOFError("the answer ends early")
        return self._view[:size]
