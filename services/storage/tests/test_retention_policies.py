"""Which policy decides of a study, and when it may go."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from gantry_dicom.errors import BadRequest
from gantry_storage.retention.policies import StudyFacts, decide, parse_retention, read_retention
from hypothesis import given
from hypothesis import strategies as st

RECEIVED = datetime(2020, 1, 1, tzinfo=UTC)


def facts(**changed):
    known = {
        "partition": "main",
        "modalities": ["CT"],
        "sources": ["CT1"],
        "study_date": date(2015, 5, 5),
        "received_at": RECEIVED,
        "birth_date": date(1970, 1, 1),
    }
    return StudyFacts(**(known | changed))


def policy(name="p", days=100, counted_from="received", keep_until_age=None, **when):
    return {
        "name": name,
        "delete_after_days": days,
        "counted_from": counted_from,
        "keep_until_age": keep_until_age,
        "when": when,
    }


def verdict(*policies, settle_days=30, **changed):
    text = json.dumps({"policies": policies, "settle_days": settle_days})
    return decide(parse_retention(text), facts(**changed))


def test_days_are_counted_from_the_reception_or_the_study_s_own_date():
    assert verdict(policy(days=10, keep_until_age=1), settle_days=0).due == RECEIVED + timedelta(days=10)
    by_date = verdict(policy(days=10_000, counted_from="study-date"))
    assert by_date.due == datetime(2015, 5, 5, tzinfo=UTC) + timedelta(days=10_000)
    undated = verdict(policy(days=10, counted_from="study-date"), study_date=None, settle_days=0)
    assert undated.due == RECEIVED + timedelta(days=10)


def test_an_old_study_that_has_just_come_is_not_gone_the_next_moment():
    assert verdict(policy(days=1, counted_from="study-date")).due == RECEIVED + timedelta(days=30)


def test_children_s_studies_are_kept_until_they_are_of_age():
    child = verdict(policy(days=1, keep_until_age=28), birth_date=date(2012, 2, 29))
    assert child.due == datetime(2040, 3, 1, tzinfo=UTC)
    unknown = verdict(policy(days=100, keep_until_age=28), birth_date=None)
    assert unknown.due == RECEIVED + timedelta(days=100)
    assert verdict(policy(keep_until_age=150), birth_date=date(9990, 1, 1)).due.year == 9999


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ({}, True),
        ({"modalities": ["ct"]}, True),
        ({"modalities": ["MR", "C?"]}, True),
        ({"modalities": ["MR"]}, False),
        ({"sources": ["CT*"], "partitions": ["main"]}, True),
        ({"sources": ["MR*"]}, False),
        ({"partitions": ["second"]}, False),
    ],
)
def test_conditions_must_all_hold(when, fits):
    assert (verdict(policy(**when)) is not None) is fits


def test_the_policy_that_keeps_longest_decides_and_where_none_fits_nothing_goes():
    found = verdict(policy("short", 10), policy("long", 1000, modalities=["CT"]), policy("mid", 100))
    assert found.policy == "long"
    assert verdict(policy(modalities=["MR"])) is None
    assert verdict() is None


@given(st.lists(st.integers(31, 5000), min_size=1, max_size=5), st.integers(31, 5000))
def test_another_policy_never_makes_a_study_go_sooner(days, more):
    policies = [policy(f"p{number}", each) for number, each in enumerate(days)]
    assert verdict(*policies, policy("more", more)).due >= verdict(*policies).due


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ({"policies": [policy("Capital")]}, "policies.0.name"),
        ({"policies": [policy(days=0)]}, "policies.0.delete_after_days"),
        ({"policies": [policy(partitions=["No Such"])]}, "policies.0.when.partitions"),
        ({"policies": [policy(colour=["red"])]}, "policies.0.when.colour"),
        ({"policies": [policy(), policy()]}, "the top"),
        ({"policies": [policy("duplicates")]}, "the top"),
        ({"grace_days": -1}, "grace_days"),
        ({"graze_days": 1}, "graze_days"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(document, where):
    with pytest.raises(BadRequest, match=f"wrong at {where}"):
        parse_retention(json.dumps(document))


def test_a_file_that_cannot_be_read_is_no_file_without_policies(tmp_path):
    assert read_retention(None) is None
    with pytest.raises(BadRequest):
        read_retention(tmp_path / "retention.json")
