"""Alerts about logins, rules of access, access records, routing and commitment, on an archive with login."""

from __future__ import annotations

import os
import signal

import psycopg
import pytest
from gantry_testing.prometheus import Prometheus, hastened
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.prometheus]

LIMITS = {
    "gantry_auth_audit_lag_seconds) > 600": "gantry_auth_audit_lag_seconds) > 10",
    "- time() < 6 * 3600": "- time() < 35",
    "gantry_commitments_open) > 20": "gantry_commitments_open) > 0",
    "gantry_route_jobs_open) > 500": "gantry_route_jobs_open) > 0",
    # Passwords are looked at slowly, on purpose.
    '"refused|locked-out"}[10m])) > 50': '"refused|locked-out"}[60m])) > 10',
}


@pytest.fixture(scope="module")
def prometheus(archive, tmp_path_factory, rule_files):
    folder = tmp_path_factory.mktemp("prometheus")
    rules = folder / "alerts.yaml"
    (alerts,) = [path for path in rule_files if path.stem == "alerts"]
    rules.write_text(hastened(alerts.read_text(), 60, LIMITS))
    targets = {job: f"127.0.0.1:{port}" for job, port in archive.ports.items()}
    with Prometheus(folder, targets, [rules]) as running:
        wait_for(lambda: len(running.query("up == 1")) == len(targets), "scrapes")
        yield running


def wait_firing(prometheus, *names, work=lambda: None, seconds=120):
    seen = set()

    def all_seen():
        work()
        seen.update(prometheus.firing())
        return seen >= set(names)

    wait_for(all_seen, f"{names} to fire", seconds)


def test_nothing_is_wrong_with_access_on_an_archive_that_is_well(load, prometheus):
    load.round()
    names = {"GantryAuditBroken", "GantryAuditLag", "GantryPolicyAging", "GantryAccessLogFull"}
    assert not prometheus.firing() & names


def test_somebody_who_tries_passwords(load, prometheus):
    wait_firing(prometheus, "GantryLoginsFailing", work=load.guess_a_password)


def test_a_destination_that_cannot_be_reached(load, prometheus):
    load.round()
    wait_firing(prometheus, "GantryRoutingFailing", "GantryRoutingBehind")


def test_a_device_that_does_not_take_its_report(load, prometheus):
    (never_sent,) = generate_study(9999, "MR", instances=1, size=(16, 16))
    load.commit(never_sent, "DEAF")
    wait_firing(prometheus, "GantryCommitmentsOpen")


def test_an_access_record_that_we_did_not_write(archive, prometheus):
    batches = sorted(path for path in (archive.state / "objects" / "audit").rglob("*") if path.is_file())
    newest = batches[-1]
    forged = newest.with_name(f"{int(newest.name) + 1_000_000:0{len(newest.name)}d}")
    forged.write_bytes(b"junk")
    wait_firing(prometheus, "GantryAuditBroken", seconds=240)
    forged.unlink()


def test_access_records_that_cannot_be_brought_into_the_database(archive, load, prometheus):
    with psycopg.connect(archive.surroundings("auth")["GANTRY_CORE_DSN"]) as connection:
        connection.execute("LOCK TABLE auth.access_records IN ACCESS EXCLUSIVE MODE")
        wait_firing(prometheus, "GantryAuditLag", work=load.round, seconds=240)


def test_rules_of_access_that_nobody_publishes_any_more(archive, prometheus):
    auth = archive.pid("auth")
    os.killpg(auth, signal.SIGSTOP)
    try:
        wait_firing(prometheus, "GantryPolicyAging", seconds=90)
    finally:
        os.killpg(auth, signal.SIGCONT)
