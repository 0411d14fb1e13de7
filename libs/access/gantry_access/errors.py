"""What can go wrong with a caller's proof or with the rules themselves."""

from __future__ import annotations

from gantry_dicom.errors import GantryError, NotAllowed, OutOfResources, Unavailable


class BadPolicySetting(GantryError):
    """A setting of the policy cannot be used; the process must not start."""


class NotRegistered(NotAllowed):
    """A caller is not the application entity that it says it is; ``reason`` is a static name."""

    def __init__(self, detail: str, reason: str) -> None:
        super().__init__(detail)
        self.reason = reason


class StalePolicy(Unavailable):
    """No policy snapshot young enough is known: nothing is allowed until one comes."""


class AccessLogFull(OutOfResources):
    """The spool of access records has reached its bound; what cannot be recorded is not done."""


class AccessLogBroken(Unavailable):
    """The spool of access records cannot be written; what cannot be recorded is not done."""
