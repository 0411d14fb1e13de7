"""Sending messages, one at a time, no faster than the peer takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable

from gantry_dimse.errors import NotAssociated
from gantry_dimse.messages import Buffer, pdus_of
from gantry_dimse.reader import COMMAND, LAST
from gantry_dimse.states import State
from gantry_dimse.upper_layer import UpperLayer

# Data handed to the transport before we look whether the peer keeps up.
_BATCH_BYTES = 1 << 20
# States in which this side may send messages (PS3.8 Table 9-10, event 9).
MAY_SEND = (State.ESTABLISHED, State.AWAITING_LOCAL_RELEASE)


class Sending:
    """What one association sends."""

    def __init__(
        self,
        layer: UpperLayer,
        longest: int,
        *,
        error: Callable[[], NotAssociated | None],
        abort: Callable[[str], None],
    ) -> None:
        """``longest`` is that of a P-DATA-TF, in bytes; ``error`` says why nothing can be sent any more.

        ``abort`` is called when a message is broken off: the peer has half of it.
        """
        self._layer = layer
        self._error = error
        self._abort = abort
        self._turn = asyncio.Lock()
        self._writable = asyncio.Event()
        self.longest = longest

    def resume(self) -> None:
        """The peer takes data again, or there is nothing to wait for any more."""
        self._writable.set()

    async def send(
        self, context_id: int, command: bytes, data: Buffer | AsyncIterable[Buffer] | None
    ) -> None:
        """Send one message. Raises ``NotAssociated``."""
        async with self._turn:
            try:
                await self._send(context_id, command, data)
            except NotAssociated:
                raise
            except BaseException:
                self._abort("a message could not be sent to its end")
                raise

    async def _send(
        self, context_id: int, command: bytes, data: Buffer | AsyncIterable[Buffer] | None
    ) -> None:
        parts = list(pdus_of(context_id, command, COMMAND | LAST, self.longest))
        if isinstance(data, AsyncIterable):
            await self._write(parts)
            await self._send_pieces(context_id, data)
        else:
            await self._send_whole(context_id, parts, data)

    async def _send_whole(
        self, context_id: int, parts: list[bytes | memoryview], data: Buffer | None
    ) -> None:
        if data is not None:
            size = 0
            for part in pdus_of(context_id, data, LAST, self.longest):
                parts.append(part)
                size += len(part)
                # Heads and values come in turn; only whole PDUs are handed over.
                if size >= _BATCH_BYTES and len(parts) % 2 == 0:
                    await self._write(parts)
                    parts, size = [], 0
        await self._write(parts)

    async def _send_pieces(self, context_id: int, pieces: AsyncIterable[Buffer]) -> None:
        held: Buffer = b""
        async for piece in pieces:
            if held:
                await self._write(list(pdus_of(context_id, held, 0, self.longest)))
            held = piece
        await self._write(list(pdus_of(context_id, held, LAST, self.longest)))

    async def _write(self, parts: list[bytes | memoryview]) -> None:
        self._check()
        if self._layer.state not in MAY_SEND:
            raise NotAssociated("the association is being released")
        self._layer.write(parts)
        if self._layer.write_paused:
            self._writable.clear()
            await self._writable.wait()
            self._check()

    def _check(self) -> None:
        error = self._error()
        if error is not None:
            raise error
