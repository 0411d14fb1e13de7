"""Errors of this library."""

from __future__ import annotations

from gantry_dicom.errors import GantryError, Outcome


class Misconfigured(GantryError):
    """Settings that would lose work if the process started with them."""

    outcome = Outcome.INTERNAL
