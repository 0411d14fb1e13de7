"""What an association has come to so far; ``facts`` is the value of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from types import MappingProxyType

from gantry_dimse.commands import RESPONSE, Command
from gantry_dimse.facts import AssociationFacts, End, TlsFacts
from gantry_dimse.negotiation import AssociateAccept, AssociateReject, AssociateRequest
from gantry_dimse.statuses import is_pending
from gantry_dimse.upper_layer import UpperLayer


class Record:
    """Kept by an association while it lives."""

    def __init__(self, *, requestor: bool, request: AssociateRequest | None) -> None:
        self.requestor = requestor
        self.request = request
        self.accept: AssociateAccept | None = None
        self.reject: AssociateReject | None = None
        self.peer: tuple[str, int] = ("", 0)
        self.tls: TlsFacts | None = None
        self.end: End | None = None
        self._ended_at: datetime | None = None
        self._local_port = 0
        self._connected_at = datetime.now(UTC)
        self._statuses: Counter[tuple[int, int]] = Counter()

    def connect(self, transport: asyncio.BaseTransport) -> None:
        """Note who is at the other end of ``transport``."""
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if isinstance(peer, tuple):
            self.peer = (str(peer[0]), int(peer[1]))
        if isinstance(local, tuple):
            self._local_port = int(local[1])
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            cipher = tls.cipher()
            certificate = tls.getpeercert(binary_form=True)
            self.tls = TlsFacts(tls.version() or "", cipher[0] if cipher else "", certificate)

    def count(self, answer: Command) -> None:
        """Note the status of an answer, unless others follow it."""
        if answer.status is not None and not is_pending(answer.status):
            self._statuses[answer.command_field & ~RESPONSE, answer.status] += 1

    def finish(self, end: End) -> None:
        """Note the end."""
        self.end = end
        self._ended_at = datetime.now(UTC)

    def facts(self, layer: UpperLayer) -> AssociationFacts:
        """Return all that is known at this moment."""
        return AssociationFacts(
            requestor=self.requestor,
            peer_address=self.peer[0],
            peer_port=self.peer[1],
            local_port=self._local_port,
            connected_at=self._connected_at,
            request=self.request,
            accept=self.accept,
            reject=self.reject,
            tls=self.tls,
            statuses=MappingProxyType(dict(self._statuses)),
            opening=layer.opening,
            bytes_received=layer.bytes_received,
            bytes_sent=layer.bytes_sent,
            ended_at=self._ended_at,
            end=self.end,
        )
