"""Settings of ingest, read from the environment once, at start."""

from __future__ import annotations

from pathlib import Path

from gantry_dicom.admission import DEFAULT_LIMITS, GateLimits
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gantry_ingest.move_destinations import parse_destinations
from gantry_ingest.tls import ClientCertificates, TlsFiles

# PS3.5 6.2: an AE title has at most 16 characters.
_MAXIMUM_AE_TITLE = 16


class IngestSettings(BaseSettings):
    """Everything that can be set; names in the environment have the prefix ``GANTRY_``."""

    model_config = SettingsConfigDict(env_prefix="GANTRY_", frozen=True)

    dimse_host: str = "127.0.0.1"
    dimse_port: int = 11112
    dimse_workers: int = Field(default=2, ge=1)
    ae_title: str = "GANTRY"
    # `AET=partition,...`: further called AE titles and the partitions they store into.
    ae_partitions: str = ""

    http_host: str = "127.0.0.1"
    http_port: int = 8081

    # DIMSE over TLS; 0 has none. Certificate and key are PEM files that may be replaced while we run.
    dimse_tls_port: int = 0
    dimse_tls_certificate: str = ""
    dimse_tls_key: str = ""
    # Who may issue certificates of devices, and whether they have to show one: none, optional, required.
    dimse_tls_ca: str = ""
    dimse_tls_clients: ClientCertificates = ClientCertificates.NONE
    # User identity negotiation: where names and secrets are exchanged for tokens (none are taken
    # without), and whether an association needs an identity that was verified.
    user_identity_token_url: str = ""
    user_identity_required: bool = False

    # Storage commitment verifies what the index knows of.
    index_dsn: str = ""
    # A report that a device does not take is given up after this.
    commitment_give_up_days: float = 7.0
    commitment_retry_seconds: float = 5.0
    # How long an instance that the index does not have is looked for.
    commitment_patience_seconds: float = 15.0

    store_url: str
    store_id: str = "primary"
    # Further stores for what is cold, `id:NEARLINE:s3://...;id:OFFLINE:file:///...`, the same in every
    # service: an object that was moved is read from there (docs/retention.md).
    tiers: str = ""
    s3_access_key: str = ""
    s3_secret_key: str = ""
    # PEM file of a private certificate authority in front of the object store.
    s3_ca_file: str = ""
    redis_url: str
    # `id:hex,id:hex`; the first seals, all open.
    seal_keys: str
    # Which policy stands before every DIMSE service; nothing is allowed until one is chosen.
    policy: str = "closed"
    # The oldest policy snapshot that is gone by, in seconds; 0 is as long as it says of itself.
    policy_max_age_seconds: float = Field(default=0.0, ge=0)
    # Where access records wait for the bucket, on a disk that outlives the process; the policy
    # `rules` needs it.
    access_log_folder: str = ""
    # Where spans are sent, by OTLP/HTTP; nothing is recorded without. And the share of the traces
    # begun here that are: 1 is all, 0.01 is plenty for a hospital.
    otlp_endpoint: str | None = None
    trace_share: float = Field(default=1.0, ge=0, le=1)
    log_level: str = "INFO"

    lease_seconds: float = 120.0
    # Who has sent more instances than this in a minute is a bulk load, which the index takes behind live
    # instances until it slows down; 0 leaves it to the next setting: AE titles that always are.
    live_burst: int = Field(default=2000, ge=0)
    bulk_sources: str = ""
    # Associations at a time over all workers of the listener.
    maximum_associations: int = Field(default=200, ge=1)
    # Of these, associations that have one calling AE title; 0 sets no limit of its own.
    maximum_associations_per_title: int = Field(default=0, ge=0)
    # Of these, associations kept for titles that are registered.
    reserved_associations: int = Field(default=20, ge=0)
    # Operations in hand on one association whose peer asks for an asynchronous window.
    maximum_operations: int = Field(default=16, ge=1)
    # Connections a worker holds that have not sent their A-ASSOCIATE-RQ yet.
    maximum_unassociated: int = Field(default=256, ge=1)
    # The ARTIM timer (PS3.8 9.1.5): how long a connection may take to send A-ASSOCIATE-RQ.
    artim_seconds: float = 15.0
    # An association that neither sends nor is sent anything is aborted after this long.
    idle_seconds: float = 300.0
    # How long one PDU may take to arrive, or to be taken by the peer.
    pdu_seconds: float = 60.0
    # What we take in one PDU (PS3.8 D.1); 0 would let the peer choose, so it is not allowed.
    maximum_pdu_bytes: int = Field(default=256 << 10, ge=16 << 10, le=1 << 20)
    # What one object may cost in memory at the gate: bytes that a deflated data set inflates to, bytes
    # outside its pixel data. Other services read objects within the largest of these.
    gate_inflated_bytes: int = Field(
        default=DEFAULT_LIMITS.max_inflated_bytes, ge=1, le=DEFAULT_LIMITS.max_inflated_bytes
    )
    gate_header_bytes: int = Field(
        default=DEFAULT_LIMITS.max_header_bytes, ge=1, le=DEFAULT_LIMITS.max_header_bytes
    )
    # Data sets in hand of a worker, in memory and, the longer ones, in unlinked files; beyond it
    # instances are refused with A700.
    memory_bytes: int = 256 << 20
    spool_bytes: int = 32 << 30
    # Where the files are; must not be a file system in memory. Empty: the system's choice.
    spool_folder: str = ""
    # The least time between two index requests: instances that come meanwhile go together, or as
    # soon as an association that sent them asks for release.
    index_interval_seconds: float = Field(default=0.1, ge=0)
    # `AET=host:port,...`: where C-MOVE sends to under the policies open and closed; under rules
    # the registered entities count.
    move_destinations: str = ""
    # Associations at a time to one destination of a C-MOVE, and how long one may take to open.
    move_associations: int = Field(default=1, ge=1, le=16)
    move_connect_seconds: float = Field(default=10.0, gt=0)
    # Processes a worker may use to transcode for peers that do not take what is stored, and how
    # much memory and time one instance may take.
    pixel_workers: int = Field(default=2, ge=1)
    pixel_worker_memory_bytes: int = 4 << 30
    pixel_seconds: float = 120.0

    # Routing (`python -m gantry_ingest route`): the file of rules, how often new arrivals and due jobs
    # are looked for, and how far back after a standstill.
    routes_file: str = ""
    routes_seconds: float = Field(default=5.0, gt=0)
    routes_look_back_hours: float = Field(default=24.0, gt=0)

    # How long the answer to A-RELEASE may wait for the index to have what was sent.
    settle_seconds: float = 2.0
    # How long a stopping worker lets the operations in hand finish.
    drain_seconds: float = 20.0

    @field_validator("move_destinations")
    @classmethod
    def _check_destinations(cls, value: str) -> str:
        parse_destinations(value)
        return value

    @field_validator("ae_title")
    @classmethod
    def _check_ae_title(cls, value: str) -> str:
        title = value.strip()
        if not 1 <= len(title) <= _MAXIMUM_AE_TITLE:
            raise ValueError("an AE title has 1 to 16 characters")
        return title

    def tls_files(self) -> TlsFiles | None:
        """Return the files of TLS, ``None`` when there is no TLS port."""
        if not self.dimse_tls_port:
            return None
        return TlsFiles(
            Path(self.dimse_tls_certificate),
            Path(self.dimse_tls_key),
            Path(self.dimse_tls_ca) if self.dimse_tls_ca else None,
            self.dimse_tls_clients,
        )

    def gate_limits(self) -> GateLimits:
        """Return the bounds of the gate."""
        return GateLimits(self.gate_inflated_bytes, self.gate_header_bytes)

    def named_destinations(self) -> dict[str, tuple[str, int]]:
        """Return where the AE titles of ``move_destinations`` listen."""
        return parse_destinations(self.move_destinations)

    def partitions(self) -> dict[str, str]:
        """Return the partition of each AE title that this listener answers to."""
        partitions = {self.ae_title: "main"}
        for pair in filter(None, (item.strip() for item in self.ae_partitions.split(","))):
            title, separator, partition = pair.partition("=")
            if not separator or not partition.strip():
                raise ValueError("GANTRY_AE_PARTITIONS is a list of AET=partition")
            partitions[title.strip()] = partition.strip()
        return partitions
