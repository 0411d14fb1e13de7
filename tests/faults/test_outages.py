"""(a) PostgreSQL and Valkey down, (c) an older index: whatever was acknowledged is there in the end."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from gantry_testing.auditor import Answer
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for

FRONT = ("ingest", "gateway")
BACK = ("indexer", "indexer-worker", "storage")


def stop_databases(stack):
    stack.postgres.stop()
    stack.valkey.kill()


def wait_found(stack, *sets):
    stack.wait_found([instance.sop_uid for instances in sets for instance in instances])


def sop_uids(instances):
    return {instance.sop_uid for instance in instances}


def start_databases(stack):
    stack.postgres.start()
    stack.valkey.start()


def store_both_ways(stack, recorder, seed):
    by_stow = generate_study(seed, "CT", instances=6, size=(64, 64))
    by_dimse = generate_study(seed + 1, "MR", instances=6, size=(64, 64))
    with stack.web() as web:
        for pair in (by_stow[:2], by_stow[2:4], by_stow[4:]):
            assert recorder.stow(web, pair) == [Answer.ACKNOWLEDGED] * 2
    assert recorder.c_store(stack.peer, by_dimse) == [Answer.ACKNOWLEDGED] * 6
    return [*by_stow, *by_dimse]


@pytest.mark.parametrize("started", ["before", "during"])
def test_what_is_acknowledged_in_an_outage_survives_a_kill(
    stack, recorder, settle_and_audit, found_of, started
):
    """Front services started before the outage, or while PostgreSQL and Valkey are down."""
    if started == "during":
        for name in FRONT:
            stack.kill(name)
    stop_databases(stack)
    if started == "during":
        for name in FRONT:
            stack.start_service(name)
    instances = store_both_ways(stack, recorder, {"before": 10, "during": 15}[started])
    # The next instant: nothing has been closed, no manifest was written.
    for name in (*FRONT, *BACK):
        stack.kill(name)
    start_databases(stack)
    for name in (*BACK, *FRONT):
        stack.start_service(name)
    wait_found(stack, instances)
    report = settle_and_audit(stack, recorder.sent)
    assert report.ok, str(report)
    with stack.web() as web:
        assert found_of(web, instances) == sop_uids(instances)


def test_services_that_stay_up_find_everything_when_an_outage_ends(stack, recorder, settle_and_audit):
    """Nothing is killed: what could not be indexed at once is fed again when the databases are back."""
    first = store_both_ways(stack, recorder, 20)
    stop_databases(stack)
    second = store_both_ways(stack, recorder, 30)
    with stack.web() as web:
        assert web.get("/studies").status_code == 503
    start_databases(stack)
    wait_found(stack, first, second)
    report = settle_and_audit(stack, recorder.sent)
    assert report.ok, str(report)


def test_an_older_copy_of_the_index_is_completed_from_the_manifests(
    stack, recorder, settle_and_audit, found_of
):
    first = store_both_ways(stack, recorder, 40)
    wait_found(stack, first)
    report = settle_and_audit(stack, recorder.sent)
    assert report.ok, str(report)
    everything = (*FRONT, *BACK)
    for name in everything:
        stack.stop_service(name)
    stack.copy_index("completed")
    taken = datetime.now(UTC)
    for name in everything:
        stack.start_service(name)

    second = store_both_ways(stack, recorder, 50)
    wait_found(stack, first, second)
    # Now the journal is empty too: nothing but the manifests leads to the second set.
    assert settle_and_audit(stack, recorder.sent).ok

    for name in everything:
        stack.stop_service(name)
    stack.restore_index("completed")
    for name in everything:
        stack.start_service(name)
    with stack.web() as web:
        assert found_of(web, [*first, *second]) == sop_uids(first), "the older copy is not in place"
    stack.run("replay", "gantry_storage", "replay", "--since", taken.isoformat())
    wait_found(stack, first, second)
    report = settle_and_audit(stack, recorder.sent)
    assert report.ok, str(report)
    # Once more changes nothing.
    before = stack.count("reception")
    stack.run("replay", "gantry_storage", "replay", "--since", taken.isoformat())
    assert stack.count("reception") == before


def test_an_index_that_is_lost_is_built_again_from_the_manifests(stack, recorder, settle_and_audit):
    instances = store_both_ways(stack, recorder, 60)
    wait_found(stack, instances)
    assert settle_and_audit(stack, recorder.sent).ok
    everything = (*FRONT, *BACK)
    for name in everything:
        stack.stop_service(name)
    stack.restore_index("template0")
    stack.run("migrate", "gantry_index", "migrate")
    for name in everything:
        stack.start_service(name)
    assert stack.count("instance") == 0
    stack.run("replay", "gantry_storage", "replay", "--since", "2020-01-01")
    wait_found(stack, instances)
    report = settle_and_audit(stack, recorder.sent)
    assert report.ok, str(report)


def test_a_restart_of_everything_finds_the_data_again(stack, recorder, settle_and_audit, found_of):
    instances = store_both_ways(stack, recorder, 70)
    wait_found(stack, instances)
    stack.close()
    stack.start()
    with stack.web() as web:
        wait_for(lambda: found_of(web, instances) == sop_uids(instances), "the data after the restart")
    report = settle_and_audit(stack, recorder.sent)
    assert report.ok, str(report)
