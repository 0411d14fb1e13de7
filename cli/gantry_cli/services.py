"""The services as processes: by module name, because nothing here may import a service."""

from __future__ import annotations

import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gantry_embedded.ports import LOOPBACK
from gantry_embedded.process import ProcessSpec

# Longer than a service's own drain, so that it is never cut off in the middle of it.
GRACE_SECONDS = 25.0
READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """One process of a service; ``name`` is also that of its port, log file and line in ``status``."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()


# Behind the front doors: what keeps working through a stack's life.
BACK = (
    Service("indexer", "gantry_indexer", ("consume",)),
    Service("indexer-worker", "gantry_indexer", ("worker",)),
    Service("storage", "gantry_storage", ("worker",)),
)
# Only where people log in.
AUTH = Service("auth", "gantry_auth")
# The front doors; they close first, so that the batches they hand over still reach the index.
INGEST = Service("ingest", "gantry_ingest")
GATEWAY = Service("gateway", "gantry_gateway")
FRONT = (INGEST, GATEWAY)


def service_spec(
    service: Service, environment: Mapping[str, str], port: int, state: Path, logs: Path
) -> ProcessSpec:
    """Return how to run a service whose HTTP side (health, or the gateway itself) listens on ``port``."""
    return ProcessSpec(
        name=service.name,
        # -P: the state folder is no place to import modules from.
        argv=(sys.executable, "-P", "-m", service.module, *service.arguments),
        log_file=logs / f"{service.name}.log",
        cwd=state,
        env={**os.environ, **environment, "GANTRY_HTTP_HOST": LOOPBACK, "GANTRY_HTTP_PORT": str(port)},
        ready=lambda: says_ready(port),
        ready_seconds=READY_SECONDS,
        grace_seconds=GRACE_SECONDS,
        death_signal=signal.SIGTERM,
    )


def program_spec(name: str, module: str, arguments: tuple[str, ...], spec: ProcessSpec) -> ProcessSpec:
    """Return how to run a module once, in the surroundings of ``spec``."""
    return ProcessSpec(
        name=name,
        argv=(sys.executable, "-P", "-m", module, *arguments),
        log_file=spec.log_file.with_name(f"{name}.log"),
        cwd=spec.cwd,
        env=spec.env,
    )


def says_ready(port: int) -> bool:
    """Whether the service on this port answers that it is ready."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
