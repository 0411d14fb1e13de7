"""Statuses of C-FIND, C-MOVE and C-GET: from outcomes to the codes of PS3.4 C.4 (and PS3.7 C)."""

from __future__ import annotations

from collections.abc import Mapping

from gantry_dicom.errors import GantryError, Outcome
from gantry_dimse.commands import CommandField
from gantry_dimse.statuses import NOT_AUTHORISED

OUT_OF_RESOURCES = 0xA700
# C-MOVE and C-GET: how many sub-operations there are cannot be told, and they cannot be performed.
CANNOT_COUNT = 0xA701
CANNOT_PERFORM = 0xA702
DESTINATION_UNKNOWN = 0xA801
MISMATCHED_IDENTIFIER = 0xA900
UNABLE_TO_PROCESS = 0xC000
# Sub-operations are complete, some failed or had warnings.
WITH_FAILURES = 0xB000

_OF_IDENTIFIERS: Mapping[Outcome, int] = {
    Outcome.BAD_REQUEST: MISMATCHED_IDENTIFIER,
    Outcome.NOT_ALLOWED: NOT_AUTHORISED,
    Outcome.NOT_AUTHENTICATED: NOT_AUTHORISED,
}
_OUT_OF_RESOURCES = frozenset({Outcome.UNAVAILABLE, Outcome.OUT_OF_RESOURCES, Outcome.TOO_LARGE})


def query_status(service: CommandField, error: GantryError) -> int:
    """Return the status of a C-FIND, C-MOVE or C-GET that ``error`` ended."""
    if error.outcome in _OUT_OF_RESOURCES:
        return OUT_OF_RESOURCES if service is CommandField.C_FIND else CANNOT_COUNT
    return _OF_IDENTIFIERS.get(error.outcome, UNABLE_TO_PROCESS)
