"""A listener of its own for each test module: file store, no PostgreSQL, no Valkey."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from gantry_embedded.ports import free_port
from gantry_testing.dimse import Peer
from gantry_testing.waiting import wait_for

SEAL_KEYS = "test:000102030405060708090a0b0c0d0e0f"


@dataclass
class RunningListener:
    process: subprocess.Popen
    peer: Peer
    http_port: int
    store: Path

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def objects(self):
        return sorted(path for path in (self.store / "o").rglob("*") if path.is_file())

    def connect(self):
        return socket.create_connection((self.peer.host, self.peer.port), timeout=10)


@pytest.fixture
def start_listener(tmp_path):
    started = []

    def start(**settings):
        store = tmp_path / "store"
        store.mkdir(exist_ok=True)
        dimse_port, http_port = free_port(), free_port()
        environment = os.environ | {
            "GANTRY_STORE_URL": f"file://{store}",
            # Nobody listens there: reception must not need them.
            "GANTRY_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
            "GANTRY_SEAL_KEYS": SEAL_KEYS,
            "GANTRY_POLICY": "open",
            "GANTRY_DIMSE_PORT": str(dimse_port),
            "GANTRY_HTTP_PORT": str(http_port),
            "GANTRY_DIMSE_WORKERS": "2",
            **{f"GANTRY_{name.upper()}": str(value) for name, value in settings.items()},
        }
        environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
        log = (tmp_path / "ingest.log").open("ab")
        process = subprocess.Popen([sys.executable, "-m", "gantry_ingest"], env=environment, stderr=log)
        listener = RunningListener(process, Peer("127.0.0.1", dimse_port), http_port, store)
        started.append(listener)

        def ready():
            try:
                return "gantry_dimse_associations" in listener.metrics()
            except OSError:
                return False

        wait_for(ready, "the listener's workers")
        return listener

    yield start
    for listener in started:
        if listener.process.poll() is None:
            listener.process.send_signal(signal.SIGTERM)
            try:
                listener.process.wait(20)
            except subprocess.TimeoutExpired:
                listener.process.kill()
                listener.process.wait()


@pytest.fixture
def listener(start_listener):
    return start_listener()
