from __future__ import annotations

from datetime import timedelta

import pytest
from gantry_embedded.ports import free_port
from gantry_testing.auditor import Report, SentInstance, Target, audit_now
from gantry_testing.faults.load import SECOND_PARTITION, SECOND_TITLE
from gantry_testing.faults.settings import LEASE_SECONDS, QUICK, environment_of
from gantry_testing.recording import Recorder
from gantry_testing.stack import SEAL_KEYS, Stack
from gantry_testing.waiting import wait_for
from gantry_testing.web import uids

# Rounds of the harness that may be run on the shared stack, so that its indexer knows their poison.
ROUNDS = 40


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


@pytest.fixture(scope="session")
def destination_port() -> int:
    """Where the shared stack moves what goes to DEST."""
    return free_port()


@pytest.fixture(scope="session")
def spool(tmp_path_factory):
    """Where ingest of the shared stack puts what it transcodes."""
    return tmp_path_factory.mktemp("spool")


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory, destination_port, spool):
    settings = {
        "GANTRY_MOVE_DESTINATIONS": f"DEST=127.0.0.1:{destination_port}",
        "GANTRY_SPOOL_FOLDER": str(spool),
    }
    with Stack(tmp_path_factory.mktemp("stack"), environment=QUICK | settings) as running:
        yield running


@pytest.fixture
def stack(shared_stack):
    """A stack that others have used and will use: starting one takes longer than most tests."""
    shared_stack.restore()
    return shared_stack


@pytest.fixture(scope="session")
def shared_proxied_stack(tmp_path_factory):
    with Stack(
        tmp_path_factory.mktemp("proxied"),
        store="s3",
        proxied=True,
        partitions={SECOND_TITLE: SECOND_PARTITION},
        environment=environment_of(range(ROUNDS)),
    ) as running:
        yield running


@pytest.fixture
def proxied(shared_proxied_stack):
    """A shared stack on S3 whose services reach the store through proxies that can hold their requests."""
    shared_proxied_stack.restore()
    return shared_proxied_stack


@pytest.fixture
def found_of():
    """Ask a web client which of these instances searches find."""

    def ask(web, instances):
        studies = {instance.study_uid for instance in instances}
        return {
            uid
            for study_uid in studies
            for uid in uids(web.search("/instances", StudyInstanceUID=study_uid), "00080018")
        }

    return ask


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
