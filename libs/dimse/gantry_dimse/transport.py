"""What the transport reports when a connection could not be opened."""

from __future__ import annotations

import ssl

from gantry_dimse.facts import EndKind


def describe(error: Exception, *, connected: bool) -> tuple[EndKind, str]:
    """Return the kind of end and the reason, in words that are not the peer's.

    ``connected`` tells that only the TLS handshake was missing, as for every acceptor.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return EndKind.TLS_FAILED, f"certificate not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return EndKind.TLS_FAILED, (error.reason or "handshake failed").lower().replace("_", " ")
    if isinstance(error, TimeoutError):
        return EndKind.TIMED_OUT, "the connection was not open in time"
    if connected:
        return EndKind.TLS_FAILED, "the peer closed the connection in the handshake"
    if isinstance(error, ConnectionRefusedError):
        return EndKind.NOT_CONNECTED, "nobody listens at the address"
    if isinstance(error, OSError) and error.strerror:
        return EndKind.NOT_CONNECTED, error.strerror.lower()
    return EndKind.NOT_CONNECTED, type(error).__name__
