"""Passwords: argon2id (RFC 9106), a bounded number at a time."""

from __future__ import annotations

import threading

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
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadPassword(f"a password has {SHORTEST} to {LONGEST} characters")
    if name.lower() in password.lower() or len(set(password)) < 5:
        raise BadPassword("the password is too easy to guess")
    return password


def hash_password(password: str) -> str:
    """Return what is kept of ``password``. Raises ``OutOfResources``."""
    with _Slot():
        return _HASHER.hash(password)


def verify(password: str, kept: str | None) -> bool:
    """Whether ``password`` is the one behind ``kept``; as slow when there is none.

    Raises ``OutOfResources`` when too many are being checked.
    """
    if len(password) > LONGEST:
        return False
    with _Slot():
        try:
            _HASHER.verify(kept or _NOBODY, password)
        except (VerificationError, InvalidHashError):
            return False
    return kept is not None


def needs_rehash(kept: str) -> bool:
    """Whether ``kept`` was made with other costs than today's."""
    return _HASHER.check_needs_rehash(kept)


class _Slot:
    """One of the places in which a password may be worked on."""

    def __enter__(self) -> None:
        if not _SLOTS.acquire(timeout=_WAIT_SECONDS):
            raise OutOfResources("too many logins at a time")

    def __exit__(self, *_: object) -> None:
        _SLOTS.release()
