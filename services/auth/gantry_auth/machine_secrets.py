"""Secrets that we make, and what is kept of them.

What has 256 random bits is kept as a plain SHA-256: nobody guesses it, and a slow hash would
only be a way to keep us busy. What people choose goes through ``passwords``.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

# Without what looks like something else in a terminal's font.
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_PASSWORD_CHARACTERS = 20


def new_secret() -> str:
    """Return a secret for a machine: 256 bits, URL-safe."""
    return secrets.token_urlsafe(32)


def new_password() -> str:
    """Return a password for a person to copy: 100 bits in groups of five."""
    letters = [secrets.choice(_ALPHABET) for _ in range(_PASSWORD_CHARACTERS)]
    return "-".join("".join(letters[start : start + 5]) for start in range(0, len(letters), 5))


def digest(secret: str) -> bytes:
    """Return what is kept of a secret that we made."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def matches(secret: str, kept: bytes) -> bool:
    """Whether ``secret`` is the one that ``kept`` came of."""
    return hmac.compare_digest(digest(secret), kept)
