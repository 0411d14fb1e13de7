"""What can go wrong with servers of our own."""

from __future__ import annotations

from gantry_dicom.errors import Conflict, Unavailable


class NotReady(Unavailable):
    """A process ended or stayed silent instead of becoming ready."""


class AlreadyRunning(Conflict):
    """Another supervisor works in the same state folder."""


class CannotRun(Unavailable):
    """The machine lacks what a server needs; the message says what and what to do."""
