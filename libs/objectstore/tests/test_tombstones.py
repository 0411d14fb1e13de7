"""What stands after a study's amendments."""

from __future__ import annotations

from gantry.amendment.v1.amendment_pb2 import (
    AMENDMENT_KIND_HIDE,
    AMENDMENT_KIND_PURGE,
    AMENDMENT_KIND_RESTORE,
    AmendedReception,
    Amendment,
)
from gantry_objectstore.tombstones import tombstones
from hypothesis import given
from hypothesis import strategies as st

KINDS = {"hide": AMENDMENT_KIND_HIDE, "restore": AMENDMENT_KIND_RESTORE, "purge": AMENDMENT_KIND_PURGE}


def history(*steps):
    found = []
    for revision, (word, what) in enumerate(steps, 1):
        amendment = Amendment(kind=KINDS[word], revision=revision)
        if word == "hide":
            amendment.receptions.extend(AmendedReception(object_key=key) for key in what)
        elif word == "restore":
            amendment.undoes = what
        else:
            amendment.purges = what
        found.append(amendment)
    return found


def test_a_purge_destroys_what_its_deletion_hides_and_nothing_else():
    found = tombstones(history(("hide", "ab"), ("hide", "c"), ("purge", 1)))
    assert found.purged == {"a": 3, "b": 3}
    assert found.purged_by(3) == ["a", "b"]
    assert found.hidden == {"c": 2}


def test_what_was_restored_first_is_not_destroyed():
    found = tombstones(history(("hide", "a"), ("restore", 1), ("purge", 1)))
    assert (found.hidden, found.purged) == ({}, {})


def test_what_is_destroyed_is_not_restored():
    found = tombstones(history(("hide", "a"), ("purge", 1), ("restore", 1), ("hide", "a")))
    assert (found.hidden, found.purged) == ({}, {"a": 2})


def test_of_two_deletions_at_once_the_first_hides():
    # Undoing it shows the object: what the second named as well is not in its power to destroy.
    found = tombstones(history(("hide", "ab"), ("hide", "abc"), ("restore", 1), ("purge", 2)))
    assert found.purged == {"c": 4}
    assert found.hidden_by(2) == []


STEPS = st.one_of(
    st.tuples(st.just("hide"), st.sets(st.sampled_from("abcd"))),
    st.tuples(st.sampled_from(("restore", "purge")), st.integers(1, 6)),
)


@given(st.lists(STEPS, max_size=12))
def test_an_object_is_never_both_and_never_comes_back_from_a_purge(steps):
    gone: dict[str, int] = {}
    for count in range(len(steps) + 1):
        found = tombstones(history(*steps[:count]))
        assert not set(found.hidden) & set(found.purged)
        assert gone.items() <= found.purged.items()
        gone = found.purged
