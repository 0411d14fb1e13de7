"""The servers that are measured side by side, each started empty: ours with login, and Orthanc."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gantry_embedded.ports import LOOPBACK, free_port
from gantry_embedded.state import read_state

from bench.driving import Target

ORTHANC_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
READY_SECONDS = 60.0
STOP_SECONDS = 30.0
_CLIENT = "bench"


@contextmanager
def ours(folder: Path, move_port: int) -> Iterator[Target]:
    """Run Gantry as ``gantry up`` does, on the file store with login; tokens are checked."""
    state = folder / "gantry"
    # One token lasts for the run; nothing else differs from how everybody runs it.
    environment = {**os.environ, "GANTRY_ACCESS_TOKEN_SECONDS": "3600"}
    _gantry(environment, "up", "--state", str(state), "--store", "file", "--detach",
            "--http-port", str(free_port()), "--dimse-port", str(free_port()))  # fmt: skip
    try:
        running = read_state(state)
        if running is None:
            raise RuntimeError("the stack has not started")
        facts = running.facts
        entity = ("ae", "add", "--state", str(state), "--from", LOOPBACK, "--host", LOOPBACK)
        may = ("--may", "store", "--may", "find", "--may", "move")
        _gantry(environment, *entity, *may, "--port", str(free_port()), "BENCH")
        _gantry(environment, *entity, "--port", str(move_port), "BENCHSCP")
        secret = folder / "secret"
        grants = ("--grant", "clinician@main", "--grant", "technologist@main")
        _gantry(
            environment, "client", "add", "--state", str(state), "--secret-to", str(secret), *grants, _CLIENT
        )
        credentials = ("--issuer", facts["issuer"], "--client", _CLIENT, "--secret-file", str(secret))
        token = _gantry(environment, "token", *credentials).strip()
        yield Target(
            facts["dicomweb_url"],
            (("Authorization", f"Bearer {token}"),),
            facts["ae_title"],
            facts["dimse_host"],
            facts["dimse_port"],
            (running.pid,),
            move_port=move_port,
        )
    finally:
        _gantry(environment, "down", "--state", str(state))


def has_orthanc() -> bool:
    """Tell whether Orthanc with its DICOMweb plug-in is installed."""
    return shutil.which("Orthanc") is not None and ORTHANC_PLUGIN.exists()


@contextmanager
def orthanc(folder: Path, move_port: int) -> Iterator[Target]:
    """Run Orthanc, which syncs what it stores and does not wait for delayed acknowledgements."""
    home = folder / "orthanc"
    # An archive of an earlier run would lie beside the configuration.
    home.mkdir(parents=True)
    web, dimse = free_port(), free_port()
    configuration = home / "orthanc.json"
    configuration.write_text(json.dumps(_orthanc_settings(web, dimse, move_port), indent=1))
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            ["Orthanc", str(configuration)],
            cwd=home,
            env={**os.environ, "TCP_NODELAY": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(f"http://{LOOPBACK}:{web}/system")
        yield Target(
            f"http://{LOOPBACK}:{web}/dicom-web",
            (),
            "ORTHANC",
            LOOPBACK,
            dimse,
            (process.pid,),
            move_port=move_port,
        )
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def orthanc_version() -> str:
    """Return the version of the Orthanc that is installed."""
    answer = subprocess.run(["Orthanc", "--version"], capture_output=True, text=True, check=False)
    return answer.stdout.splitlines()[0] if answer.stdout else ""


def _orthanc_settings(web: int, dimse: int, move_port: int) -> dict[str, object]:
    return {
        "Name": "Bench",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "HttpPort": web,
        "DicomPort": dimse,
        "DicomAet": "ORTHANC",
        "Plugins": [str(ORTHANC_PLUGIN)],
        "DicomWeb": {
            "Enable": True,
            "Root": "/dicom-web/",
            "StudiesMetadata": "Full",
            "SeriesMetadata": "Full",
        },
        "SyncStorageArea": True,
        "TcpNoDelay": True,
        "KeepAlive": True,
        "HttpCompressionEnabled": False,
        "SaveJobs": False,
        "ConcurrentJobs": 2,
        "LimitFindResults": 0,
        "LimitFindInstances": 0,
        "StorageAccessOnFind": "Never",
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomAlwaysAllowStore": True,
        "DicomModalities": {"benchscp": ["BENCHSCP", LOOPBACK, move_port]},
        "StorageDirectory": "data",
        "IndexDirectory": "data",
    }


def _gantry(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gantry_cli", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"gantry {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _wait(url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
