from __future__ import annotations

import os
from pathlib import Path

import pytest
from gantry_dicom.errors import CannotProcess
from gantry_testing.auditor import Target, audit_now
from gantry_testing.datapack import everything_required
from gantry_testing.fleet import Fleet, Release, release_of
from gantry_testing.stack import SEAL_KEYS, Stack
from gantry_testing.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
# The newest state of the tree that counts as released: what the next release is upgraded from.
RELEASED = "b7f658c54ee58e282d7209d665abe316bcb170d8"
LEASE_SECONDS = 10.0
SETTINGS = {
    "GANTRY_LEASE_SECONDS": str(LEASE_SECONDS),
    "GANTRY_SWEEP_MARGIN_SECONDS": "1",
    "GANTRY_SWEEP_SECONDS": "1",
    "GANTRY_FEED_AFTER_SECONDS": "2",
    "GANTRY_FEED_AGAIN_SECONDS": "5",
    "GANTRY_DIMSE_WORKERS": "1",
    "GANTRY_PIXEL_WORKERS": "1",
}


@pytest.fixture(scope="session")
def old(tmp_path_factory) -> Release:
    commit = os.environ.get("GANTRY_UPGRADE_FROM", RELEASED)
    try:
        return release_of(ROOT, commit, tmp_path_factory.mktemp("old"))
    except CannotProcess as error:
        if everything_required():
            raise
        pytest.skip(f"needs the history of the tree: {error}")


@pytest.fixture(scope="session")
def new(tmp_path_factory) -> Release:
    commit = os.environ.get("GANTRY_UPGRADE_TO")
    if commit is None:
        return Release("this", ROOT)
    return release_of(ROOT, commit, tmp_path_factory.mktemp("new"))


@pytest.fixture
def fleet(tmp_path, old):
    """Two gateways and listeners, and one of everything else, all of the old release."""
    stack = Stack(tmp_path / "stack", services=())
    stack.set_environment("migrate", {"PYTHONPATH": old.python_path})
    with stack, Fleet(stack, SETTINGS) as fleet:
        for service in ("indexer", "indexer-worker", "storage", "ingest", "ingest", "gateway", "gateway"):
            fleet.start(service, old)
        yield fleet


@pytest.fixture
def audit():
    """Wait until nothing is under way any more, then ask the auditor."""
    return _audit


def _audit(fleet, sent):
    stack = fleet.stack
    wait_for(lambda: not stack.list_keys("j/"), "every batch to be closed and decided", 120)
    target = Target(stack.store_url, SEAL_KEYS, stack.index_dsn, fleet.url, stack.store_settings)
    return audit_now(sent, target)
