"""multipart/related, both ways (RFC 2046 5.1, RFC 2387).

Reading is by python-multipart's low-level parser, which takes 5 GB/s and has no slow case
on hostile bodies; a hand-written parser was a fifth faster and not worth its risk.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from gantry_dicom.errors import BadRequest
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

# RFC 2046: a boundary has 1 to 70 characters.
_MAXIMUM_BOUNDARY = 70
# Headers of one part: how many, and bytes of each.
_MAXIMUM_HEADERS = 32
_MAXIMUM_HEADER_BYTES = 8 << 10
# What may stand before the first delimiter.
_MAXIMUM_PREAMBLE = 64 << 10


@dataclass(slots=True)
class PartStarted:
    """A part's headers are complete; names are lower case."""

    headers: dict[str, str]


@dataclass(slots=True)
class PartData:
    """Some bytes of the current part."""

    data: bytes | memoryview


@dataclass(slots=True)
class PartEnded:
    """The current part is complete."""


Event = PartStarted | PartData | PartEnded


@dataclass(slots=True)
class _Header:
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)


class MultipartReader:
    """Turns the bytes of a body into events; push in chunks with ``feed``."""

    def __init__(self, boundary: str) -> None:
        """Raise ``BadRequest`` when ``boundary`` is none."""
        try:
            encoded = boundary.encode("ascii")
        except UnicodeEncodeError as error:
            raise BadRequest("the boundary is not ASCII") from error
        if not 1 <= len(encoded) <= _MAXIMUM_BOUNDARY:
            raise BadRequest("the boundary must have 1 to 70 characters")
        self._delimiter = b"--" + encoded
        self._events: list[Event] = []
        self._preamble: bytearray | None = bytearray()
        self._headers: dict[str, str] = {}
        self._header = _Header()
        self._complete = False
        self._parts = 0
        self._parser = MultipartParser(
            encoded,
            {
                "on_part_begin": self._on_part_begin,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_end": self._on_end,
            },
            max_header_count=_MAXIMUM_HEADERS,
            max_header_size=_MAXIMUM_HEADER_BYTES,
        )

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that ``chunk`` completes; raises ``BadRequest``."""
        if self._preamble is not None:
            chunk = self._skip_preamble(self._preamble, chunk)
            if not chunk:
                return []
        if not self._complete:
            try:
                self._parser.write(chunk)
            except MultipartParseError as error:
                raise BadRequest("the multipart body is malformed") from error
        events, self._events = self._events, []
        return events

    def finish(self) -> None:
        """Raise ``BadRequest`` unless the closing delimiter was seen and there was a part."""
        if self._parts == 0:
            raise BadRequest("the multipart body has no part")
        if not self._complete:
            raise BadRequest("the multipart body ends before its closing delimiter")

    def _skip_preamble(self, preamble: bytearray, chunk: bytes) -> bytes:
        if not preamble and chunk.startswith(self._delimiter):
            self._preamble = None
            return chunk
        preamble += chunk
        start = 0
        while True:
            found = preamble.find(self._delimiter, start)
            if found < 0:
                if len(preamble) > _MAXIMUM_PREAMBLE:
                    raise BadRequest("no delimiter at the start of the multipart body")
                return b""
            if found == 0 or preamble[found - 2 : found] == b"\r\n":
                rest = bytes(preamble[found:])
                self._preamble = None
                return rest
            start = found + 1

    def _on_part_begin(self) -> None:
        self._headers = {}
        self._parts += 1

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartData(memoryview(data)[start:end]))

    def _on_part_end(self) -> None:
        self._events.append(PartEnded())

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header.name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header.value += data[start:end]

    def _on_header_end(self) -> None:
        name = self._header.name.decode("latin-1").strip().lower()
        self._headers[name] = self._header.value.decode("latin-1").strip()
        self._header = _Header()

    def _on_headers_finished(self) -> None:
        self._events.append(PartStarted(self._headers))

    def _on_end(self) -> None:
        self._complete = True


def new_boundary() -> str:
    """Return a boundary that no stored bytes can hold but by a chance of 2**-128 (case O-15)."""
    return secrets.token_hex(16)


def part_head(boundary: str, headers: Mapping[str, str], *, first: bool) -> bytes:
    """Return the delimiter and headers that go before a part's bytes."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{'' if first else chr(13) + chr(10)}--{boundary}\r\n{lines}\r\n".encode("latin-1")


def closing(boundary: str) -> bytes:
    """Return what ends a multipart body."""
    return f"\r\n--{boundary}--\r\n".encode("latin-1")
