from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from gantry_embedded.ports import free_port
from gantry_embedded.state import is_running
from gantry_testing import datapack, packcases
from gantry_testing.stack import Stack


def called_ae_titles() -> dict[str, str]:
    """Return called AE titles and the partitions behind them, enough for files that share a UID."""
    titles = {"DCMTK": "dcmtk"}
    if datapack.locate() is not None:
        most = max(case.number for case in packcases.cases(datapack.files()))
        titles |= {f"PACK{n}": f"dimse-{n}" for n in range(most + 1)}
    return titles


@pytest.fixture(scope="session")
def move_port():
    """The port at which the C-MOVE destination DEST listens, when a test lets it."""
    return free_port()


@pytest.fixture(scope="session")
def stack(tmp_path_factory, move_port):
    """One running archive for all end-to-end tests; each test uses patients or partitions of its own."""
    environment = {"GANTRY_MOVE_DESTINATIONS": f"DEST=127.0.0.1:{move_port}"}
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder, partitions=called_ae_titles(), environment=environment) as running:
        yield running


@pytest.fixture
def web(stack):
    with stack.web() as client:
        yield client


@dataclass(frozen=True)
class Archive:
    """A stack with login, started as a person would."""

    state: Path
    viewer: Path

    @property
    def facts(self):
        """How to reach it, as the supervisor wrote it down."""
        return json.loads((self.state / "supervisor.json").read_text())["facts"]

    @property
    def origin(self):
        """Scheme, host and port of everything that speaks HTTP."""
        return self.facts["dicomweb_url"].removesuffix("/dicom-web")

    def start(self):
        """Start it unless it runs."""
        if not is_running(self.state):
            self._gantry("up", "--detach", "--store", "file", "--viewer", str(self.viewer))

    def stop(self):
        """Stop it in order."""
        self._gantry("down")

    def _gantry(self, *arguments):
        command = [sys.executable, "-P", "-m", "gantry_cli", *arguments, "--state", str(self.state)]
        subprocess.run(command, check=True, timeout=240)


@pytest.fixture(scope="session")
def archive_with_login(tmp_path_factory):
    viewer = tmp_path_factory.mktemp("viewer")
    (viewer / "index.html").write_text("<!doctype html><title>viewer</title>")
    made = Archive(tmp_path_factory.mktemp("archive") / "state", viewer)
    yield made
    made.stop()


@pytest.fixture
def archive(archive_with_login):
    """The one archive with login for all tests of people and programs; each has names of its own."""
    archive_with_login.start()
    return archive_with_login
