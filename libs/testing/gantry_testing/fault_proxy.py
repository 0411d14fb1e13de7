"""An HTTP proxy that makes an object store misbehave, or stops time between two steps of a server.

``hold`` lets a test act when an object is stored but its answer has not arrived
(``Point.ANSWER``), or when its request has been sent but has not arrived (``Point.REQUEST``):
moments of a few microseconds otherwise. ``set_weather`` makes a share of the requests fail the
ways real stores and networks do.

Every request has connections of its own (both sides are told ``Connection: close``), so that
nothing here needs to know where an answer ends.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self

from gantry_dicom.errors import Unavailable
from gantry_embedded.ports import LOOPBACK

_CHUNK = 256 << 10
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CONNECTION = re.compile(rb"\r\nconnection:[^\r]*", re.IGNORECASE)
_SLOW_DOWN_BODY = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
_SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SLOW_DOWN_BODY), _SLOW_DOWN_BODY)
)
# How long a client may go on sending what was refused already.
_REFUSED_SECONDS = 5.0


class Point(Enum):
    """Where to hold: before the request reaches the server, or before its answer leaves."""

    REQUEST = "request"
    ANSWER = "answer"


class Fault(Enum):
    """What can befall a request."""

    # Refused, with nothing done.
    SLOW_DOWN = "503 SlowDown"
    # The connection is reset before the request reaches the server.
    RESET = "reset"
    # The server has done it, and the answer is lost.
    LOST_ANSWER = "lost answer"
    # Half of it arrives, then silence, then a reset.
    STALL = "stall half way"
    # It arrives late.
    DELAY = "delay"


@dataclass(frozen=True, slots=True)
class Weather:
    """Which share of the requests meets which fault (together 1 at most); times in seconds."""

    shares: Mapping[Fault, float] = field(default_factory=dict)
    requests: re.Pattern[bytes] = re.compile(rb"")
    stall_seconds: float = 5.0
    delay_seconds: float = 0.5


@dataclass(slots=True)
class Hold:
    """One armed hold: ``reached`` when an exchange is held, which goes on after ``release``."""

    point: Point
    request_line: re.Pattern[bytes]
    _loop: asyncio.AbstractEventLoop
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    _go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def wait_reached(self, seconds: float = 30.0) -> None:
        """Wait until an exchange is held. Raises ``Unavailable``."""
        if not self.reached.wait(seconds):
            raise Unavailable(f"no request like {self.request_line.pattern!r} came within {seconds:g} s")

    def release(self) -> None:
        """Let the held exchange go on; one that is not held yet will not be."""
        self.released.set()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._go_on.set)

    async def stop_here(self) -> None:
        """Hold the exchange until released; on the proxy's own loop."""
        self.reached.set()
        await self._go_on.wait()


class FaultProxy:
    """Forwards HTTP requests to ``port`` on the loopback; ``with`` starts and ends it."""

    def __init__(self, port: int, *, seed: int = 0) -> None:
        self._target = port
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        # What befell how many requests, for reports.
        self.met: dict[Fault, int] = dict.fromkeys(Fault, 0)
        self._dice = random.Random(seed)  # noqa: S311 - must repeat, not surprise
        self._weather = Weather()
        self._hold: Hold | None = None
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True, name="fault-proxy")
        self._ended = asyncio.Event()
        # The loop itself holds tasks weakly.
        self._exchanges: set[asyncio.Task[None]] = set()

    def start(self) -> Self:
        """Begin to forward."""
        self._thread.start()
        return self

    def close(self) -> None:
        """End every connection."""
        if self._hold is not None:
            self._hold.release()
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def set_weather(self, weather: Weather | None = None) -> None:
        """Change what befalls requests from now on; without a weather, nothing does."""
        with self._lock:
            self._weather = weather or Weather()

    def hold(self, request_line: bytes, point: Point) -> Hold:
        """Arm a hold for the next request whose first line matches the expression."""
        hold = Hold(point, re.compile(request_line), self._loop)
        with self._lock:
            self._hold = hold
        return hold

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._begin, sock=self._listener, limit=_CHUNK)
        await self._ended.wait()
        server.close()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = asyncio.create_task(self._exchange(reader, writer))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._exchanges.discard)

    def _take(self, request_line: bytes) -> Hold | None:
        """Return the hold that this request is for, and disarm it."""
        with self._lock:
            hold = self._hold
            if hold is None or hold.released.is_set() or hold.request_line.match(request_line) is None:
                return None
            self._hold = None
            return hold

    def _draw(self, request_line: bytes) -> tuple[Fault | None, Weather]:
        with self._lock:
            weather = self._weather
            if not weather.shares or weather.requests.match(request_line) is None:
                return None, weather
            drawn = self._dice.random()
            for fault, share in weather.shares.items():
                if drawn < share:
                    self.met[fault] += 1
                    return fault, weather
                drawn -= share
            return None, weather

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await self._answer(head, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            _reset(writer)  # one side has gone: so has the other
        finally:
            writer.close()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request_line = head.split(b"\r\n", 1)[0]
        hold = self._take(request_line)
        if hold is not None and hold.point is Point.REQUEST:
            await hold.stop_here()
        fault, weather = self._draw(request_line)
        if fault is Fault.RESET:
            _reset(writer)
            return
        if fault is Fault.SLOW_DOWN:
            await _refuse(reader, writer)
            return
        if fault is Fault.DELAY:
            await asyncio.sleep(weather.delay_seconds)
        server_reader, server_writer = await asyncio.open_connection(LOOPBACK, self._target)
        half = _half_of_body(head) if fault is Fault.STALL else None
        server_writer.write(_closing(head))
        sending = asyncio.create_task(_pump(reader, server_writer, half))
        try:
            if half is not None:
                await sending
                await asyncio.sleep(weather.stall_seconds)
                _reset(writer)
                return
            answer = await server_reader.read(_CHUNK)
            if fault is Fault.LOST_ANSWER:
                _reset(writer)
                return
            if hold is not None and hold.point is Point.ANSWER:
                await hold.stop_here()
            if fault is Fault.STALL:
                writer.write(answer[: len(answer) // 2])
                await writer.drain()
                await asyncio.sleep(weather.stall_seconds)
                _reset(writer)
                return
            while answer:
                writer.write(answer)
                await writer.drain()
                answer = await server_reader.read(_CHUNK)
        finally:
            sending.cancel()
            server_writer.close()


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_SLOW_DOWN)
    await writer.drain()
    writer.write_eof()
    # A close with bytes unread would reset the connection, and the answer with it.
    try:
        async with asyncio.timeout(_REFUSED_SECONDS):
            while await reader.read(_CHUNK):
                pass
    except TimeoutError:
        return


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
    """Pass on what comes, up to ``limit`` bytes. A server that has gone shows in its answer."""
    passed = 0
    try:
        while limit is None or passed < limit:
            chunk = await reader.read(_CHUNK if limit is None else min(_CHUNK, limit - passed))
            if not chunk:
                return
            passed += len(chunk)
            writer.write(chunk)
            await writer.drain()
    except OSError:
        return


def _half_of_body(head: bytes) -> int | None:
    found = _LENGTH.search(head)
    length = int(found.group(1)) if found else 0
    return length // 2 if length > 1 else None


def _closing(head: bytes) -> bytes:
    line, _, rest = _CONNECTION.sub(b"", head).partition(b"\r\n")
    return line + b"\r\nConnection: close\r\n" + rest


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and not writer.transport.is_closing():
        # No lingering: the other side sees a reset instead of an end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
