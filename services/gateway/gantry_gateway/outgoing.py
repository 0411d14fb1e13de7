"""Bodies on their way out: parts made or read ahead of the socket, within bounds.

Every answer with objects, frames or bulk data goes through here, so that a missing object is an
error status, a part too large to hold is streamed, and one answer holds a few megabytes or one
part, however long it is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gantry_gateway.multipart import closing, new_boundary, part_head

# Larger stored bytes are streamed rather than read whole.
WHOLE_BYTES = 4 << 20
# How much a response makes ahead of its socket, in bytes and in parts.
_AHEAD_BYTES = 8 << 20
_AHEAD_PARTS = 8


@dataclass(frozen=True, slots=True)
class Made:
    """A part's bytes, and the Content-Type that they turned out to have."""

    data: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class WholePart:
    """A part that is made whole; ``weight`` is about how many bytes it then holds."""

    content_type: str
    make: Callable[[], Awaitable[Made]]
    weight: int
    # Its length, where that is known before it is made.
    length: int | None = None
    location: str = ""


@dataclass(frozen=True, slots=True)
class StreamedPart:
    """A part too large to hold."""

    content_type: str
    open: Callable[[], AsyncIterator[bytes]]
    length: int
    location: str = ""


Part = WholePart | StreamedPart


async def respond(request: Request, parts: Sequence[Part], *, single: bool = False) -> Response:
    """Answer ``parts`` as multipart/related, or the only one as it is.

    The first piece is awaited before the status goes out; raises what making it raises. A part
    that fails later breaks the connection off, so that a torn body never looks whole.
    """
    if not single:
        boundary = new_boundary()
        essence = parts[0].content_type.partition(";")[0]
        content_type = f'multipart/related; type="{essence}"; boundary={boundary}'
        if len(parts) == 1 and isinstance(parts[0], WholePart):
            # Most answers are one frame; what is there already needs no stream around it.
            body = b"".join([piece async for piece in multipart(parts, boundary)])
            return Response(body, headers={"Content-Type": content_type})
        return await _stream(request, multipart(parts, boundary), _length(parts, boundary), content_type)
    (part,) = parts
    if isinstance(part, StreamedPart):
        return await _stream(request, part.open(), part.length, part.content_type)
    made = await part.make()
    return Response(made.data, headers={"Content-Type": made.content_type})


async def multipart(parts: Sequence[Part], boundary: str) -> AsyncIterator[bytes]:
    """Yield the multipart body of ``parts``."""
    ahead: deque[asyncio.Task[Made] | None] = deque()
    ahead_bytes = 0
    following = 0
    try:
        for number, part in enumerate(parts):
            while following < len(parts) and len(ahead) < _AHEAD_PARTS:
                coming = parts[following]
                if ahead and ahead_bytes + _weight(coming) > _AHEAD_BYTES:
                    break
                task = None if isinstance(coming, StreamedPart) else asyncio.ensure_future(coming.make())
                ahead.append(task)
                ahead_bytes += _weight(coming)
                following += 1
            making = ahead.popleft()
            ahead_bytes -= _weight(part)
            if making is not None:
                made = await making
                yield _head(boundary, part, made.content_type, first=number == 0)
                yield made.data
            elif isinstance(part, StreamedPart):
                head = _head(boundary, part, part.content_type, first=number == 0)
                async for chunk in part.open():
                    yield head + chunk if head else chunk
                    head = b""
        yield closing(boundary)
    finally:
        for task in ahead:
            if task is not None:
                task.cancel()


def _weight(part: Part) -> int:
    # A streamed part costs its chunks only, but those are its own turn.
    return _AHEAD_BYTES if isinstance(part, StreamedPart) else part.weight


def _head(boundary: str, part: Part, content_type: str, *, first: bool) -> bytes:
    headers = {"Content-Type": content_type}
    if part.location:
        headers["Content-Location"] = part.location
    return part_head(boundary, headers, first=first)


def _length(parts: Sequence[Part], boundary: str) -> int | None:
    total = len(closing(boundary))
    for number, part in enumerate(parts):
        if part.length is None:
            return None
        total += len(_head(boundary, part, part.content_type, first=number == 0)) + part.length
    return total


async def _stream(
    request: Request, chunks: AsyncIterator[bytes], length: int | None, content_type: str
) -> Response:
    headers = {"Content-Type": content_type}
    if length is not None:
        headers["Content-Length"] = str(length)
    first = await anext(chunks, b"")
    if request.method == "HEAD":
        # The same status and headers, without reading what nobody will get.
        return Response(headers=headers)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return StreamingResponse(whole(), headers=headers)
