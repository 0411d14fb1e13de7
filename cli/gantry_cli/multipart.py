"""Reading a multipart/related answer (RFC 2387, PS3.18 8.6.1.2) into files, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from email.message import Message
from pathlib import Path
from typing import BinaryIO

from gantry_dicom.errors import BadRequest


def read_parts(content_type: str, chunks: Iterable[bytes], folder: Path) -> Iterator[Path]:
    """Write each part of the body to a file of its own in ``folder`` and yield it when it is complete.

    A body that is itself ``application/dicom`` is one part. Raises ``BadRequest`` for other types and for a
    body that ends early.
    """
    header = Message()
    header["content-type"] = content_type
    kind, boundary = header.get_content_type(), header.get_boundary()
    if kind == "application/dicom":
        yield _whole(chunks, folder / "1.dcm")
    elif kind == "multipart/related" and boundary:
        yield from _split(iter(chunks), b"\r\n--" + boundary.encode("latin-1"), folder)
    else:
        raise BadRequest(f"the answer is {kind or 'of no type'}, not DICOM")


def _whole(chunks: Iterable[bytes], file: Path) -> Path:
    with file.open("wb") as stream:
        stream.writelines(chunks)
    return file


class _Reader:
    """The body as a buffer that is filled on demand."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.buffer = bytearray(b"\r\n")  # so that the first delimiter looks like all others

    def fill(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise BadRequest("the answer ends in the middle of a part")
        self.buffer += chunk

    def take_until(self, mark: bytes, sink: BinaryIO | None = None) -> bytes:
        """Consume up to and including ``mark``; what comes before goes to ``sink`` or is returned."""
        taken = bytearray()
        while (at := self.buffer.find(mark)) < 0:
            safe = max(0, len(self.buffer) - len(mark) + 1)
            if sink is None:
                taken += self.buffer[:safe]
            else:
                sink.write(self.buffer[:safe])
            del self.buffer[:safe]
            self.fill()
        if sink is None:
            taken += self.buffer[:at]
        else:
            sink.write(self.buffer[:at])
        del self.buffer[: at + len(mark)]
        return bytes(taken)

    def peek(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self.fill()
        return bytes(self.buffer[:count])


def _split(chunks: Iterator[bytes], delimiter: bytes, folder: Path) -> Iterator[Path]:
    reader = _Reader(chunks)
    reader.take_until(delimiter)  # the preamble
    number = 0
    while reader.peek(2) != b"--":
        reader.take_until(b"\r\n")  # padding after the boundary
        if reader.peek(2) == b"\r\n":  # a part without headers
            reader.take_until(b"\r\n")
        else:
            reader.take_until(b"\r\n\r\n")
        number += 1
        file = folder / f"{number}.dcm"
        with file.open("wb") as stream:
            reader.take_until(delimiter, stream)
        yield file
