"""Passwords: argon2id (RFC 9106), a bounded number at a time.

The same letters can be typed in several ways: passwords are compared in the form NFKC of Unicode
(NIST SP 800-63B 5.1.1.2).
"""

from __future__ import annotations

import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY
from gantry_dicom.errors import BadRequest, OutOfResources

SHORTEST, LONGEST = 12, 256
# 64 MiB and some tens of milliseconds each: more at a time would only take memory.
_AT_A_TIME = 4
_WAIT_SECONDS = 10.0

_HASHER = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
# Of a password that nobody knows: checked where there is no user, to take as long.
_NOBODY = _HASHER.hash("")
_SLOTS = threading.BoundedSemaphore(_AT_A_TIME)


class BadPassword(BadRequest):
    """A password that nobody should have."""


def check_new(password: str, name: str) -> str:
    """Return ``password`` when user ``name`` may take it. Raises ``BadPassword``."""
    normal = _normal(password)
    if normal is None or len(normal) < SHORTEST:
        raise BadPassword(f"a password has {SHORTEST} to {LONGEST} characters")
    if name.lower() in normal.lower() or len(set(normal)) < 5:
        raise BadPassword("the password is too easy to guess")
    return password


def hash_password(password: str) -> str:
    """Return what is kept of ``password``. Raises ``BadPassword``, ``OutOfResources``."""
    normal = _normal(password)
    if normal is None:
        raise BadPassword(f"a password has {SHORTEST} to {LONGEST} characters")
    with _Slot():
        return _HASHER.hash(normal)


def verify(password: str, kept: str | None) -> bool:
    """Whether ``password`` is the one behind ``kept``; as slow when there is none.

    Raises ``OutOfResources`` when too many are being checked.
    """
    normal = _normal(password)
    if normal is None:
        return False
    with _Slot():
        try:
            _HASHER.verify(kept or _NOBODY, normal)
        except (VerificationError, InvalidHashError):
            return False
    return kept is not None


def needs_rehash(kept: str) -> bool:
    """Whether ``kept`` was made with other costs than today's."""
    return _HASHER.check_needs_rehash(kept)


def _normal(password: str) -> str | None:
    """Return the password as it is compared, or ``None`` for one that is too long to be anybody's."""
    if len(password) > LONGEST:
        return None
    normal = unicodedata.normalize("NFKC", password)
    return normal if len(normal) <= LONGEST else None


class _Slot:
    """One of the places in which a password may be worked on."""

    def __enter__(self) -> None:
        if not _SLOTS.acquire(timeout=_WAIT_SECONDS):
            raise OutOfResources("too many logins at a time")

    def __exit__(self, *_: object) -> None:
        _SLOTS.release()
