"""How to reach an object store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Settings of the backends; the URL says which one and where.

    Without an access key, ``s3://`` uses the environment's own credentials (instance role, AWS_ variables).
    """

    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    # PEM file of a private certificate authority in front of the store.
    ca_file: str = ""
    # Bytes that uploads in parts may hold, all together; one upload takes up to 32 MiB.
    upload_budget_bytes: int = 128 * 1024 * 1024
    # Seconds for one request, its body included, and for reaching the store at all.
    request_seconds: float = 60.0
    connect_seconds: float = 3.0
    # A request that failed is tried again so often, and no longer begun after so many seconds.
    retries: int = 4
    retry_seconds: float = 20.0
    # How long an operation on a small object may take with all its repetitions.
    patience_seconds: float = 20.0
    # Threads of file:// that write and that read.
    file_writers: int = 16
    file_readers: int = 16
    # Groups of small puts that file:// writes at a time.
    file_lanes: int = 3

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> StoreSettings:
        """Return the settings with the credentials of ``GANTRY_S3_ACCESS_KEY`` and its siblings."""
        return cls(
            access_key=environment.get("GANTRY_S3_ACCESS_KEY", ""),
            secret_key=environment.get("GANTRY_S3_SECRET_KEY", ""),
            ca_file=environment.get("GANTRY_S3_CA_FILE", ""),
        )
