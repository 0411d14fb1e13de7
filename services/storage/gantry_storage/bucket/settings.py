"""What the bucket shall be set to, read from the environment once, at start."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class BucketSettings(BaseSettings):
    """Everything that can be set; names in the environment have the prefix ``GANTRY_BUCKET_``."""

    model_config = SettingsConfigDict(env_prefix="GANTRY_BUCKET_", frozen=True)

    # Earlier versions are what a deletion by mistake, or by a stolen key, is undone from.
    versioning: bool = True
    # Rules may let go of earlier versions no sooner than this.
    versions_kept_days: int = Field(default=30, ge=1)
    # Encryption of objects that come without a word about it; empty asks for none.
    encryption: Literal["AES256", "aws:kms", ""] = "AES256"
    encryption_key: str = ""
    # Of a replica in another region or account: its bucket as an ARN, and the role that copies.
    replica_bucket: str = ""
    replica_role: str = ""
    replica_storage_class: str = ""
    # How often the worker compares the bucket with all this.
    check_seconds: float = Field(default=3600.0, gt=0)

    @model_validator(mode="after")
    def _replica_has_role(self) -> BucketSettings:
        if bool(self.replica_bucket) != bool(self.replica_role):
            raise ValueError("a replica is named by its bucket and the role that copies to it")
        return self
