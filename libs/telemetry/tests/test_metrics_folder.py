"""The folder that the processes of a service share for their metrics."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

SERVICE = """
import os, sys
from gantry_telemetry.workers import share_metrics
share_metrics()
print(os.environ["PROMETHEUS_MULTIPROC_DIR"], flush=True)
sys.stdin.read()
"""


def begin(tmp_path, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    environment |= variables
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE],
        env=environment | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return service, service.stdout.readline().strip()


def end(service):
    service.communicate()


def test_what_a_killed_service_left_is_removed_and_what_a_living_one_has_is_not(tmp_path):
    killed, left = begin(tmp_path)
    living, kept = begin(tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert Path(left).is_dir()
    third, own = begin(tmp_path)
    assert [Path(folder).is_dir() for folder in (left, kept, own)] == [False, True, True]
    end(living)
    end(third)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_begins_although_its_folder_was_cleared_away(tmp_path):
    folder = str(tmp_path / "cleared")
    worker, named = begin(tmp_path, PROMETHEUS_MULTIPROC_DIR=folder)
    assert named == folder
    assert Path(folder).is_dir()
    end(worker)
    assert Path(folder).is_dir(), "it is its owner's to remove"
