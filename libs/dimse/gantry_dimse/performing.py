"""Requests of the peer: in hand, as many as was agreed, or waiting for their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from gantry_dicom.errors import GantryError
from gantry_telemetry.logs import get_logger

from gantry_dimse.commands import Command, CommandField
from gantry_dimse.entity import Operation, Response, answer_to
from gantry_dimse.errors import NotAssociated
from gantry_dimse.messages import Message
from gantry_dimse.statuses import PROCESSING_FAILURE, SOP_CLASS_NOT_SUPPORTED, UNRECOGNISED_OPERATION

if TYPE_CHECKING:
    from gantry_dimse.association import Association

log = get_logger(__name__)

# Requests that wait before the peer has to; more while we wait for answers, which come behind them.
_WAITING = 1
_WAITING_WHILE_ASKING = 16


class Performing:
    """The operations that one association's peer has asked for."""

    def __init__(self, association: Association) -> None:
        self._association = association
        self._operations: dict[asyncio.Task[None], Operation] = {}
        self._waiting: deque[Message] = deque()
        self._none_in_hand = asyncio.Event()
        self._none_in_hand.set()
        self._draining = False
        # How many may be in hand at a time (PS3.7 D.3.3.3).
        self.at_a_time = 1

    def __len__(self) -> int:
        return len(self._operations)

    def overfull(self, *, asking: bool) -> bool:
        """Tell whether the peer has to wait with further requests."""
        return len(self._waiting) >= (_WAITING_WHILE_ASKING if asking else _WAITING)

    def take(self, message: Message) -> None:
        """Take a request."""
        self._waiting.append(message)
        self._start()

    def cancel(self, message_id: int | None) -> None:
        """Tell an operation that the peer does not want it any more (C-CANCEL)."""
        for operation in self._operations.values():
            if operation.command.message_id == message_id:
                operation.cancelled.set()

    def drain(self) -> None:
        """Begin nothing more."""
        self._draining = True

    async def wait_until_none(self) -> None:
        """Wait until nothing is in hand."""
        await self._none_in_hand.wait()

    def end(self) -> None:
        """The association has ended: give up what waits and what nobody will hear of."""
        while self._waiting:
            self._waiting.popleft().close()
        for task, operation in self._operations.items():
            operation.cancelled.set()
            # An instance that has come whole is kept though nobody hears so: that is no loss,
            # and some senders hang up instead of waiting.
            if operation.command.command_field != CommandField.C_STORE:
                task.cancel()

    def _start(self) -> None:
        while self._waiting and len(self._operations) < self.at_a_time and not self._draining:
            operation = Operation(self._association, self._waiting.popleft())
            task = asyncio.create_task(self._perform(operation))
            self._operations[task] = operation
            self._none_in_hand.clear()
            task.add_done_callback(self._performed)
        self._association.update_reading()

    def _performed(self, task: asyncio.Task[None]) -> None:
        del self._operations[task]
        self._start()
        if not self._operations:
            self._none_in_hand.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("operation_failed", exc_info=error)
            self._association.abort("an operation failed")

    async def _perform(self, operation: Operation) -> None:
        command = operation.command
        try:
            response = await self._response_of(operation)
            await self._association.send(operation.context, answer_to(command, response), response.data)
        except NotAssociated:
            log.info("answer_not_sent", kind=command.name)
        finally:
            operation.answered.set()
            operation.message.close()

    async def _response_of(self, operation: Operation) -> Response:
        command: Command = operation.command
        entity = self._association.entity
        service = entity.services.get(command.command_field)
        if service is None:
            return Response(UNRECOGNISED_OPERATION)
        context = operation.context
        # PS3.7 10.1.1: reports are the one request that comes from the SCP.
        is_report = command.command_field == CommandField.N_EVENT_REPORT
        if not (context.peer_is_scp if is_report else context.peer_is_scu):
            return Response(SOP_CLASS_NOT_SUPPORTED, error_comment="the role was not negotiated")
        try:
            return await service(operation)
        except GantryError as error:
            return Response(entity.status_of(command, error), error_comment=error.detail)
        except Exception:
            log.exception("service_failed", kind=command.name)
            return Response(PROCESSING_FAILURE)
