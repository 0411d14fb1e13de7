"""Statuses that all of DIMSE shares (PS3.7 C). Those of a service are where the service is."""

from __future__ import annotations

SUCCESS = 0x0000
PENDING = 0xFF00
# Matches or sub-operations go on, optional keys were not all supported (PS3.4 C.4.1.1.4).
PENDING_WITH_UNSUPPORTED_KEYS = 0xFF01
CANCELLED = 0xFE00
PROCESSING_FAILURE = 0x0110
SOP_CLASS_NOT_SUPPORTED = 0x0122
NOT_AUTHORISED = 0x0124
UNRECOGNISED_OPERATION = 0x0211

_PENDING = frozenset({PENDING, PENDING_WITH_UNSUPPORTED_KEYS})


def is_pending(status: int) -> bool:
    """Tell whether more answers follow."""
    return status in _PENDING
