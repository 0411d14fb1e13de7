"""Live traffic before bulk: a migration with a backlog does not delay an emergency (slow)."""

import pytest
from gantry_testing.faults.migration import measure
from gantry_testing.stack import Stack

INSTANCES, LIVE_BURST = 6_000, 500


@pytest.mark.slow
def test_an_emergency_does_not_wait_for_the_backlog_of_a_migration(tmp_path):
    with Stack(tmp_path, environment={"GANTRY_LIVE_BURST": str(LIVE_BURST)}) as stack:
        measured = measure(stack, INSTANCES, studies=3, indexer_away=0.7)
    assert measured.deepest_backlog > INSTANCES / 2, "there was nothing to wait for"
    # Behind all of the backlog it would have taken about as long as that.
    assert measured.beside.worst < measured.alone.worst + measured.indexed_seconds / 4
