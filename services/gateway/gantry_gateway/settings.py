"""Settings of the gateway, read from the environment once, at start."""

from __future__ import annotations

from pathlib import Path

from gantry_dicom.admission import DEFAULT_LIMITS, GateLimits
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class GatewaySettings(BaseSettings):
    """Everything that can be set; names in the environment have the prefix ``GANTRY_``."""

    model_config = SettingsConfigDict(env_prefix="GANTRY_", frozen=True)

    http_host: str = "127.0.0.1"
    http_port: int = 8080
    http_workers: int = Field(default=1, ge=1)
    # Requests in hand of one worker; beyond it callers are asked to come back (503). Each may hold
    # 8 MiB of its answer ahead of its socket.
    http_requests: int = Field(default=256, ge=1)
    # Base of every URL in answers; empty takes scheme and host of the request.
    public_base_url: str = ""
    # Files of the web viewer (`gantry viewer fetch`), served under /viewer/; the archive needs none.
    viewer_folder: Path | None = None
    # The auth service, forwarded under /auth where nothing else in front does it; then the viewer
    # sends who has no session to the login page.
    auth_url: str = ""

    store_url: str
    store_id: str = "primary"
    # Further stores for what is cold, `id:NEARLINE:s3://...;id:OFFLINE:file:///...`, the same in every
    # service: an object that was moved is read from there (docs/retention.md).
    tiers: str = ""
    s3_access_key: str = ""
    s3_secret_key: str = ""
    # PEM file of a private certificate authority in front of the object store.
    s3_ca_file: str = ""
    index_dsn: str
    redis_url: str
    # `id:hex,id:hex`; the first seals, all open.
    seal_keys: str
    # Which policy stands before every route; nothing is allowed until one is chosen.
    policy: str = "closed"
    # The oldest policy snapshot that is gone by, in seconds; 0 is as long as it says of itself.
    policy_max_age_seconds: float = Field(default=0.0, ge=0)
    # Where access records wait for the bucket, on a disk that outlives the process; the policy
    # `rules` needs it.
    access_log_folder: str = ""
    # Other origins whose pages may read answers with a token of theirs, `https://viewer.example,...`.
    cors_origins: str = ""
    # Where spans are sent, by OTLP/HTTP; nothing is recorded without. And the share of the traces
    # begun here that are: 1 is all, 0.01 is plenty for a hospital.
    otlp_endpoint: str | None = None
    trace_share: float = Field(default=1.0, ge=0, le=1)
    log_level: str = "INFO"

    lease_seconds: float = 120.0
    # Who has sent more instances than this in a minute is a bulk load, which the index takes behind live
    # instances until it slows down; 0 leaves it to the next setting: callers that always are.
    live_burst: int = Field(default=2000, ge=0)
    bulk_sources: str = ""
    # How long STOW waits for the index before it answers without it.
    verdict_seconds: float = 5.0
    # Bodies and parts above these are refused.
    stow_part_bytes: int = Field(default=4 << 30, ge=1)
    stow_body_bytes: int = Field(default=64 << 30, ge=1)
    # Metadata of one request, where instances come as metadata and bulk data, and how many such
    # requests are being read at a time: metadata take many times their size in memory.
    stow_metadata_bytes: int = Field(default=32 << 20, ge=1)
    stow_metadata_parallel: int = Field(default=2, ge=1)
    # What one object may cost in memory at the gate: bytes that a deflated data set inflates to, bytes
    # outside its pixel data. Other services read objects within the largest of these.
    gate_inflated_bytes: int = Field(
        default=DEFAULT_LIMITS.max_inflated_bytes, ge=1, le=DEFAULT_LIMITS.max_inflated_bytes
    )
    gate_header_bytes: int = Field(
        default=DEFAULT_LIMITS.max_header_bytes, ge=1, le=DEFAULT_LIMITS.max_header_bytes
    )
    # Parts of one request being stored at a time.
    stow_parallel: int = Field(default=8, ge=1)
    # Memory for parts that are arriving; beyond it parts wait on disk or are refused.
    spool_memory_bytes: int = 256 << 20
    # The longer parts are in unlinked files, so much of them in a process; where the files are must not
    # be a file system in memory. Empty: the system's choice.
    spool_bytes: int = Field(default=32 << 30, ge=1)
    spool_folder: str = ""
    # Finished bytes kept for the next caller.
    frame_cache_bytes: int = 128 << 20
    metadata_cache_bytes: int = 64 << 20
    thumbnail_cache_bytes: int = 32 << 20
    # Decoding and rendering run in processes with these bounds.
    pixel_workers: int = Field(default=2, ge=1)
    pixel_worker_memory_bytes: int = 4 << 30
    pixel_seconds: float = 30.0
    search_default_limit: int = 100
    search_maximum_limit: int = 1000
    # Searches that find nothing answer 204 instead of an empty list, for clients of earlier editions.
    search_empty_204: bool = False

    def gate_limits(self) -> GateLimits:
        """Return the bounds of the gate."""
        return GateLimits(self.gate_inflated_bytes, self.gate_header_bytes)
