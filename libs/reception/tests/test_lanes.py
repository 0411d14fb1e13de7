"""Who goes behind whom: a bulk load is told by its numbers, or by its sender's name."""

import pytest
from gantry.reception.v1.reception_pb2 import Lane, Source
from gantry_reception.lanes import WATCHED, Lanes
from gantry_reception.settings import ReceiverSettings

BURST = 100
CT, MIGRATION = Source(calling_ae_title="CT1"), Source(calling_ae_title="OLDPACS")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lanes(clock) -> Lanes:
    return Lanes(ReceiverSettings(live_burst=BURST, live_burst_seconds=60.0), clock)


def send(lanes, source, count, partition="main"):
    return [lanes.lane_of(partition, source) for _ in range(count)]


def test_a_study_is_live(lanes):
    assert set(send(lanes, CT, BURST)) == {Lane.LANE_LIVE}


def test_a_sender_of_very_much_goes_behind_and_the_others_do_not(lanes):
    assert send(lanes, MIGRATION, 3 * BURST)[-1] == Lane.LANE_BULK
    assert send(lanes, CT, 1) == [Lane.LANE_LIVE]
    assert send(lanes, MIGRATION, 1, partition="second") == [Lane.LANE_LIVE]


def test_who_slows_down_is_live_again(lanes, clock):
    send(lanes, MIGRATION, 10 * BURST)
    clock.now += 60
    assert send(lanes, MIGRATION, 1) == [Lane.LANE_BULK]
    clock.now += 60
    assert send(lanes, MIGRATION, 1) == [Lane.LANE_LIVE]


def test_a_slow_stream_stays_live_for_ever(lanes, clock):
    for _ in range(10 * BURST):
        clock.now += 60 / BURST
        assert send(lanes, CT, 1) == [Lane.LANE_LIVE]


@pytest.mark.parametrize("source", [MIGRATION, Source(principal="OLDPACS")])
def test_named_senders_are_bulk_from_the_first_instance(clock, source):
    lanes = Lanes(ReceiverSettings(bulk_sources=frozenset({"OLDPACS"})), clock)
    assert send(lanes, source, 1) == [Lane.LANE_BULK]
    assert send(lanes, CT, 1) == [Lane.LANE_LIVE]


def test_without_a_burst_only_names_count(clock):
    lanes = Lanes(ReceiverSettings(live_burst=0), clock)
    assert set(send(lanes, MIGRATION, 50_000)) == {Lane.LANE_LIVE}


def test_senders_who_call_themselves_anything_do_not_fill_the_memory(lanes):
    for number in range(WATCHED + 50):
        send(lanes, Source(calling_ae_title=f"AE{number}"), 1)
    assert len(lanes._meters) == WATCHED


async def test_the_receiver_asks_unless_it_is_told(bench, instances):
    receiver = bench.receiver(live_burst=1)
    lanes = [(await bench.receive(receiver, instances())).lane for _ in range(3)]
    assert lanes == [Lane.LANE_LIVE, Lane.LANE_BULK, Lane.LANE_BULK]
