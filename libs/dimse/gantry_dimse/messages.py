"""Messages: put together from fragments, and cut into P-DATA-TF PDUs (PS3.7 6.3, PS3.8 E)."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from gantry_dicom.errors import GantryError, TooLarge

from gantry_dimse.commands import Command, decode_command
from gantry_dimse.errors import BadPdu
from gantry_dimse.negotiation import AbortReason, PresentationContext
from gantry_dimse.pdus import PduType
from gantry_dimse.reader import COMMAND, LAST

Buffer = bytes | bytearray | memoryview | mmap.mmap

# The head of a P-DATA-TF PDU with one presentation data value.
_HEAD = struct.Struct(">BxLLBB")
_PDV_OVERHEAD = 6


class DataSink(Protocol):
    """Where a data set goes while it arrives. ``libs/reception``'s ``SpooledPart`` is one."""

    def write(self, chunk: memoryview, /) -> None:
        """Append ``chunk``, which is valid during the call only.

        A ``GantryError`` makes the rest of the data set be passed over: its service learns of it
        by ``Operation.data``, and the association goes on.
        """
        ...

    def buffer(self) -> Buffer:
        """Return everything written."""
        ...

    def close(self) -> None:
        """Forget it; safe to repeat."""
        ...


class MemorySink:
    """Keeps a data set of bounded length in memory."""

    def __init__(self, maximum_bytes: int) -> None:
        self._maximum = maximum_bytes
        self._data = bytearray()

    def write(self, chunk: memoryview) -> None:
        """Append ``chunk``. Raises ``TooLarge``."""
        if len(self._data) + len(chunk) > self._maximum:
            raise TooLarge("the data set is longer than this service takes")
        self._data += chunk

    def buffer(self) -> Buffer:
        """Return everything written."""
        return self._data

    def close(self) -> None:
        """Forget it."""
        self._data = bytearray()


@dataclass(slots=True, eq=False)
class Message:
    """A command and its data set; ``error`` says why there is less of that than was sent."""

    context: PresentationContext
    command: Command
    sink: DataSink | None = None
    error: GantryError | None = None

    def close(self) -> None:
        """Forget the data set."""
        if self.sink is not None:
            self.sink.close()


class MessageAssembler:
    """Puts the messages of one association together.

    PS3.7 6.3.1, PS3.8 E.1: the fragments of a message come one after the other, those of the
    command first, all under one presentation context.
    """

    def __init__(
        self,
        contexts: Mapping[int, PresentationContext],
        open_sink: Callable[[PresentationContext, Command], DataSink],
        deliver: Callable[[Message], None],
        maximum_command_bytes: int,
    ) -> None:
        self._contexts = contexts
        self._open_sink = open_sink
        self._deliver = deliver
        self._maximum_command_bytes = maximum_command_bytes
        self._command = bytearray()
        self._command_context_id = 0
        self._message: Message | None = None

    def take(self, context_id: int, control: int, piece: memoryview, *, ends: bool) -> None:
        """Take a piece of a fragment. Raises ``BadPdu``."""
        if control & COMMAND:
            self._take_command(context_id, control, piece, ends=ends)
            return
        message = self._message
        if message is None or message.context.context_id != context_id:
            raise BadPdu("a data set without its command", AbortReason.UNEXPECTED_PDU_PARAMETER)
        if message.error is None and message.sink is not None:
            try:
                message.sink.write(piece)
            except GantryError as error:
                message.error = error
                message.close()
        if ends and control & LAST:
            self._message = None
            self._deliver(message)

    @property
    def in_hand(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._command) or self._message is not None

    def close(self) -> None:
        """Forget a message that has begun: it will not end."""
        self._command = bytearray()
        if self._message is not None:
            self._message.close()
            self._message = None

    def _take_command(self, context_id: int, control: int, piece: memoryview, *, ends: bool) -> None:
        if self._message is not None:
            raise BadPdu("a command within a data set", AbortReason.UNEXPECTED_PDU_PARAMETER)
        context = self._contexts.get(context_id)
        if context is None:
            raise BadPdu(
                "a message under a presentation context that was not accepted",
                AbortReason.UNEXPECTED_PDU_PARAMETER,
            )
        if self._command and context_id != self._command_context_id:
            raise BadPdu("a command within a command", AbortReason.UNEXPECTED_PDU_PARAMETER)
        if len(self._command) + len(piece) > self._maximum_command_bytes:
            raise BadPdu("a command set is too long")
        self._command_context_id = context_id
        self._command += piece
        if ends and control & LAST:
            command = decode_command(self._command)
            self._command = bytearray()
            self._begin(Message(context, command))

    def _begin(self, message: Message) -> None:
        if not message.command.has_data_set:
            self._deliver(message)
            return
        self._message = message
        try:
            message.sink = self._open_sink(message.context, message.command)
        except GantryError as error:
            message.error = error


def pdus_of(context_id: int, data: Buffer, control: int, maximum_length: int) -> Iterator[bytes | memoryview]:
    """Yield the P-DATA-TF PDUs that carry ``data``, head and value in turn.

    ``control`` is ``COMMAND`` for a command set, and holds ``LAST`` when nothing follows after
    ``data``. ``maximum_length`` is the longest variable field, as the peer announced it.
    """
    view = memoryview(data)
    longest = maximum_length - _PDV_OVERHEAD
    position, end = 0, len(view)
    while True:
        piece = view[position : position + longest]
        position += len(piece)
        last = position >= end
        yield _HEAD.pack(
            PduType.P_DATA_TF,
            len(piece) + _PDV_OVERHEAD,
            len(piece) + 2,
            context_id,
            control if last else control & ~LAST,
        )
        yield piece
        if last:
            return
