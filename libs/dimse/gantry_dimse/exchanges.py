"""Requests of ours that the peer has not answered yet (PS3.7 6.2, D.3.3.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gantry_telemetry.logs import get_logger

from gantry_dimse.commands import Command
from gantry_dimse.messages import Buffer, Message
from gantry_dimse.statuses import PROCESSING_FAILURE

log = get_logger(__name__)

# Answers not yet looked at, to one request, before the peer has to wait.
_WAITING_ANSWERS = 64


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the peer; ``data`` is its data set, in the context's transfer syntax."""

    command: Command
    data: Buffer | None = None

    @property
    def status(self) -> int:
        """The status; 0110H of an answer that has none."""
        return PROCESSING_FAILURE if self.command.status is None else self.command.status


Answers = asyncio.Queue[Reply | None]


class Exchanges:
    """The requests in the peer's hands, by message id; an answer of ``None`` is the end of it all."""

    def __init__(self, changed: Callable[[], None]) -> None:
        # Called when there are more or fewer answers waiting.
        self._changed = changed
        self._answers: dict[int, Answers] = {}
        self._message_id = 0
        self.invocations = asyncio.Semaphore(1)

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def overfull(self) -> bool:
        """Whether somebody does not look at the answers to its request."""
        return any(answers.qsize() >= _WAITING_ANSWERS for answers in self._answers.values())

    @contextmanager
    def begin(self) -> Iterator[tuple[int, Answers]]:
        """Give a message id that no request in hand has, and the queue of its answers."""
        while True:
            self._message_id = self._message_id % 0xFFFF + 1
            if self._message_id not in self._answers:
                break
        message_id = self._message_id
        answers = self._answers[message_id] = Answers()
        try:
            yield message_id, answers
        finally:
            del self._answers[message_id]
            self._changed()

    def deliver(self, message: Message) -> None:
        """Take an answer."""
        answers = self._answers.get(message.command.message_id_being_responded_to or 0)
        complete = message.sink is not None and message.error is None
        data = bytes(message.sink.buffer()) if complete and message.sink is not None else None
        message.close()
        if answers is None:
            log.info("answer_to_nothing", kind=message.command.name)
            return
        answers.put_nowait(Reply(message.command, data))
        self._changed()

    def end(self) -> None:
        """Tell everybody who waits that no answer comes any more."""
        for answers in self._answers.values():
            answers.put_nowait(None)
