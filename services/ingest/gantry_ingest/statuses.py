"""DIMSE statuses: the one table from outcomes to the codes of PS3.4 B.2.3 and PS3.7 C."""

from __future__ import annotations

from collections.abc import Mapping

from gantry_dicom.errors import GantryError, Outcome
from gantry_dicom.refusals import Refused
from gantry_dimse.statuses import NOT_AUTHORISED, PROCESSING_FAILURE

# Warning: coercion of data elements (PS3.4 B.2.3); the object is kept as sent.
COERCED = 0xB000

C_STORE_STATUSES: Mapping[Outcome, int] = {
    Outcome.BAD_REQUEST: 0xC000,  # cannot understand
    Outcome.CANNOT_PROCESS: 0xC000,
    Outcome.NOT_AUTHENTICATED: NOT_AUTHORISED,
    Outcome.NOT_ALLOWED: NOT_AUTHORISED,
    Outcome.CONFLICT: 0x0111,  # duplicate SOP instance
    Outcome.UNAVAILABLE: 0xA700,  # refused: out of resources
    Outcome.OUT_OF_RESOURCES: 0xA700,
    Outcome.TOO_LARGE: 0xA700,
    Outcome.NOT_FOUND: PROCESSING_FAILURE,
    Outcome.GONE: PROCESSING_FAILURE,
    Outcome.NOT_ACCEPTABLE: PROCESSING_FAILURE,
    Outcome.UNSUPPORTED_MEDIA_TYPE: 0x0122,  # refused: SOP class not supported
    Outcome.INTERNAL: PROCESSING_FAILURE,
}


def c_store_status(error: GantryError) -> int:
    """Return the status of a C-STORE that ``error`` ended."""
    if isinstance(error, Refused):
        return error.reason.dimse_status
    return C_STORE_STATUSES[error.outcome]


def c_echo_status(error: GantryError) -> int:
    """Return the status of a C-ECHO that ``error`` ended (PS3.7 9.1.5 and C)."""
    return NOT_AUTHORISED if error.outcome is Outcome.NOT_ALLOWED else PROCESSING_FAILURE
