"""What an upload in parts reads from: pieces of a bounded size, and a way to give up.

obstore aborts a multipart upload when its source fails and only then; so whoever wants to
end one makes its source fail with ``Abandoned``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from typing import Self

from gantry_objectstore.protocol import Buffer


class Abandoned(Exception):
    """Whoever asked for the upload is gone."""


class Source:
    """Buffers in memory (or mapped), cut into pieces without copying."""

    def __init__(self, parts: Sequence[memoryview], piece: int) -> None:
        self._pieces = (part[at : at + piece] for part in parts for at in range(0, part.nbytes, piece))
        self._abandoned = False
        self.failure: Exception | None = None

    def abandon(self) -> None:
        """Make the next read fail."""
        self._abandoned = True

    def __iter__(self) -> Iterator[Buffer]:
        return self

    def __next__(self) -> Buffer:
        if self._abandoned:
            raise Abandoned
        return next(self._pieces)


class AsyncSource:
    """An asynchronous source, counted, whose first bytes can be looked at before choosing how to put it."""

    def __init__(self, source: AsyncIterable[Buffer], piece: int) -> None:
        self.size = 0
        # What the source itself raised: no trouble of the store.
        self.failure: Exception | None = None
        self._source: AsyncIterator[Buffer] = aiter(source)
        self._piece = piece
        self._read_ahead: list[Buffer] = []
        self._abandoned = False
        self._pending: asyncio.Future[Buffer] | None = None

    async def whole_if_small(self) -> bytes | None:
        """Return everything when it is less than one piece, else None."""
        while self.size < self._piece:
            try:
                buffer = await anext(self._source)
            except StopAsyncIteration:
                return b"".join(self._read_ahead)
            self._count(buffer)
            self._read_ahead.append(buffer)
        self._read_ahead.reverse()
        return None

    def abandon(self) -> None:
        """Make the next read fail, and one that waits now."""
        self._abandoned = True
        if self._pending is not None:
            self._pending.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Buffer:
        if self._abandoned:
            raise Abandoned
        if self._read_ahead:
            return self._read_ahead.pop()
        self._pending = asyncio.ensure_future(_next(self._source))
        try:
            buffer = await self._pending
        except asyncio.CancelledError:
            if self._abandoned:
                raise Abandoned from None
            raise
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.failure = error
            raise
        finally:
            self._pending = None
        self._count(buffer)
        return buffer

    def _count(self, buffer: Buffer) -> None:
        self.size += memoryview(buffer).nbytes


async def _next(source: AsyncIterator[Buffer]) -> Buffer:
    return await anext(source)
