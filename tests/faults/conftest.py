from __future__ import annotations

from datetime import timedelta

import pytest
from gantry_testing.auditor import Report, SentInstance, Target, audit_now
from gantry_testing.recording import Recorder
from gantry_testing.stack import SEAL_KEYS, Stack
from gantry_testing.waiting import wait_for

LEASE_SECONDS = 2.0
# Everything that waits for a lease waits for this one; the sweeper looks around twice a second.
QUICK = {
    "GANTRY_LEASE_SECONDS": str(LEASE_SECONDS),
    "GANTRY_SWEEP_MARGIN_SECONDS": "0.5",
    "GANTRY_SWEEP_SECONDS": "0.5",
    "GANTRY_FEED_AFTER_SECONDS": "1",
    "GANTRY_FEED_AGAIN_SECONDS": "3",
    "GANTRY_VERDICT_SECONDS": "1",
    "GANTRY_DEAD_AFTER_SECONDS": "3",
}


@pytest.fixture
def lease_seconds() -> float:
    return LEASE_SECONDS


@pytest.fixture(scope="session")
def quick() -> dict[str, str]:
    """Settings that make everything that waits for a lease quick."""
    return dict(QUICK)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def stack(tmp_path):
    with Stack(tmp_path / "stack", environment=QUICK) as running:
        yield running


@pytest.fixture
def settle_and_audit():
    """Wait until nothing is under way any more, then ask the auditor."""
    return _settle_and_audit


def _settle_and_audit(
    stack: Stack, sent: list[SentInstance], *, seconds: float = 60.0, orphan_age: timedelta = timedelta(0)
) -> Report:
    # Then nothing is under way: an object that no manifest names now will never be named.
    wait_for(lambda: not journal_entries(stack), "every batch to be closed and decided", seconds)
    settings = stack.store_settings
    target = Target(stack.store_url, SEAL_KEYS, stack.index_dsn, stack.health_url("gateway"), settings)
    return audit_now(sent, target, orphan_age=orphan_age)


def journal_entries(stack: Stack) -> list[str]:
    return stack.list_keys("j/")
