"""When a study is complete, and that whoever looks again sees the same."""

from __future__ import annotations

import random

from gantry.reception.v1.reception_pb2 import OUTCOME_ACKNOWLEDGED, OUTCOME_REFUSED, Reception, Source
from gantry_ingest.routing.episodes import Arrivals
from hypothesis import given
from hypothesis import strategies as st

QUIET = 60_000_000
BATCH = "01JGANTRY{:017d}"


def reception(number, at, *, study="1.1", series="1.1.1", source="CT1", outcome=OUTCOME_ACKNOWLEDGED):
    return Reception(
        batch=BATCH.format(number),
        ordinal=1,
        study_instance_uid=study,
        series_instance_uid=series,
        sop_instance_uid=f"9.{number}",
        received_at_us=at,
        outcome=outcome,
        source=Source(calling_ae_title=source),
    )


def test_a_study_is_complete_when_nothing_has_come_for_a_while():
    arrivals = Arrivals(QUIET)
    arrivals.add("main", [reception(1, 0), reception(2, QUIET, series="1.1.2", source="CT2")])
    assert arrivals.complete(2 * QUIET) == []
    [episode] = arrivals.complete(2 * QUIET + 1)
    assert episode.series == {"1.1.1": {"9.1"}, "1.1.2": {"9.2"}}
    assert (episode.first_received_us, episode.last_received_us) == (0, QUIET)
    assert (episode.instance_count, episode.sources) == (2, {"CT1", "CT2"})
    assert arrivals.complete(10 * QUIET) == []


def test_what_comes_after_the_pause_is_another_episode():
    arrivals = Arrivals(QUIET)
    arrivals.add("main", [reception(1, 0), reception(2, 3 * QUIET)])
    first, second = arrivals.complete(10 * QUIET)
    assert (first.instance_count, second.instance_count) == (1, 1)
    assert first.first_order_key != second.first_order_key


def test_a_released_association_makes_a_shorter_pause_do_and_a_broken_one_does_not():
    def due(*ends):
        arrivals = Arrivals(QUIET, QUIET // 4)
        arrivals.add("main", [reception(1, 0)])
        for at, released in ends:
            arrivals.transfer_ended("main", "1.1", at, released=released)
        arrivals.transfer_ended("main", "9.9", 1, released=True)
        return [episode.is_released for episode in arrivals.complete(QUIET // 2)]

    assert due() == []
    assert due((1, True)) == [True]
    assert due((1, False)) == []
    assert due((1, True), (2, False)) == []


def test_what_comes_after_the_release_takes_it_back():
    arrivals = Arrivals(QUIET, 1)
    arrivals.add("main", [reception(1, 0)])
    arrivals.transfer_ended("main", "1.1", 5, released=True)
    arrivals.add("main", [reception(2, 10)])
    assert arrivals.complete(100) == []


def test_what_was_refused_never_came_and_partitions_are_apart():
    arrivals = Arrivals(QUIET)
    arrivals.add("main", [reception(1, 0, outcome=OUTCOME_REFUSED), reception(2, 0, study="")])
    arrivals.add("second", [reception(3, 0)])
    [episode] = arrivals.complete(10 * QUIET)
    assert episode.partition == "second"


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.randoms())
def test_the_same_lines_give_the_same_episodes_in_whatever_order(minutes, dice):
    receptions = [reception(n, minute * QUIET // 2) for n, minute in enumerate(minutes)]

    def episodes(order):
        arrivals = Arrivals(QUIET)
        arrivals.add("main", order)
        return {(one.first_order_key, one.instance_count) for one in arrivals.complete(10**12)}

    mixed = list(receptions)
    random.Random(dice.random()).shuffle(mixed)
    assert episodes(receptions) == episodes(mixed)
