"""Bounds of reception."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field


def this_process() -> str:
    """Return host and process id, for people who read a journal entry."""
    return f"{socket.gethostname()}/{os.getpid()}"


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """Settings of a ``Receiver``; times in seconds, sizes in bytes."""

    # Lease of a batch: its journal entry may be swept when older than this and a margin, and
    # covers acknowledgements of its first half only.
    lease_seconds: float = 120.0
    batch_instances: int = 256
    batch_seconds: float = 10.0
    # Which configured object store the receptions lie in.
    store_id: str = "primary"
    process: str = field(default_factory=this_process)
    # A header beyond this does not travel with its index request.
    header_bytes: int = 64 * 1024
    # How long a publisher may take, and what may wait for it.
    publish_seconds: float = 2.0
    # The least time from one index request to the next of a partition: what comes meanwhile goes
    # together, which costs the indexer a fraction. The first after a pause goes at once. 0 where
    # senders wait for the verdict of each instance before they send another.
    publish_interval: float = 0.0
    publish_waiting: int = 4096
    publish_waiting_bytes: int = 32 * 1024 * 1024
    # A sender of more instances than this is a bulk load, whose receptions go behind live ones, until
    # it sends less; what it sent is forgotten at the rate of a burst in so many seconds. 0: nobody is.
    live_burst: int = 2000
    live_burst_seconds: float = 60.0
    # Calling AE titles and callers whose receptions are always bulk.
    bulk_sources: frozenset[str] = frozenset()
    # Manifests not yet written: how many are kept, how long each is tried, with which pauses.
    manifests_waiting: int = 64
    manifest_seconds: float = 600.0
    manifest_first_pause: float = 0.5
    manifest_longest_pause: float = 30.0

    @property
    def rotation_seconds(self) -> float:
        """Age up to which a batch takes instances: well inside the half of the lease they must end in."""
        return min(self.batch_seconds, self.lease_seconds / 4)


def names_in(listed: str) -> frozenset[str]:
    """Return the names of a setting that lists them, separated by commas."""
    return frozenset(filter(None, (name.strip() for name in listed.split(","))))


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Settings of a ``Spool``; sizes in bytes."""

    # Memory for all parts of the process together, and up to which size one part stays in it.
    memory_bytes: int = 256 * 1024 * 1024
    part_memory_bytes: int = 16 * 1024 * 1024
    # Disk space for the larger parts of the process together.
    disk_bytes: int = 32 * 1024 * 1024 * 1024
    # Where they are spooled; must not be a file system in memory. None: the system's choice.
    folder: str | None = None
