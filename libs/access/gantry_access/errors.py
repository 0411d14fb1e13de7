"""What can go wrong with a caller's proof or with the rules themselves."""

from __future__ import annotations

from gantry_dicom.errors import GantryError, Outcome, OutOfResources, Unavailable


class NotAuthenticated(GantryError):
    """The caller has not said who it is, or what it showed proves nothing.

    ``presented`` says whether there was anything to look at (RFC 6750 3.1: only then is the
    challenge given an error code).
    """

    outcome = Outcome.NOT_AUTHENTICATED

    def __init__(self, detail: str, *, presented: bool = True) -> None:
        super().__init__(detail)
        self.presented = presented


class StalePolicy(Unavailable):
    """No policy snapshot young enough is known: nothing is allowed until one comes."""


class AccessLogFull(OutOfResources):
    """The spool of access records has reached its bound; what cannot be recorded is not done."""


class AccessLogBroken(Unavailable):
    """The spool of access records cannot be written; what cannot be recorded is not done."""
