"""Bodies on their way out: parts made or read ahead of the socket, within bounds.

Every answer with objects, frames or bulk data goes through here, so that a missing object is an
error status, a part too large to hold is streamed, and one answer holds a few megabytes or one
part, however long it is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from gantry_dicom.errors import CannotProcess, NotAcceptable
from gantry_web.problems import problem
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gantry_gateway.byte_ranges import ByteRange, Ranged, names_etag, requested_range
from gantry_gateway.multipart import closing, new_boundary, part_head

# Larger stored bytes are streamed rather than read whole.
WHOLE_BYTES = 4 << 20
# How much a response makes ahead of its socket, in bytes and in parts.
_AHEAD_BYTES = 8 << 20
_AHEAD_PARTS = 8

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Made:
    """A part's bytes, whole or as they come, and the Content-Type that they turned out to have."""

    data: bytes | AsyncIterator[bytes]
    content_type: str


@dataclass(frozen=True, slots=True)
class WholePart:
    """A part that is made ahead of its turn; ``weight`` is about how many bytes it then holds."""

    content_type: str
    make: Callable[[], Awaitable[Made]]
    weight: int
    # Its length, where that is known before it is made.
    length: int | None = None
    location: str = ""


@dataclass(frozen=True, slots=True)
class StreamedPart:
    """A part too large to hold; ``open`` takes the first byte wanted and how many."""

    content_type: str
    open: Callable[[int, int], AsyncIterator[bytes]]
    length: int
    location: str = ""


Part = WholePart | StreamedPart


async def respond(
    request: Request, parts: Sequence[Part], *, single: bool = False, etag: str = ""
) -> Response:
    """Answer ``parts`` as multipart/related, or the only one as it is.

    ``etag`` is a strong validator of what the parts hold. The first piece is awaited before the
    status goes out; raises what making it raises, and ``NotAcceptable`` where what is stored cannot
    be made into what was asked for. A part that fails later breaks the connection off, so that a
    torn body never looks whole.
    """
    # A boundary is new each time: the same parts are not the same bytes.
    validator = etag if single or not etag else f"W/{etag}"
    if validator and names_etag(request.headers.get("if-none-match", ""), validator):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": validator, "Vary": "Accept"})
    try:
        answer = await (_single(request, parts[0], etag) if single else _multipart(request, parts))
    except CannotProcess as error:
        # It is the object's doing, not the server's: as it is stored it can be had.
        raise NotAcceptable(error.detail) from error
    if validator:
        answer.headers["ETag"] = validator
        answer.headers["Vary"] = "Accept"
    return answer


def partial_answer(answer: Response, missing: int, what: str) -> Response:
    """Make an answer that lacks something into one that says so (PS3.18 10.4.3)."""
    if missing and answer.status_code == HTTPStatus.OK:
        answer.status_code = HTTPStatus.PARTIAL_CONTENT
        answer.headers.append("Warning", f'299 gantry "{missing} {what}"')
    return answer


async def _multipart(request: Request, parts: Sequence[Part]) -> Response:
    boundary = new_boundary()
    essence = parts[0].content_type.partition(";")[0]
    content_type = f'multipart/related; type="{essence}"; boundary={boundary}'
    if len(parts) == 1 and isinstance(parts[0], WholePart):
        # Most answers are one frame; what is there already needs no stream around it.
        made = await parts[0].make()
        if isinstance(made.data, bytes):
            head = _head(boundary, parts[0], made.content_type, first=True)
            return Response(
                b"".join((head, made.data, closing(boundary))), headers={"Content-Type": content_type}
            )
    return await _stream(request, multipart(parts, boundary), _length(parts, boundary), content_type)


async def _single(request: Request, part: Part, etag: str) -> Response:
    if isinstance(part, StreamedPart):
        wanted, length = requested_range(request.headers, etag, part.length), part.length
        if wanted is Ranged.UNSATISFIABLE:
            return _unsatisfiable(length)
        asked = wanted if isinstance(wanted, ByteRange) else ByteRange(0, length)
        chunks = part.open(asked.first, asked.count)
        answer = await _stream(request, chunks, asked.count, part.content_type)
    else:
        made = await part.make()
        if not isinstance(made.data, bytes):
            # Its length is not known: there is nothing to take a range of.
            return await _stream(request, made.data, part.length, made.content_type)
        data, length = made.data, len(made.data)
        wanted = requested_range(request.headers, etag, length)
        if wanted is Ranged.UNSATISFIABLE:
            return _unsatisfiable(length)
        if isinstance(wanted, ByteRange):
            data = data[wanted.first : wanted.first + wanted.count]
        answer = Response(data, headers={"Content-Type": made.content_type})
    answer.headers["Accept-Ranges"] = "bytes"
    if isinstance(wanted, ByteRange):
        answer.status_code = HTTPStatus.PARTIAL_CONTENT
        answer.headers["Content-Range"] = wanted.content_range(length)
    return answer


def _unsatisfiable(length: int) -> Response:
    headers = {"Content-Range": f"bytes */{length}"}
    return problem(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"there are {length} bytes", headers)


async def multipart(parts: Sequence[Part], boundary: str) -> AsyncIterator[bytes]:
    """Yield the multipart body of ``parts``."""
    first = True
    async with aclosing(parts_in_order(parts)) as made_parts:
        for part in parts:
            made = await anext(made_parts)
            head = _head(boundary, part, made.content_type, first=first)
            first = False
            if isinstance(made.data, bytes):
                yield head
                yield made.data
                continue
            async for chunk in made.data:
                yield head + chunk if head else chunk
                head = b""
    yield closing(boundary)


def parts_in_order(parts: Iterable[Part]) -> AsyncGenerator[Made, None]:
    """Yield the parts made, in order, a few ahead of the one that is asked for."""
    return made_ahead((_weight(part), _maker(part)) for part in parts)


async def made_ahead(makers: Iterable[tuple[int, Callable[[], Awaitable[T]]]]) -> AsyncGenerator[T, None]:
    """Yield what each maker makes, in order, a few ahead of the one that is asked for.

    With each maker goes about how many bytes its result holds; those ahead hold a few megabytes
    together, or one result.
    """
    ahead: deque[tuple[int, asyncio.Task[T]]] = deque()
    coming = iter(makers)
    waiting = next(coming, None)
    try:
        while waiting is not None or ahead:
            while waiting is not None and len(ahead) < _AHEAD_PARTS:
                weight, make = waiting
                if ahead and sum(held for held, _ in ahead) + weight > _AHEAD_BYTES:
                    break
                ahead.append((weight, asyncio.ensure_future(make())))
                waiting = next(coming, None)
            yield await ahead[0][1]
            ahead.popleft()
    finally:
        for _, task in ahead:
            task.cancel()


def _maker(part: Part) -> Callable[[], Awaitable[Made]]:
    if isinstance(part, WholePart):
        return part.make

    async def opened() -> Made:
        return Made(part.open(0, part.length), part.content_type)

    return opened


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
