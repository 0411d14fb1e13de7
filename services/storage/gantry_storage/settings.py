"""Settings of the storage service, read from the environment once, at start."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class StorageSettings(BaseSettings):
    """Everything that can be set; names in the environment have the prefix ``GANTRY_``."""

    model_config = SettingsConfigDict(env_prefix="GANTRY_", frozen=True)

    http_host: str = "127.0.0.1"
    http_port: int = 8083

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

    # A journal entry without a manifest is left alone until it is older than both together.
    # The lease must be the receivers' own: they acknowledge within half of it.
    lease_seconds: float = Field(default=120.0, gt=0)
    sweep_margin_seconds: float = Field(default=30.0, ge=0)
    # So long records of failed associations are kept.
    # Routing jobs that have ended are kept for so long.
    route_jobs_kept_days: float = Field(default=30.0, gt=0)
    failures_kept_days: float = Field(default=30.0, gt=0)
    # Period of the sweeper.
    sweep_seconds: float = Field(default=30.0, gt=0)
    # How old a journal entry is before lines of its manifest without a verdict are fed again.
    feed_after_seconds: float = Field(default=45.0, ge=0)
    # After how long what was fed and still has no verdict is fed once more.
    feed_again_seconds: float = Field(default=60.0, gt=0)
    # Entries of the index streams up to which the sweeper adds more.
    feed_window: int = Field(default=2_000, ge=1)

    # The scrub: every object is read again in so many days, no faster than this; 0 days is without a
    # pause, 0 a second without a limit.
    scrub_every_days: float = Field(default=30.0, ge=0)
    scrub_objects_per_second: float = Field(default=100.0, ge=0)
    scrub_bytes_per_second: float = Field(default=20e6, ge=0)
    # How often it looks whether a day is due.
    scrub_seconds: float = Field(default=60.0, gt=0)
    # How often the scrub tries to mend a finding before it is left to people; 0 is not at all.
    repair_attempts: int = Field(default=3, ge=0)
    # A copy of the bucket, under the same keys, to mend objects from: `s3://...` or `file://...`; the
    # credentials are those of the store unless given.
    replica_store_url: str = ""
    replica_s3_access_key: str = ""
    replica_s3_secret_key: str = ""
    # The numbers of every study are compared with a recount so often, and no faster than this.
    recount_every_hours: float = Field(default=24.0, gt=0)
    recount_studies_per_second: float = Field(default=100.0, ge=0)
    # How often requests of administrators are looked for.
    request_seconds: float = Field(default=0.5, gt=0)


class BucketSettings(BaseSettings):
    """What the bucket itself shall be set to: compared by the worker, set by ``bucket --apply``."""

    model_config = SettingsConfigDict(env_prefix="GANTRY_", frozen=True)

    # Earlier versions are what a deletion by mistake, or by a stolen key, is undone from.
    bucket_versioning: bool = True
    # Rules of the bucket may let go of earlier versions no sooner than this.
    bucket_versions_kept_days: int = Field(default=30, ge=1)
    # Encryption of objects that come without a word about it, and its key; empty asks for none.
    bucket_encryption: Literal["AES256", "aws:kms", ""] = "AES256"
    bucket_encryption_key: str = ""
    # A replica in another region or account: its bucket as an ARN, the role that copies, and the class.
    bucket_replica: str = ""
    bucket_replica_role: str = ""
    bucket_replica_class: str = ""
    # How often the worker compares the bucket with all this.
    bucket_check_seconds: float = Field(default=3600.0, gt=0)

    @model_validator(mode="after")
    def _replica_has_role(self) -> Self:
        if bool(self.bucket_replica) != bool(self.bucket_replica_role):
            raise ValueError("a replica is named by its bucket and the role that copies to it")
        return self
