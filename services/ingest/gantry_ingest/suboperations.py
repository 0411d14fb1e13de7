"""The sub-operations of a C-MOVE or C-GET, counted (PS3.4 C.4.2.1.6 to C.4.2.1.9)."""

from __future__ import annotations

from dataclasses import dataclass, field

from gantry_dicom.little_endian import element
from gantry_dimse.entity import Response
from gantry_dimse.statuses import CANCELLED, PENDING, SUCCESS

from gantry_ingest.query_statuses import CANNOT_PERFORM, WITH_FAILURES

_FAILED_SOP_INSTANCE_UID_LIST = 0x00080058
# PS3.4 B.2.3: statuses of C-STORE that are warnings; the instance is stored.
_WARNINGS = range(0xB000, 0xC000)


@dataclass(slots=True)
class SubOperations:
    """How many are to be done, and how those went that are."""

    remaining: int
    completed: int = 0
    warning: int = 0
    failed_uids: list[str] = field(default_factory=list)

    def ended(self, sop_instance_uid: str, status: int | None) -> None:
        """Count one that ended with a status of C-STORE, ``None`` when it could not be sent."""
        self.remaining -= 1
        if status == SUCCESS:
            self.completed += 1
        elif status is not None and status in _WARNINGS:
            self.warning += 1
        else:
            self.failed_uids.append(sop_instance_uid)

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Remaining, completed, failed and warning."""
        return self.remaining, self.completed, len(self.failed_uids), self.warning

    def pending(self) -> Response:
        """Return the answer while it goes on."""
        return self._response(PENDING, remaining=self.remaining)

    def final(self, *, cancelled: bool, explicit: bool) -> Response:
        """Return the last answer, with what failed as a data set."""
        data = None
        if self.failed_uids:
            uids = "\\".join(self.failed_uids).encode()
            data = element(_FAILED_SOP_INSTANCE_UID_LIST, "UI", uids, explicit=explicit)
        if cancelled:
            return self._response(CANCELLED, data, remaining=self.remaining)
        if self.failed_uids and not self.completed and not self.warning:
            return self._response(CANNOT_PERFORM, data)
        return self._response(WITH_FAILURES if self.failed_uids or self.warning else SUCCESS, data)

    def _response(self, status: int, data: bytes | None = None, *, remaining: int | None = None) -> Response:
        return Response(
            status,
            data,
            remaining=remaining,
            completed=self.completed,
            failed=len(self.failed_uids),
            warning=self.warning,
        )
