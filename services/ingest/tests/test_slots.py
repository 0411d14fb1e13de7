"""Association slots: what each worker has, in memory that all see."""

import os
import subprocess
import sys

import pytest
from gantry_ingest.adapters.slots import AssociationSlots
from gantry_ingest.entrypoints.listener import Listener
from gantry_ingest.entrypoints.worker import Sharing
from gantry_ingest.settings import IngestSettings


@pytest.fixture
def descriptor():
    descriptor = AssociationSlots.create(workers=2, most=4)
    yield descriptor
    os.close(descriptor)


def test_each_worker_sees_what_all_have(descriptor):
    one, other = AssociationSlots(descriptor, 2, 4), AssociationSlots(descriptor, 2, 4)
    one.publish(0, ["CT1", "CT1", "MR1"])
    other.publish(1, ["CT1"])
    for slots in (one, other):
        assert slots.counts() == [3, 1]
        assert slots.total() == 4
        assert [slots.of_title(title) for title in ("CT1", "MR1", "US1")] == [3, 1, 0]
    one.publish(0, ["MR1"])
    assert (other.total(), other.of_title("CT1")) == (2, 1)


def test_one_too_many_is_seen_where_one_worker_has_all_and_what_does_not_fit_harms_no_other_row(descriptor):
    slots = AssociationSlots(descriptor, 2, 4)
    slots.publish(0, ["FLOOD"] * 5)
    assert slots.total() == 5
    slots.publish(0, ["FLOOD"] * 9)
    assert slots.counts() == [5, 0]


@pytest.mark.parametrize(
    ("rows", "count", "delay"),
    [
        ([0, 0], 0, 0.0),
        ([1, 1], 1, 0.0),
        ([1, 0], 1, "polite"),
        ([2, 0], 2, None),
        ([2, 2], 2, 0.0),
    ],
    ids=["nobody has any", "as many as the other", "more than the other", "its share", "all are full"],
)
def test_who_takes_the_next_connection(descriptor, rows, count, delay):
    settings = IngestSettings(
        store_url="file:///nowhere", redis_url="", seal_keys="", maximum_associations=4, dimse_workers=2
    )
    slots = AssociationSlots(descriptor, 2, 4)
    for worker, associations in enumerate(rows):
        slots.publish(worker, ["X"] * associations)
    answer = Sharing(settings, slots).delay(count)
    assert (0 < answer < 0.1) if delay == "polite" else answer == delay


def test_a_listener_is_ready_when_a_worker_says_that_it_serves_and_not_because_one_was_started(free_port):
    settings = IngestSettings(
        store_url="file:///nowhere", redis_url="", seal_keys="", dimse_port=free_port, dimse_workers=2
    )
    listener = Listener(settings)
    assert not listener.ready()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as worker:
        listener._workers[1] = worker
        assert not listener.ready()
        slots = AssociationSlots(listener._slots_descriptor, 2, settings.maximum_associations)
        slots.set_serving(0, serving=True)
        assert not listener.ready()
        slots.set_serving(1, serving=True)
        assert listener.ready()
        worker.kill()
        worker.wait()
        assert not listener.ready()
    listener._socket.close()
