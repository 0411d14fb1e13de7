"""Settings of the indexer, read from the environment once, at start."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class IndexerSettings(BaseSettings):
    """Everything that can be set; names in the environment have the prefix ``GANTRY_``."""

    model_config = SettingsConfigDict(env_prefix="GANTRY_", frozen=True)

    http_host: str = "127.0.0.1"
    http_port: int = 8082

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
    # Where spans are sent, by OTLP/HTTP; nothing is recorded without. And the share of the traces
    # begun here that are: 1 is all, 0.01 is plenty for a hospital.
    otlp_endpoint: str | None = None
    trace_share: float = Field(default=1.0, ge=0, le=1)
    log_level: str = "INFO"

    # Instances of one commit at most.
    chunk: int = Field(default=64, ge=1, le=512)
    # Seconds after which the pending entries of a silent consumer are taken over.
    dead_after_seconds: float = Field(default=30.0, gt=0)
    # Processes of the worker; each runs one task at a time.
    worker_processes: int = Field(default=1, ge=1)
    # Calling AE titles and callers, separated by commas, whose later version of an instance
    # takes the place of the earlier one.
    replacing_sources: str = ""
    # Fault injection for tests; the hooks do nothing unless this is set.
    faults: bool = False
    fault_raise_sop_uids: str = ""
    fault_kill_sop_uids: str = ""
