"""The command against the real stack: every process, one state folder, two lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from gantry_cli.lifecycle import facts_of
from gantry_embedded.process import is_alive
from gantry_embedded.state import StackState, is_running, read_state
from gantry_testing.synthetic.studies import generate_study


def gantry(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "gantry_cli", *arguments, "--state", str(state)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        # A home that does not exist: nothing may depend on one.
        env={**os.environ, "HOME": "/nonexistent"},
    )


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.1)


def current(state: Path) -> StackState:
    found = read_state(state)
    assert found is not None
    return found


def pid_of(state: Path, name: str) -> int:
    return next(child.pid for child in current(state).children if child.name == name)


def instances_found(state: Path, study_instance_uid: str) -> int:
    url = f"{facts_of(state).dicomweb_url}/studies/{study_instance_uid}/instances"
    token = gantry("token", state=state).stdout.strip()
    headers = {"Accept": "application/dicom+json", "Authorization": f"Bearer {token}"}
    answer = httpx.get(url, headers=headers, timeout=30)
    return len(answer.json()) if answer.status_code == httpx.codes.OK else 0


@pytest.fixture
def state(tmp_path: Path):
    folder = tmp_path / "a state, with blanks"
    yield folder
    gantry("down", state=folder)


def test_a_stack_keeps_its_data_through_crashes_and_restarts(state: Path, tmp_path: Path):
    instances = generate_study(11, "CT", instances=4, size=(16, 16))
    files = tmp_path / "files"
    files.mkdir()
    for instance in instances:
        (files / f"{instance.sop_uid}.dcm").write_bytes(instance.data)
    study = instances[0].study_uid

    first = gantry("demo", "--detach", "--store", "file", state=state)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "C-STORE: 48 of 48 instances" in first.stdout
    assert "curl" in first.stdout
    password = (state / "admin-password").read_text().strip()
    assert f"admin, password {password}" in first.stdout
    assert gantry("status", state=state).returncode == 0
    second_up = gantry("up", state=state)
    assert (second_up.returncode, "already running" in second_up.stderr) == (1, True)

    old = pid_of(state, "gateway")
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: pid_of(state, "gateway") != old and gantry("status", state=state).returncode == 0)
    imported = gantry("import", str(files), state=state)
    assert (imported.returncode, "4 of 4 instances stored" in imported.stdout) == (0, True), imported.stdout

    # The supervisor dies as by the kernel's hand: nothing it started stays.
    before = current(state)
    os.kill(before.pid, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(child.pid) for child in before.children))
    assert not is_running(state)
    assert gantry("status", state=state).returncode == 3

    again = gantry("demo", "--detach", state=state)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Found the demonstration's" in again.stdout
    assert "admin, password in" in again.stdout
    assert password not in again.stdout
    assert current(state).facts == before.facts, "ports and store are those of the first start"
    assert instances_found(state, study) == 4

    children = current(state).children
    down = gantry("down", state=state)
    assert (down.returncode, down.stdout) == (0, "Stopped.\n")
    assert not any(is_alive(child.pid) for child in children)
