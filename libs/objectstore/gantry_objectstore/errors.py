"""What can go wrong here beside a missing object (``NotFound``) and a store in trouble (``Unavailable``)."""

from __future__ import annotations

from gantry_dicom.errors import BadRequest, CannotProcess, Conflict, GantryError


class BadKey(BadRequest):
    """A text is not a key of the bucket, or not of the kind expected."""


class BadSeal(Conflict):
    """A record was not written by a holder of the deployment's key, or contradicts its place."""


class OutOfRange(CannotProcess):
    """A byte range does not lie inside the object."""


class SettingsError(GantryError):
    """A setting cannot be used; the process must not start."""
