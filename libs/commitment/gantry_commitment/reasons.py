"""Why storage is not committed (PS3.3 C.14.1.1), Failure Reason (0008,1197)."""

from __future__ import annotations

from enum import IntEnum


class FailureReason(IntEnum):
    """One reason, by its code."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119
    DUPLICATE_TRANSACTION_UID = 0x0131
    RESOURCE_LIMITATION = 0x0213
