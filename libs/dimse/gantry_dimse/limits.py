"""Bounds of an association, the same for acceptors and requestors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    # The longest P-DATA-TF taken (PS3.8 D.1); a longer one is answered with A-ABORT, unread.
    maximum_pdu_bytes: int = 256 << 10
    # The longest A-ASSOCIATE-RQ or -AC taken: 128 contexts of 40 transfer syntaxes are 150 kB.
    maximum_request_bytes: int = 256 << 10
    # The longest P-DATA-TF sent, to a peer that takes longer ones or says 0.
    maximum_sent_pdu_bytes: int = 256 << 10
    # The longest command set taken.
    maximum_command_bytes: int = 64 << 10
    # The longest data set that the sink in memory takes; a service with longer ones has its own sink.
    maximum_identifier_bytes: int = 16 << 20
    # Operations in hand at a time on one association: what is answered to an asynchronous
    # operations window that asks for more, or for any number.
    maximum_operations: int = 16
    # The ARTIM timer (PS3.8 9.1.5), also for connecting and the TLS handshake.
    artim_seconds: float = 15.0
    # The same timer where the peer is to close the connection: all is said, nobody waits for it.
    closing_seconds: float = 2.0
    # An association without an operation in hand on which nothing arrives is aborted after this.
    idle_seconds: float = 300.0
    # One PDU may take this long to arrive, and to be taken by the peer.
    pdu_seconds: float = 60.0
    # How long a requested operation waits for its next answer.
    response_seconds: float = 300.0
