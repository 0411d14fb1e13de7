from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from gantry_embedded.ports import LOOPBACK, free_port
from gantry_testing.datapack import everything_required
from gantry_testing.fleet import says_ready
from gantry_testing.stack import Stack
from gantry_testing.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".gantry-tools" / "images"
# What a kubelet would do, without a cluster's network: docs/container-images.md says why each is there.
PODMAN = (
    *("podman", "--root", str(STATE / "store"), "--runroot", str(STATE / "run")),
    *("--storage-driver", "overlay", "--runtime", "runc", "--cgroup-manager", "cgroupfs"),
)
CONTAINED = (
    *("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp:mode=1777", "--network", "host"),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
    *("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"),
)
GRACE_SECONDS = 45


def podman(*arguments: str) -> str:
    answer = subprocess.run([*PODMAN, *arguments], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr + answer.stdout
    return answer.stdout


class Containers:
    """Containers of one test session, by name."""

    def __init__(self, tag):
        self.tag = tag
        self.ports = {}

    def image(self, service):
        return f"localhost/gantry-{service}:{self.tag}"

    def run(self, service, *command, environment=None):
        """Run a command in a service's image to its end and return its output."""
        variables = [f"--env={name}={value}" for name, value in (environment or {}).items()]
        entry, *arguments = command
        words = ("run", "--rm", *CONTAINED, *variables, "--entrypoint", entry, self.image(service))
        return podman(*words, *arguments)

    def start(self, name, service, environment, *arguments):
        """Start a service as its image does, and wait until it is ready."""
        port = self.ports[name] = free_port()
        environment = environment | {"GANTRY_HTTP_PORT": str(port), "GANTRY_HTTP_HOST": LOOPBACK}
        variables = [f"--env={variable}={value}" for variable, value in environment.items()]
        podman(
            "run",
            "--detach",
            "--name",
            self._full(name),
            *CONTAINED,
            *variables,
            self.image(service),
            *arguments,
        )
        wait_for(lambda: says_ready(port) or self._ended(name), f"{name} to be ready", 120)

    def stop(self, name):
        """Ask a container to end and return its exit code (137 when it had to be killed)."""
        podman("stop", "--time", str(GRACE_SECONDS), self._full(name))
        code = int(podman("inspect", "--format", "{{.State.ExitCode}}", self._full(name)))
        del self.ports[name]
        podman("rm", self._full(name))
        return code

    def close(self):
        for name in self.ports:
            podman("rm", "--force", "--time", "0", self._full(name))

    def _ended(self, name):
        state = podman("inspect", "--format", "{{.State.Status}}", self._full(name)).strip()
        if state == "exited":
            command = [*PODMAN, "logs", "--tail", "20", self._full(name)]
            words = subprocess.run(command, capture_output=True, text=True, check=False)
            pytest.fail(f"{name} has ended: {words.stdout}{words.stderr}")
        return False

    def _full(self, name):
        return f"gantry-test-{os.getpid()}-{name}"


@pytest.fixture(scope="session")
def builder():
    """The module of ``make images``."""
    spec = importlib.util.spec_from_file_location("build_images", ROOT / "tools" / "images" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def services(builder):
    return builder.SERVICES


@pytest.fixture(scope="session")
def containers(builder):
    missing = [name for name in ("buildah", "podman", "runc") if shutil.which(name) is None]
    if missing and not everything_required():
        pytest.skip(f"needs {', '.join(missing)}")
    containers = Containers(builder.version())
    yield containers
    containers.close()


@pytest.fixture(scope="session")
def image_of(containers):
    """Return what podman knows of an image."""

    def inspect(service, tag=containers.tag):
        return json.loads(podman("image", "inspect", f"localhost/gantry-{service}:{tag}"))[0]

    return inspect


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """The settings by which containers find PostgreSQL, Valkey and S3 on this machine."""
    with Stack(tmp_path_factory.mktemp("servers"), store="s3", services=()) as stack:
        for database in ("index_of_images", "core_of_images"):
            stack.postgres.ensure_database(database)
        settings = {n: v for n, v in stack.environment(0).items() if n.startswith("GANTRY_")}
        yield settings | {
            "GANTRY_INDEX_DSN": stack.postgres.dsn_for("index_of_images"),
            "GANTRY_CORE_DSN": stack.postgres.dsn_for("core_of_images"),
            "GANTRY_ISSUER": f"http://{LOOPBACK}/auth",
        }
