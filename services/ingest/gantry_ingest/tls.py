"""TLS of the DIMSE listener: the BCP 195 profile (PS3.15 B.12; RFC 9325); certificates may change."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from gantry_dicom.errors import GantryError
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

log = get_logger(__name__)

RELOADS = metrics.counter(
    "gantry_dimse_tls_reloads", "Certificates read again because they changed", ("outcome",)
)

# RFC 9325 4.2: forward secrecy and AEAD; TLS 1.3 has nothing else.
CIPHERS = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)


class ClientCertificates(Enum):
    """Whether a device has to show a certificate."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


_MODES = {
    ClientCertificates.NONE: ssl.CERT_NONE,
    ClientCertificates.OPTIONAL: ssl.CERT_OPTIONAL,
    ClientCertificates.REQUIRED: ssl.CERT_REQUIRED,
}


class BadCertificateFiles(GantryError):
    """Certificate, key or CA bundle cannot be used."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where they are: PEM files; ``ca`` knows who may issue certificates of devices."""

    certificate: Path
    key: Path
    ca: Path | None
    clients: ClientCertificates

    def context(self) -> ssl.SSLContext:
        """Return a context of what the files hold now. Raises ``BadCertificateFiles``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        # RFC 9325 3.2, 3.4, 4.1: no compression, no renegotiation, our order of ciphers.
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        if self.clients is not ClientCertificates.NONE and self.ca is None:
            raise BadCertificateFiles("certificates of devices need a CA bundle to be verified with")
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.ca is not None:
                context.load_verify_locations(self.ca)
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise BadCertificateFiles(f"the TLS files cannot be used: {reason}") from error
        context.verify_mode = _MODES[self.clients]
        return context

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Return what changes when one of the files does; a missing one counts as changed."""
        return tuple(_stamp(path) for path in (self.certificate, self.key, self.ca) if path is not None)


class TlsReloader:
    """Gives a new context when the files have changed; one that cannot be used keeps the old one."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises ``BadCertificateFiles``."""
        self._files = files
        self._stamp = files.stamp()
        self.context = files.context()

    def look(self) -> bool:
        """Return whether ``context`` is another one now."""
        stamp = self._files.stamp()
        if stamp == self._stamp:
            return False
        try:
            context = self._files.context()
        except BadCertificateFiles as error:
            # Perhaps only one of two files is there yet: it is looked at again when it changes.
            log.warning("tls_files_not_taken", reason=error.detail)
            RELOADS.labels("not-taken").inc()
            self._stamp = stamp
            return False
        self._stamp, self.context = stamp, context
        log.info("tls_files_taken")
        RELOADS.labels("taken").inc()
        return True


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)
