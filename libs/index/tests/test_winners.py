"""The rule for the winner, as a property."""

from __future__ import annotations

import random

from gantry.index.v1.index_pb2 import VERDICT_STATE_DUPLICATE, VERDICT_STATE_INDEXED
from gantry_index.winners import Candidate, state_against, survivor
from hypothesis import given
from hypothesis import strategies as st

contents = st.sampled_from([b"a", b"b", b"c"])
histories = st.lists(st.tuples(contents, st.booleans()), min_size=1, max_size=8).map(
    lambda pairs: [Candidate(f"{n:03}", f"o/{n}", *pair) for n, pair in enumerate(pairs)]
)


@given(histories, st.randoms())
def test_the_winner_does_not_depend_on_the_order_of_arrival(history: list[Candidate], chance: random.Random):
    shuffled = list(history)
    chance.shuffle(shuffled)
    assert survivor(shuffled) == survivor(history)


@given(histories)
def test_the_winner_is_the_first_of_its_content(history):
    winner = survivor(history)
    same = [candidate for candidate in history if candidate.content == winner.content]
    assert winner == same[0]
    assert state_against(winner, winner) == VERDICT_STATE_INDEXED
    assert {state_against(other, winner) for other in same[1:]} <= {VERDICT_STATE_DUPLICATE}


@given(histories)
def test_without_replacing_sources_the_first_stays(history):
    keeping = [candidate._replace(replaces=False) for candidate in history]
    assert survivor(keeping) == keeping[0]


@given(histories)
def test_the_content_of_the_last_replacing_reception_is_shown(history):
    replacing = [candidate for candidate in history if candidate.replaces]
    if replacing:
        assert survivor(history).content == replacing[-1].content


@given(histories, contents, st.booleans())
def test_a_new_reception_changes_the_content_only_to_its_own(history, content, replaces):
    new = Candidate("000x", "o/new", content, replaces)
    before, after = survivor(history), survivor([*history, new])
    assert after.content in (before.content, new.content)
