"""What is known of an association, as one value: for logs, and for whoever asks why it failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from gantry_dimse.negotiation import AssociateAccept, AssociateReject, AssociateRequest


class EndKind(Enum):
    """How an association, or the connection that was to carry it, ended."""

    RELEASED = "released"
    REJECTED = "rejected"
    ABORTED = "aborted"
    CONNECTION_LOST = "connection-lost"
    NOT_CONNECTED = "not-connected"
    TLS_FAILED = "tls-failed"
    TIMED_OUT = "timed-out"
    # A peer that sent no A-ASSOCIATE-RQ and went, or had to make room.
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class End:
    """The end of an association.

    ``by_peer`` tells who ended it; ``source`` and ``reason`` are those of an A-ABORT (PS3.8
    Table 9-26); ``detail`` says what was wrong in our own words and quotes nothing a peer sent.
    """

    kind: EndKind
    by_peer: bool
    detail: str = ""
    source: int | None = None
    reason: int | None = None

    @property
    def text(self) -> str:
        """One line for people."""
        who = "by the peer" if self.by_peer else "here"
        codes = "" if self.source is None else f" (source {self.source}, reason {self.reason})"
        return f"{self.kind.value} {who}{codes}" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What the TLS handshake agreed on; the certificate in DER, when the peer showed one."""

    version: str
    cipher: str
    peer_certificate: bytes | None = None


@dataclass(frozen=True, slots=True)
class AssociationFacts:
    """An association at one moment.

    ``request`` is missing while none has come, ``accept`` and ``reject`` while there is no
    answer. ``statuses`` counts the final answers by (command field of the request, status),
    whoever gave them. Times are aware, in UTC.
    """

    requestor: bool
    peer_address: str
    peer_port: int
    local_port: int
    connected_at: datetime
    request: AssociateRequest | None = None
    accept: AssociateAccept | None = None
    reject: AssociateReject | None = None
    tls: TlsFacts | None = None
    statuses: Mapping[tuple[int, int], int] = field(default_factory=dict)
    # The first bytes that the peer sent, at most 8: enough to tell another protocol by.
    opening: bytes = field(default=b"", repr=False)
    bytes_received: int = 0
    bytes_sent: int = 0
    ended_at: datetime | None = None
    end: End | None = None

    @property
    def calling_ae_title(self) -> str:
        """The calling AE title; empty while no request has come."""
        return self.request.calling_ae_title if self.request else ""

    @property
    def called_ae_title(self) -> str:
        """The called AE title; empty while no request has come."""
        return self.request.called_ae_title if self.request else ""
