"""Several processes of each service, of different releases, behind balancers: an upgrade on one machine.

The servers (PostgreSQL, Valkey, object store) are a ``Stack`` without services. A release is a
tree of sources; its code is put before the installed one, whose requirements it shares.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from gantry_dicom.errors import CannotProcess
from gantry_embedded.ports import LOOPBACK, free_ports
from gantry_embedded.process import ChildProcess, ProcessSpec

from gantry_testing.balancer import Balancer
from gantry_testing.dimse import Peer
from gantry_testing.stack import AE_TITLE, BY_NAME, Stack


class DidNotEnd(CannotProcess):
    """A process that was asked to end had to be killed, or ended with an error."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release by name, and the tree with its sources."""

    name: str
    tree: Path

    @property
    def python_path(self) -> str:
        """What lets Python find its packages before all others."""
        folders = [*self.tree.glob("libs/*/"), *self.tree.glob("services/*/"), self.tree / "cli"]
        return os.pathsep.join(str(folder) for folder in sorted(folders))


def release_of(repository: Path, commit: str, folder: Path) -> Release:
    """Write the tree of ``commit`` under ``folder``. Raises ``CannotProcess`` when it is not there."""
    archive = folder / f"{commit}.tar"
    command = ["git", "-C", str(repository), "archive", "--output", str(archive), commit]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise CannotProcess(f"no tree of {commit}: {made.stderr.strip()}")
    with tarfile.open(archive) as packed:
        packed.extractall(folder / commit, filter="data")
    return Release(commit[:7], folder / commit)


@dataclass(slots=True)
class Replica:
    """One running process: of which service and release, and where it listens."""

    service: str
    release: Release
    http_port: int
    dimse_port: int
    process: ChildProcess


class Fleet:
    """Replicas over the servers of ``stack``; ``with`` ends them all.

    ``web`` and ``dimse`` are the balancers before gateways and listeners.
    """

    def __init__(self, stack: Stack, environment: Mapping[str, str]) -> None:
        self.stack = stack
        self.web = Balancer()
        self.dimse = Balancer()
        self._environment = dict(environment)
        self._started = 0
        self.replicas: list[Replica] = []

    def __enter__(self) -> Self:
        self.web.__enter__()
        self.dimse.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for replica in self.replicas:
            replica.process.kill()
        self.dimse.__exit__(kind, error, trace)
        self.web.__exit__(kind, error, trace)

    @property
    def url(self) -> str:
        """Root URL of the gateways."""
        return f"http://{LOOPBACK}:{self.web.port}"

    @property
    def peer(self) -> Peer:
        """The DIMSE listeners, as partition ``main``."""
        return Peer(LOOPBACK, self.dimse.port, AE_TITLE)

    def migrate(self, release: Release) -> str:
        """Run the migration of a release, as the job before an upgrade does; returns what it wrote."""
        self.stack.set_environment("migrate", {"PYTHONPATH": release.python_path})
        return self.stack.run("migrate", "gantry_index", "migrate")

    def start(self, service: str, release: Release) -> Replica:
        """Start one more replica and send it connections when it is ready. Raises ``NotReady``."""
        self._started += 1
        http_port, dimse_port = free_ports(2)
        described = BY_NAME[service]
        name = f"{service}-{self._started}-{release.name}"
        spec = ProcessSpec(
            name=name,
            argv=(sys.executable, "-P", "-m", described.module, *described.arguments),
            log_file=self.stack.logs / f"{name}.log",
            cwd=self.stack.folder,
            env=self.stack.environment(http_port)
            | self._environment
            | {"GANTRY_DIMSE_PORT": str(dimse_port), "PYTHONPATH": release.python_path},
            ready=lambda: says_ready(http_port),
            ready_seconds=90.0,
            grace_seconds=60.0,
        )
        replica = Replica(service, release, http_port, dimse_port, ChildProcess(spec))
        self.replicas.append(replica)
        replica.process.wait_ready()
        if service == "gateway":
            self.web.add(http_port)
        elif service == "ingest":
            self.dimse.add(dimse_port)
        return replica

    def stop(self, replica: Replica) -> None:
        """Send a replica no connection any more, then ask it to end. Raises ``DidNotEnd``."""
        self.web.remove(replica.http_port)
        self.dimse.remove(replica.dimse_port)
        replica.process.stop()
        self.replicas.remove(replica)
        code = replica.process.exit_code()
        if code != 0:
            raise DidNotEnd(f"{replica.process.spec.name} ended with {code}: {replica.process.last_words()}")

    def replace(self, service: str, release: Release, *, one: bool = False) -> None:
        """Put replicas of ``release`` in the place of others, each started before its predecessor ends.

        With ``one`` a single replica is replaced, and releases run side by side.
        """
        others = [
            replica for replica in self.replicas if replica.service == service and replica.release != release
        ]
        for replica in others[:1] if one else others:
            self.start(service, release)
            self.stop(replica)


def says_ready(port: int) -> bool:
    """Whether a service answers on ``port`` that it is ready."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
