"""An association: negotiated, alive and ended, with its operations both ways (PS3.7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from gantry_dicom.errors import GantryError
from gantry_telemetry.logs import get_logger

from gantry_dimse.commands import DATA_SET, NO_DATA_SET, Command, CommandField, encode_command
from gantry_dimse.entity import Entity
from gantry_dimse.errors import Aborted, ContextNotAccepted, NoAnswer, NotAssociated, Rejected
from gantry_dimse.exchanges import Answers, Exchanges, Reply
from gantry_dimse.facts import AssociationFacts, End, EndKind, TlsFacts
from gantry_dimse.messages import Buffer, DataSink, Message, MessageAssembler
from gantry_dimse.negotiating import accepted_contexts, answer_window
from gantry_dimse.negotiation import (
    NO_REASON,
    TEMPORARY_CONGESTION,
    Abort,
    AbortSource,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    PresentationContext,
    UserInformation,
)
from gantry_dimse.performing import Performing
from gantry_dimse.record import Record
from gantry_dimse.sending import MAY_SEND, Sending
from gantry_dimse.states import State
from gantry_dimse.statuses import is_pending
from gantry_dimse.upper_layer import UpperLayer
from gantry_dimse.watching import Watch

log = get_logger(__name__)


class Association:
    """One association, as acceptor or requestor; ``listening`` and ``connecting`` make them.

    As a context manager it is released at the end, aborted on an error. It is the
    ``ServiceUser`` of its ``UpperLayer``.
    """

    def __init__(self, entity: Entity, request: AssociateRequest | None = None) -> None:
        """``request`` is ours, as the requestor; an acceptor gets its peer's."""
        requestor = request is not None
        self.entity = entity
        self.limits = entity.limits
        # Whatever the entity wants to remember with it.
        self.keep: Any = None
        self.contexts: dict[int, PresentationContext] = {}
        self.layer = UpperLayer(self, self.limits, requestor=requestor)
        # Called when the connection is gone.
        self.on_closed: Callable[[Association], None] | None = None
        # Done when negotiation is over; its result is whether there is an association.
        self.negotiated: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._record = Record(requestor=requestor, request=request)
        self._over = asyncio.Event()
        self._closed = asyncio.Event()
        self._assembler = MessageAssembler(
            self.contexts, self._open_sink, self._deliver, self.limits.maximum_command_bytes
        )
        self._exchanges = Exchanges(self.update_reading)
        self._performing = Performing(self)
        self._watch = Watch(self.layer, self.limits, self._is_busy, self.time_out)
        self._sending = Sending(
            self.layer, self.limits.maximum_sent_pdu_bytes, error=self._error_if_over, abort=self.abort
        )
        self._release_ready = False
        self._tasks: set[asyncio.Task[None]] = set()

    # What is known.

    @property
    def request(self) -> AssociateRequest | None:
        """The request, the peer's or ours; an acceptor has none at first."""
        return self._record.request

    @property
    def accept(self) -> AssociateAccept | None:
        """The acceptance, once there is one."""
        return self._record.accept

    @property
    def established(self) -> bool:
        """Whether messages can be sent."""
        return self._record.end is None and self.layer.state in MAY_SEND

    @property
    def over(self) -> bool:
        """Whether it has ended; its connection may close a little later."""
        return self._record.end is not None

    @property
    def peer_address(self) -> str:
        """The peer's network address."""
        return self._record.peer[0]

    @property
    def calling_ae_title(self) -> str:
        """The calling AE title; empty while no request has come."""
        return self.request.calling_ae_title if self.request else ""

    @property
    def called_ae_title(self) -> str:
        """The called AE title; empty while no request has come."""
        return self.request.called_ae_title if self.request else ""

    @property
    def tls(self) -> TlsFacts | None:
        """What TLS agreed on, where there is TLS."""
        return self._record.tls

    @property
    def facts(self) -> AssociationFacts:
        """All that is known of it at this moment."""
        return self._record.facts(self.layer)

    def context_for(self, abstract_syntax: str, transfer_syntax: str | None = None) -> PresentationContext:
        """Return the accepted context of a SOP class, in a transfer syntax if one is named.

        Raises ``ContextNotAccepted``.
        """
        for context in self.contexts.values():
            syntaxes = (None, context.transfer_syntax)
            if context.abstract_syntax == abstract_syntax and transfer_syntax in syntaxes:
                return context
        raise ContextNotAccepted("the peer has accepted no presentation context for this SOP class")

    # Messages.

    async def ask(
        self,
        context: PresentationContext,
        command: Command,
        data: Buffer | AsyncIterable[Buffer] | None = None,
    ) -> Reply:
        """Send a request that has one answer and return it.

        ``command`` needs no message id. As many are in the peer's hands at a time as it has
        agreed to; more wait here. Raises ``NotAssociated``.
        """
        async with self._exchanges.invocations:
            with self._exchanges.begin() as (message_id, answers):
                await self.send(context, _numbered(command, message_id, data), data)
                return await self._next(answers)

    async def ask_for_many(
        self, context: PresentationContext, command: Command, data: Buffer | None = None
    ) -> AsyncIterator[Reply]:
        """Send a request and yield its pending answers, then the last one (C-FIND, -MOVE, -GET).

        Leaving the iteration early cancels it and waits for the last answer; use
        ``contextlib.aclosing``. Raises ``NotAssociated``.
        """
        async with self._exchanges.invocations:
            with self._exchanges.begin() as (message_id, answers):
                await self.send(context, _numbered(command, message_id, data), data)
                over = False
                try:
                    while not over:
                        reply = await self._next(answers)
                        over = not is_pending(reply.status)
                        yield reply
                finally:
                    if not over and self.established:
                        await self.cancel(context, message_id)
                        while is_pending((await self._next(answers)).status):
                            pass

    async def cancel(self, context: PresentationContext, message_id: int) -> None:
        """Send C-CANCEL for a request of ours (PS3.7 9.3.2.3)."""
        await self.send(context, Command(CommandField.C_CANCEL, message_id_being_responded_to=message_id))

    async def send(
        self,
        context: PresentationContext,
        command: Command,
        data: Buffer | AsyncIterable[Buffer] | None = None,
    ) -> None:
        """Send one message; waits while the peer does not take it. Raises ``NotAssociated``.

        ``data`` may come in pieces, each of an even length but the last. When it ends too early,
        or the caller leaves, the association is aborted: the peer has half a message.
        """
        await self._sending.send(context.context_id, encode_command(command), data)
        if command.is_response:
            self._record.count(command)

    # Ends.

    async def release(self) -> None:
        """Release the association; abort it when the peer does not agree in time."""
        if self._record.end is None and self.layer.state is State.ESTABLISHED:
            self.layer.release()
        if self._record.end is None:
            try:
                async with asyncio.timeout(self.limits.artim_seconds):
                    await self._over.wait()
            except TimeoutError:
                self.time_out("the release was not answered in time")

    def abort(self, detail: str = "") -> None:
        """Abort the association as its user."""
        self._end_by_us(EndKind.ABORTED, detail)

    def not_opened(self, kind: EndKind, detail: str, peer: tuple[str, int] | None = None) -> None:
        """Note that the connection was not opened, or its TLS handshake failed."""
        if peer is not None:
            self._record.peer = peer
        self._finish(End(kind, by_peer=not self._record.requestor, detail=detail))
        self.closed()

    def dismiss(self, detail: str) -> None:
        """Close a connection that has not asked for an association."""
        self._finish(End(EndKind.DISMISSED, by_peer=False, detail=detail))
        self.layer.close()

    def time_out(self, detail: str) -> None:
        """Abort the association because its peer takes too long."""
        self._end_by_us(EndKind.TIMED_OUT, detail)

    async def drain(self, seconds: float) -> None:
        """Let operations in hand end, begin no more, then abort: an acceptor cannot release."""
        self._performing.drain()
        if self._record.end is None:
            try:
                async with asyncio.timeout(seconds):
                    await self._performing.wait_until_none()
            except TimeoutError:
                log.warning("operations_cut_off", count=len(self._performing))
        self.abort("the program stops")

    async def wait_over(self) -> AssociationFacts:
        """Wait for the end, whoever brings it."""
        await self._over.wait()
        return self.facts

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        await self._closed.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.release()
        else:
            self.abort("an error ended its use")

    def error(self) -> NotAssociated:
        """Return the error for somebody who wanted what the association's end does not allow."""
        if self._record.reject is not None:
            return Rejected(self._record.reject, self.facts)
        return Aborted(
            "there is no association" if self._record.end is None else self._record.end.text, self.facts
        )

    def _error_if_over(self) -> NotAssociated | None:
        return None if self._record.end is None else self.error()

    # What the upper layer tells.

    def connected(self) -> None:
        """The connection is there."""
        if self.layer.transport is not None:
            self._record.connect(self.layer.transport)

    def associate_indicated(self, request: AssociateRequest) -> None:
        """The peer asks for an association."""
        self._record.request = request
        self._run(self._negotiate(request))

    def associate_confirmed(self, answer: AssociateAccept | AssociateReject) -> None:
        """The peer has answered our request."""
        if isinstance(answer, AssociateReject):
            self._record.reject = answer
            self._finish(End(EndKind.REJECTED, by_peer=True, detail=answer.text))
        elif self.request is not None:
            self._establish(self.request, answer)

    def data(self, context_id: int, control: int, piece: memoryview, *, ends: bool) -> None:
        """A piece of a message has come."""
        self._assembler.take(context_id, control, piece, ends=ends)

    def release_indicated(self) -> None:
        """The peer asks for release, and gets it when what it asked for is done."""
        self._run(self._prepare_release())

    def release_confirmed(self) -> None:
        """The peer agrees to our release."""
        if self.layer.state is State.IDLE:
            self._finish(End(EndKind.RELEASED, by_peer=False))
        else:
            self._answer_release()

    def abort_indicated(self, abort: Abort | None, *, by_peer: bool, detail: str = "") -> None:
        """The association is over."""
        if abort is None:
            self._finish(End(EndKind.CONNECTION_LOST, by_peer, detail))
        else:
            self._finish(End(EndKind.ABORTED, by_peer, detail, abort.source, abort.reason))

    def writing_resumed(self) -> None:
        """The peer takes data again."""
        self._sending.resume()

    def closed(self) -> None:
        """The connection is gone."""
        if self.layer.trouble:
            end = End(EndKind.ABORTED, by_peer=False, detail=self.layer.trouble)
        elif self.layer.artim_expired:
            end = End(EndKind.TIMED_OUT, by_peer=False, detail="no A-ASSOCIATE-RQ came in time")
        else:
            end = End(EndKind.DISMISSED, by_peer=True, detail="closed without asking for an association")
        self._finish(end)
        self._closed.set()
        if self.on_closed is not None:
            self.on_closed(self)

    # Negotiation.

    async def _negotiate(self, request: AssociateRequest) -> None:
        try:
            async with asyncio.timeout(self.limits.artim_seconds):
                answer = await self.entity.negotiate(self, request)
        except TimeoutError:
            log.warning("negotiation_took_too_long", calling_ae_title=request.calling_ae_title)
            answer = TEMPORARY_CONGESTION
        except GantryError:
            answer = NO_REASON
        except Exception:
            log.exception("negotiation_failed", calling_ae_title=request.calling_ae_title)
            answer = NO_REASON
        if self.layer.state is not State.AWAITING_LOCAL_ANSWER:
            return  # the peer has not waited
        if isinstance(answer, AssociateReject):
            self._record.reject = answer
            self.layer.reject(answer)
            self._finish(End(EndKind.REJECTED, by_peer=False, detail=answer.text))
            return
        user = UserInformation(
            self.limits.maximum_pdu_bytes,
            async_window=answer_window(request.user.async_window, self.limits.maximum_operations),
            roles=answer.roles,
            extended=answer.extended,
            identity_response=answer.identity_response,
        )
        accept = AssociateAccept(request.called_ae_title, request.calling_ae_title, answer.contexts, user)
        self._establish(request, accept)
        self.layer.accept(accept)

    def _establish(self, request: AssociateRequest, accept: AssociateAccept) -> None:
        self._record.accept = accept
        self.contexts.update(accepted_contexts(request, accept, requestor=self._record.requestor))
        theirs = accept.user if self._record.requestor else request.user
        if theirs.maximum_length:
            self._sending.longest = min(theirs.maximum_length, self._sending.longest)
        asked, agreed = request.user.async_window, accept.user.async_window
        if asked is not None and agreed is not None:
            most = self.limits.maximum_operations
            # What the requestor invokes the acceptor performs, and the other way round.
            forth = min(asked.invoked or most, agreed.performed or most)
            back = min(asked.performed or most, agreed.invoked or most)
            self._exchanges.invocations = asyncio.Semaphore(forth if self._record.requestor else back)
            self._performing.at_a_time = back if self._record.requestor else forth
        self._watch.start()
        if not self.negotiated.done():
            self.negotiated.set_result(True)

    # Messages that come.

    def _open_sink(self, context: PresentationContext, command: Command) -> DataSink:
        return self.entity.open_sink(self, context, command)

    def _deliver(self, message: Message) -> None:
        command = message.command
        if command.command_field == CommandField.C_CANCEL:
            self._performing.cancel(command.message_id_being_responded_to)
            message.close()
        elif command.is_response:
            self._exchanges.deliver(message)
        else:
            self._performing.take(message)

    async def _next(self, answers: Answers) -> Reply:
        try:
            async with asyncio.timeout(self.limits.response_seconds):
                reply = await answers.get()
        except TimeoutError:
            self.time_out("a request was not answered in time")
            raise NoAnswer("the peer did not answer in time", self.facts) from None
        self.update_reading()
        if reply is None:
            raise self.error()
        self._record.count(reply.command)
        return reply

    def _is_busy(self) -> bool:
        return bool(self._performing) or bool(self._exchanges)

    def update_reading(self) -> None:
        """Let the peer wait when more has come than is being looked at, or go on."""
        asking = bool(self._exchanges)
        if self._performing.overfull(asking=asking) or self._exchanges.overfull:
            self.layer.pause_reading()
        else:
            self.layer.resume_reading()

    # Release and end.

    async def _prepare_release(self) -> None:
        await self._performing.wait_until_none()
        if self._record.end is None:
            try:
                await self.entity.before_release(self)
            except Exception:
                log.exception("before_release_failed", calling_ae_title=self.calling_ae_title)
        self._release_ready = True
        self._answer_release()

    def _answer_release(self) -> None:
        if not self._release_ready:
            return
        state = self.layer.state
        if state in (State.AWAITING_LOCAL_RELEASE, State.COLLISION_ACCEPTOR_LOCAL):
            self.layer.answer_release()
            self._finish(End(EndKind.RELEASED, by_peer=True))
        elif state is State.COLLISION_REQUESTOR_LOCAL:
            self.layer.answer_release()  # ours is still to be answered

    def _end_by_us(self, kind: EndKind, detail: str) -> None:
        if self._record.end is not None:
            return
        state = self.layer.state
        if state in (State.IDLE, State.AWAITING_REQUEST):
            self._finish(End(kind, by_peer=False, detail=detail))
            self.layer.close()
            return
        self._finish(End(kind, False, detail, AbortSource.SERVICE_USER, 0))
        if state is not State.AWAITING_CLOSE:
            self.layer.abort()

    def _finish(self, end: End) -> None:
        """Note the end, once, and let nobody wait for what will not come."""
        if self._record.end is not None:
            return
        self._record.finish(end)
        self._watch.stop()
        self._assembler.close()
        self._performing.end()
        self._exchanges.end()
        self._sending.resume()
        self._over.set()
        if not self.negotiated.done():
            self.negotiated.set_result(False)
        self.entity.ended(self)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _numbered(command: Command, message_id: int, data: object) -> Command:
    data_set = NO_DATA_SET if data is None else DATA_SET
    return replace(command, message_id=message_id, command_data_set_type=data_set)
