"""Client certificates as the registry names them: by digest, or by subject."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from gantry_dicom.errors import BadRequest

DIGEST, SUBJECT = "sha256:", "subject:"
_HEX = re.compile(r"[0-9a-f]{64}")
_LONGEST_SUBJECT = 1000


def names_of(certificate: bytes) -> frozenset[str]:
    """Return what an entity may be bound to so that ``certificate`` (DER) is its own.

    The subject counts only because TLS has verified the certificate before.
    """
    hashing = Hash(SHA256())
    hashing.update(certificate)
    names = {DIGEST + hashing.finalize().hex()}
    try:
        names.add(SUBJECT + x509.load_der_x509_certificate(certificate).subject.rfc4514_string())
    except ValueError:
        return frozenset(names)  # it can still be known by its digest
    return frozenset(names)


def check_binding(text: str) -> str:
    """Return ``text`` in the form that is compared. Raises ``BadRequest`` when it names no certificate.

    Digests may be written with colons and capitals.
    """
    name = text.strip()
    if name.lower().startswith(DIGEST):
        digest = name[len(DIGEST) :].replace(":", "").lower()
        if _HEX.fullmatch(digest):
            return DIGEST + digest
    elif name.lower().startswith(SUBJECT):
        subject = name[len(SUBJECT) :].strip()
        if subject and len(subject) <= _LONGEST_SUBJECT:
            try:
                return SUBJECT + x509.Name.from_rfc4514_string(subject).rfc4514_string()
            except ValueError:
                raise BadRequest("the subject of a certificate is no name of RFC 4514") from None
    raise BadRequest("a certificate is named as sha256:<64 hexadecimal digits> or subject:<RFC 4514 name>")
