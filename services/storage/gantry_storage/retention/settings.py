"""Settings of retention, read from the environment once, at start."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class RetentionSettings(BaseSettings):
    """Everything that can be set; names in the environment have the prefix ``GANTRY_RETENTION_``."""

    model_config = SettingsConfigDict(env_prefix="GANTRY_RETENTION_", frozen=True)

    # The retention file (docs/retention.md). Without one nothing goes by itself: neither by age nor when
    # the grace of a deletion is over; what an administrator orders goes all the same.
    file: Path | None = None
    # How often the policies are carried out.
    run_seconds: float = Field(default=3600.0, gt=0)
    # How often purges that were interrupted are taken up, and the bucket's own holds looked after.
    resume_seconds: float = Field(default=60.0, gt=0)
