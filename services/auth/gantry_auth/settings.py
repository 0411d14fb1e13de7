"""Settings of the auth service, read from the environment once, at start."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gantry_auth.grants import parse_grant


class FederatedIssuer(BaseModel, frozen=True):
    """Another OpenID provider whose access tokens are accepted.

    ``grants`` says what each value of ``role_claim`` gives: ``{"radiologists": ["clinician@main"]}``.
    ``jwks_uri`` is taken from the issuer's discovery document when it is empty.
    """

    issuer: str
    audience: str = Field(min_length=1)
    role_claim: str = Field(min_length=1)
    grants: dict[str, list[str]]
    jwks_uri: str = ""

    @field_validator("issuer", "jwks_uri")
    @classmethod
    def _is_url(cls, url: str) -> str:
        if url and not is_safe_url(url):
            raise ValueError("an issuer is at https, or at http on loopback: its keys must come unchanged")
        return url

    @field_validator("issuer")
    @classmethod
    def _ends_before_subjects(cls, issuer: str) -> str:
        # A subject is written issuer#sub: where the issuer ends must be beyond doubt.
        if "#" in issuer or "?" in issuer:
            raise ValueError("an issuer is a URL without query and fragment")
        return issuer

    @field_validator("grants")
    @classmethod
    def _are_grants(cls, grants: dict[str, list[str]]) -> dict[str, list[str]]:
        for texts in grants.values():
            for text in texts:
                parse_grant(text)
        return grants


class AuthSettings(BaseSettings):
    """Everything that can be set; names in the environment have the prefix ``GANTRY_``."""

    model_config = SettingsConfigDict(env_prefix="GANTRY_", frozen=True)

    http_host: str = "127.0.0.1"
    http_port: int = 8084

    # The public URL of this service, as tokens name it; its path is where everything lies.
    issuer: str
    core_dsn: str
    store_url: str
    s3_access_key: str = ""
    s3_secret_key: str = ""
    # PEM file of a private certificate authority in front of the object store.
    s3_ca_file: str = ""
    redis_url: str = ""
    # `id:hex,id:hex`; the first seals, all open.
    seal_keys: str
    # Where access records wait for the bucket; empty keeps none.
    access_log_folder: str = ""
    # How often the index of access records is brought up to what lies in the bucket.
    audit_index_seconds: float = Field(default=10.0, gt=0)
    # Where spans are sent, by OTLP/HTTP; nothing is recorded without. And the share of the traces
    # begun here that are: 1 is all, 0.01 is plenty for a hospital.
    otlp_endpoint: str | None = None
    trace_share: float = Field(default=1.0, ge=0, le=1)
    log_level: str = "INFO"

    # Where a login without a page to go back to leads.
    home_path: str = "/viewer/"
    # Whether AE titles that are not registered may associate.
    open_registration: bool = False
    # JSON, a list of issuers as in FederatedIssuer.
    federated_issuers: tuple[FederatedIssuer, ...] = ()
    federation_refresh_seconds: float = Field(default=300.0, gt=0)
    # How long an issuer's keys are good while nothing newer can be fetched from it.
    federation_keys_good_for_seconds: float = Field(default=86_400.0, gt=0)

    # How long services may decide by a snapshot while nothing newer comes.
    policy_good_for_seconds: float = Field(default=86_400.0, gt=0)
    # A snapshot is published at every change, and this long after the last one.
    policy_publish_seconds: float = Field(default=300.0, gt=0)
    # How often the database is asked whether something changed that this process did not do.
    policy_watch_seconds: float = Field(default=1.0, gt=0)

    access_token_seconds: int = Field(default=600, ge=30, le=3600)
    authorization_code_seconds: int = Field(default=60, ge=10, le=600)
    # A session ends this long after its last use, and at the latest this long after the login.
    session_idle_seconds: int = Field(default=8 * 3600, ge=60)
    session_seconds: int = Field(default=16 * 3600, ge=60)

    signing_algorithm: Literal["ES256", "EdDSA"] = "ES256"
    # A key signs for this long; its successor is published this long before it signs.
    key_rotation_seconds: float = Field(default=30 * 86_400.0, gt=0)
    key_prepublish_seconds: float = Field(default=900.0, ge=0)

    # Failed logins within the window: of one name from one address, of a name, of an address.
    login_window_seconds: float = Field(default=900.0, gt=0, le=3600)
    login_failures: int = Field(default=5, ge=1)
    login_failures_of_name: int = Field(default=30, ge=1)
    login_failures_of_address: int = Field(default=100, ge=1)
    # The first lock-out; it doubles with every failure after it, up to the window.
    login_lockout_seconds: float = Field(default=30.0, gt=0)

    @field_validator("issuer")
    @classmethod
    def _is_issuer(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("the issuer is an http(s) URL without query and fragment")
        return url.rstrip("/")

    @field_validator("home_path")
    @classmethod
    def _is_path(cls, path: str) -> str:
        if not path.startswith("/") or path.startswith("//"):
            raise ValueError("the home is a path on this origin")
        return path

    @model_validator(mode="after")
    def _issuers_differ(self) -> Self:
        names = [self.issuer, *(other.issuer for other in self.federated_issuers)]
        if len(set(names)) != len(names):
            raise ValueError("an issuer is configured twice")
        return self

    @property
    def path(self) -> str:
        """Where the service lies on its origin: ``/auth``, or empty at its root."""
        return urlsplit(self.issuer).path

    @property
    def origin(self) -> str:
        """Scheme, host and port of the issuer."""
        parts = urlsplit(self.issuer)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def is_https(self) -> bool:
        """Whether browsers reach the service encrypted; cookies are then for that only."""
        return urlsplit(self.issuer).scheme == "https"


def is_safe_url(url: str) -> bool:
    """Whether what comes from ``url`` comes as it was sent: by https, or from this machine."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None:
        return False
    if parts.scheme == "https":
        return True
    return parts.scheme == "http" and _is_loopback(parts.hostname)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
