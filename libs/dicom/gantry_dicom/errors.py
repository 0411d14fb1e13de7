"""The one error hierarchy: an error knows its outcome, the edges know how to say it.

HTTP statuses are mapped in ``gantry_web.problems`` and DIMSE statuses in
``gantry_ingest.statuses``, one table each; nothing else decides a status code.
"""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """What kind of failure happened, independent of any protocol."""

    BAD_REQUEST = "bad-request"
    NOT_FOUND = "not-found"
    GONE = "gone"
    NOT_ALLOWED = "not-allowed"
    NOT_AUTHENTICATED = "not-authenticated"
    NOT_ACCEPTABLE = "not-acceptable"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    CONFLICT = "conflict"
    TOO_LARGE = "too-large"
    CANNOT_PROCESS = "cannot-process"
    UNAVAILABLE = "unavailable"
    OUT_OF_RESOURCES = "out-of-resources"
    INTERNAL = "internal"


class GantryError(Exception):
    """Base of every error that Gantry raises on purpose.

    The message is for the caller and never holds patient data.
    """

    outcome: Outcome = Outcome.INTERNAL

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadRequest(GantryError):
    """The request breaks the protocol's own rules."""

    outcome = Outcome.BAD_REQUEST


class NotFound(GantryError):
    """The thing named is not there, or the caller may not know that it is."""

    outcome = Outcome.NOT_FOUND


class Gone(GantryError):
    """The thing named was there and has been deleted."""

    outcome = Outcome.GONE


class NotAllowed(GantryError):
    """The policy refuses the caller."""

    outcome = Outcome.NOT_ALLOWED


class NotAuthenticated(GantryError):
    """The caller has not said who it is, or what it showed proves nothing.

    ``presented`` says whether there was anything to look at (RFC 6750 3.1: only then does the
    challenge name an error).
    """

    outcome = Outcome.NOT_AUTHENTICATED

    def __init__(self, detail: str, *, presented: bool = True) -> None:
        super().__init__(detail)
        self.presented = presented


class NotAcceptable(GantryError):
    """No representation the caller accepts can be given."""

    outcome = Outcome.NOT_ACCEPTABLE


class UnsupportedMediaType(GantryError):
    """The body is of a type the resource does not take."""

    outcome = Outcome.UNSUPPORTED_MEDIA_TYPE


class Conflict(GantryError):
    """The request contradicts what is stored."""

    outcome = Outcome.CONFLICT


class TooLarge(GantryError):
    """The request exceeds a configured limit."""

    outcome = Outcome.TOO_LARGE


class CannotProcess(GantryError):
    """Stored or sent data cannot be decoded as asked."""

    outcome = Outcome.CANNOT_PROCESS


class Unavailable(GantryError):
    """A dependency does not answer; trying again later may help."""

    outcome = Outcome.UNAVAILABLE


class OutOfResources(GantryError):
    """A bound of this process or machine is reached."""

    outcome = Outcome.OUT_OF_RESOURCES
