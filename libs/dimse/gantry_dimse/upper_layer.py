"""The upper layer's state machine on a transport (PS3.8 9.2): one instance a connection.

``states.TRANSITIONS`` says which action an event has in which state; the methods here are
those actions. What a service user asks out of turn raises ``WrongState``.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, cast

from gantry_dimse.errors import BadPdu, WrongState
from gantry_dimse.limits import Limits
from gantry_dimse.negotiation import (
    PROTOCOL_VERSION_NOT_SUPPORTED,
    Abort,
    AbortReason,
    AbortSource,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
)
from gantry_dimse.pdus import (
    RELEASE_RP,
    RELEASE_RQ,
    PduType,
    decode_abort,
    decode_accept,
    decode_reject,
    decode_request,
    encode_abort,
    encode_accept,
    encode_reject,
    encode_request,
)
from gantry_dimse.reader import PduReader
from gantry_dimse.states import TRANSITIONS, Action, Event, State

Parts = Sequence[bytes | memoryview]
Payload = AssociateRequest | AssociateAccept | AssociateReject | Abort | BadPdu | Parts | None

# What a read may fill: little while a connection is idle, more once data flows.
_SMALL_READ = 8 << 10
_LARGE_READ = 256 << 10
_WRITE_HIGH_WATER = 1 << 20
_OPENING_BYTES = 8


class ServiceUser(Protocol):
    """Who uses the upper layer: told of the indications and confirmations of PS3.8 7."""

    def connected(self) -> None:
        """The transport connection is there."""
        ...

    def associate_indicated(self, request: AssociateRequest) -> None:
        """A peer asks for an association; answer by ``accept`` or ``reject``."""
        ...

    def associate_confirmed(self, answer: AssociateAccept | AssociateReject) -> None:
        """The peer has answered our request."""
        ...

    def data(self, context_id: int, control: int, piece: memoryview, *, ends: bool) -> None:
        """A piece of a message fragment; may raise ``BadPdu``."""
        ...

    def release_indicated(self) -> None:
        """The peer asks for release; answer by ``answer_release``."""
        ...

    def release_confirmed(self) -> None:
        """The peer has agreed to our release."""
        ...

    def abort_indicated(self, abort: Abort | None, *, by_peer: bool, detail: str = "") -> None:
        """The association is over; without ``abort`` the connection was lost."""
        ...

    def writing_resumed(self) -> None:
        """The peer takes data again."""
        ...

    def closed(self) -> None:
        """The transport connection is gone; nothing more comes."""
        ...


class UpperLayer(asyncio.BufferedProtocol):
    """The protocol machine of one connection, for its acceptor or its requestor."""

    def __init__(self, user: ServiceUser, limits: Limits, *, requestor: bool) -> None:
        self.state = State.IDLE
        self.transport: asyncio.Transport | None = None
        self.bytes_received = 0
        # The first bytes that came: what another protocol betrays itself by.
        self.opening = b""
        self.bytes_sent = 0
        self.write_paused = False
        # What was wrong with the connection before there was an association.
        self.trouble = ""
        self.artim_expired = False
        self.reader = PduReader(self, limits)
        self._user = user
        self._limits = limits
        self._requestor = requestor
        self._request: AssociateRequest | None = None
        self._artim: asyncio.TimerHandle | None = None
        self._data_flows = False
        self._deaf = False
        self.read_paused = False
        self._buffer = bytearray(_SMALL_READ)
        self._view = memoryview(self._buffer)
        self._actions: dict[Action, Callable[[Payload], None]] = {
            action: getattr(self, f"_{action.name.lower()}") for action in Action
        }

    # The local user's primitives.

    def request(self, request: AssociateRequest) -> None:
        """Ask for an association; the caller opens the connection next."""
        self._request = request
        self._do(Event.ASSOCIATE_REQUEST)

    def accept(self, accept: AssociateAccept) -> None:
        """Accept the association that was indicated."""
        self._do(Event.ACCEPT, accept)

    def reject(self, reject: AssociateReject) -> None:
        """Reject the association that was indicated."""
        self._do(Event.REJECT, reject)

    def write(self, parts: Parts) -> None:
        """Send P-DATA-TF PDUs, ready to go; mind ``write_paused``."""
        self._do(Event.DATA_REQUEST, parts)

    def release(self) -> None:
        """Ask the peer to release the association."""
        self._do(Event.RELEASE_REQUEST)

    def answer_release(self) -> None:
        """Agree to the release that was indicated."""
        self._do(Event.RELEASE_RESPONSE)

    def abort(self) -> None:
        """Abort as the service user."""
        self._do(Event.ABORT_REQUEST)

    def pause_reading(self) -> None:
        """Let the peer wait: what it sends stays in the kernel."""
        if not self.read_paused and self.transport and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self.read_paused:
            self.read_paused = False
            if self.transport and not self.transport.is_closing():
                self.transport.resume_reading()

    def shrink(self) -> None:
        """Give back the large read buffer; for a connection that has been idle for a while."""
        self._resize(_SMALL_READ)

    def close(self) -> None:
        """Drop the transport connection without a word: for one that has asked for nothing yet."""
        self._stop_artim()
        self.state = State.IDLE
        if self.transport:
            self.transport.abort()

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: as the requestor send the request, as the acceptor await one."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER)
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            # Not every event loop does it for a connection that was accepted elsewhere.
            with suppress(OSError):
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._user.connected()
        self._do(Event.CONNECTION_CONFIRMED if self._requestor else Event.CONNECTION_INDICATED)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the protocol's signature
        """Return where the next read goes."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Take ``nbytes`` that were read."""
        if len(self.opening) < _OPENING_BYTES:
            self.opening += bytes(self._view[: min(nbytes, _OPENING_BYTES - len(self.opening))])
        self.bytes_received += nbytes
        if self._deaf:
            return
        try:
            self.reader.feed(self._view[:nbytes])
        except BadPdu as error:
            # Where the next PDU begins cannot be known any more.
            self._deaf = True
            self.trouble = self.trouble or error.detail
            if self.state not in (State.IDLE, State.AWAITING_CONNECTION):
                self._do(Event.BAD_PDU_RECEIVED, error)
        if nbytes == len(self._buffer) < _LARGE_READ:
            self._resize(_LARGE_READ)

    def pause_writing(self) -> None:
        """The peer takes less than we send."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self.write_paused = False
        self._user.writing_resumed()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it was lost tells nobody more
        """The connection is closed, by whomever."""
        if self.state is not State.IDLE:
            self._do(Event.CONNECTION_CLOSED)
        self.transport = None
        self._user.closed()

    # What the reader finds.

    def data_begins(self) -> None:
        """A P-DATA-TF begins: its pieces are passed on if the state allows."""
        self._data_flows = False
        self._do(Event.DATA_RECEIVED)

    def fragment(self, context_id: int, control: int, piece: memoryview, *, ends: bool) -> None:
        """Pass a piece on."""
        if self._data_flows:
            self._user.data(context_id, control, piece, ends=ends)

    def pdu(self, kind: int, body: bytes) -> None:
        """Turn a whole PDU into its event."""
        if self.state is State.IDLE:
            return  # closed while more was on its way
        event, decode = _RECEIVED[kind]
        self._do(event, decode(body) if decode else None)

    # The machine.

    def _do(self, event: Event, payload: Payload = None) -> None:
        action = TRANSITIONS.get((self.state, event))
        if action is not None:
            self._actions[action](payload)
        elif event not in _FROM_TRANSPORT:
            raise WrongState(f"{event.name} is not for state {self.state}")

    def _ae_1(self, _: Payload) -> None:
        self.state = State.AWAITING_CONNECTION

    def _ae_2(self, _: Payload) -> None:
        self.state = State.AWAITING_ANSWER
        self._send(encode_request(cast("AssociateRequest", self._request)))

    def _ae_3(self, accept: Payload) -> None:
        self.state = State.ESTABLISHED
        self._user.associate_confirmed(cast("AssociateAccept", accept))

    def _ae_4(self, reject: Payload) -> None:
        self.state = State.IDLE
        self._user.associate_confirmed(cast("AssociateReject", reject))
        self._close_transport()

    def _ae_5(self, _: Payload) -> None:
        self.state = State.AWAITING_REQUEST
        self._start_artim(self._limits.artim_seconds)

    def _ae_6(self, request: Payload) -> None:
        self._stop_artim()
        request = cast("AssociateRequest", request)
        self.state = State.AWAITING_LOCAL_ANSWER
        # PS3.8 Table 9-11: bit 0 is version 1; other bits are other versions, in addition.
        if not request.protocol_version & 1:
            self.trouble = PROTOCOL_VERSION_NOT_SUPPORTED.text
            self._ae_8(PROTOCOL_VERSION_NOT_SUPPORTED)
            return
        self._user.associate_indicated(request)

    def _ae_7(self, accept: Payload) -> None:
        self.state = State.ESTABLISHED
        self._send(encode_accept(cast("AssociateAccept", accept)))

    def _ae_8(self, reject: Payload) -> None:
        self._await_close(encode_reject(cast("AssociateReject", reject)))

    def _dt_1(self, parts: Payload) -> None:
        self._send_all(cast("Parts", parts))

    def _dt_2(self, _: Payload) -> None:
        self._data_flows = True

    def _ar_1(self, _: Payload) -> None:
        self.state = State.AWAITING_RELEASE_RP
        self._send(RELEASE_RQ)

    def _ar_2(self, _: Payload) -> None:
        self.state = State.AWAITING_LOCAL_RELEASE
        self._user.release_indicated()

    def _ar_3(self, _: Payload) -> None:
        self.state = State.IDLE
        self._user.release_confirmed()
        self._close_transport()

    def _ar_4(self, _: Payload) -> None:
        self._await_close(RELEASE_RP)

    def _ar_5(self, _: Payload) -> None:
        self._stop_artim()
        self.state = State.IDLE

    def _ar_6(self, _: Payload) -> None:
        self._data_flows = True

    def _ar_7(self, parts: Payload) -> None:
        self._send_all(cast("Parts", parts))

    def _ar_8(self, _: Payload) -> None:
        self.state = State.COLLISION_REQUESTOR_LOCAL if self._requestor else State.COLLISION_ACCEPTOR_RP
        self._user.release_indicated()

    def _ar_9(self, _: Payload) -> None:
        self.state = State.COLLISION_REQUESTOR_RP
        self._send(RELEASE_RP)

    def _ar_10(self, _: Payload) -> None:
        self.state = State.COLLISION_ACCEPTOR_LOCAL
        self._user.release_confirmed()

    def _aa_1(self, _: Payload) -> None:
        self._await_close(encode_abort(Abort(AbortSource.SERVICE_USER)))

    def _aa_2(self, _: Payload) -> None:
        self._stop_artim()
        self.state = State.IDLE
        self._close_transport()

    def _aa_3(self, abort: Payload) -> None:
        self._stop_artim()
        self.state = State.IDLE
        self._user.abort_indicated(cast("Abort", abort), by_peer=True)
        self._close_transport()

    def _aa_4(self, _: Payload) -> None:
        self._stop_artim()
        self.state = State.IDLE
        self._user.abort_indicated(None, by_peer=True)

    def _aa_5(self, _: Payload) -> None:
        self._stop_artim()
        self.state = State.IDLE

    def _aa_6(self, _: Payload) -> None:
        """Ignore the PDU."""

    def _aa_7(self, payload: Payload) -> None:
        self._send(encode_abort(_provider_abort(payload)))

    def _aa_8(self, payload: Payload) -> None:
        abort = _provider_abort(payload)
        self._await_close(encode_abort(abort))
        detail = payload.detail if isinstance(payload, BadPdu) else "a PDU came that the state does not allow"
        self._user.abort_indicated(abort, by_peer=False, detail=detail)

    # Means.

    def _await_close(self, last: bytes) -> None:
        self.state = State.AWAITING_CLOSE
        self._send(last)
        self._start_artim(self._limits.closing_seconds)
        # What still comes is ignored, but the peer's close must be seen.
        self.resume_reading()

    def _send(self, data: bytes) -> None:
        if self.transport:
            self.bytes_sent += len(data)
            self.transport.write(data)

    def _send_all(self, parts: Parts) -> None:
        if self.transport:
            self.bytes_sent += sum(map(len, parts))
            self.transport.writelines(parts)

    def _close_transport(self) -> None:
        if self.transport is None:
            return
        if self.artim_expired:
            # What is not written by now would keep the connection for ever.
            self.transport.abort()
        else:
            self.transport.close()

    def _start_artim(self, seconds: float) -> None:
        self._stop_artim()
        self._artim = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _stop_artim(self) -> None:
        if self._artim is not None:
            self._artim.cancel()
            self._artim = None

    def _expire(self) -> None:
        self._artim = None
        self.artim_expired = True
        self._do(Event.ARTIM_EXPIRED)

    def _resize(self, size: int) -> None:
        if len(self._buffer) != size:
            self._buffer = bytearray(size)
            self._view = memoryview(self._buffer)


def _provider_abort(payload: Payload) -> Abort:
    reason = payload.reason if isinstance(payload, BadPdu) else AbortReason.UNEXPECTED_PDU
    return Abort(AbortSource.SERVICE_PROVIDER, reason)


# The event of each PDU that is passed on whole, and how it is read.
_RECEIVED: dict[int, tuple[Event, Callable[[bytes], Payload] | None]] = {
    PduType.ASSOCIATE_RQ: (Event.RQ_RECEIVED, decode_request),
    PduType.ASSOCIATE_AC: (Event.AC_RECEIVED, decode_accept),
    PduType.ASSOCIATE_RJ: (Event.RJ_RECEIVED, decode_reject),
    PduType.RELEASE_RQ: (Event.RELEASE_RQ_RECEIVED, None),
    PduType.RELEASE_RP: (Event.RELEASE_RP_RECEIVED, None),
    PduType.ABORT: (Event.ABORT_RECEIVED, decode_abort),
}
# Events that no service user causes: in a state that has no cell for one it came too late.
_FROM_TRANSPORT = frozenset(Event) - {
    Event.ASSOCIATE_REQUEST,
    Event.ACCEPT,
    Event.REJECT,
    Event.DATA_REQUEST,
    Event.RELEASE_REQUEST,
    Event.RELEASE_RESPONSE,
    Event.ABORT_REQUEST,
}
