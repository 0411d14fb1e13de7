"""The newest policy version that a machine has seen, kept over restarts.

Who can take objects out of the bucket could otherwise bring back, at the next start, rules from
before a revocation: they are sealed, and only a newer snapshot says that they are old.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gantry_telemetry.logs import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VersionFloor:
    """A version in a file, shared by the processes of a machine; methods block and never raise.

    A file that cannot be read or written is a floor that is not there: the rules' age still
    bounds what an old snapshot can do.
    """

    path: Path

    def read(self) -> int:
        """Return the newest version seen here, 0 when none is known."""
        try:
            return int(self.path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0
        except (OSError, ValueError):
            log.exception("policy_floor_unreadable")
            return 0

    def rise(self, version: int) -> None:
        """Remember ``version`` unless a newer one was seen."""
        if self.read() >= version:
            return
        # Whole or not at all; a name of its own, for several workers learn of a version at once.
        written = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            written.write_text(str(version), encoding="ascii")
            written.replace(self.path)
        except OSError:
            log.exception("policy_floor_not_written")
