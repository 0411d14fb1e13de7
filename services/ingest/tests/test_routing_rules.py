"""Which rules apply to what has arrived, and what is wrong with a file of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from gantry_dicom.errors import BadRequest
from gantry_ingest.routing.rules import Arrival, Unit, matching, parse_routes

DESTINATIONS = {
    "ai": {"kind": "dimse", "ae_title": "AI", "host": "10.0.0.9", "port": 104},
    "cloud": {"kind": "stow", "url": "https://vna.example/dicom-web"},
}


def routes(*rules, **more):
    return parse_routes(json.dumps({"destinations": DESTINATIONS, "rules": rules} | more))


def rule(name="r", send_to="ai", **more):
    return {"name": name, "send_to": send_to} | more


def arrival(**changed):
    known = {
        "partition": "main",
        "unit": Unit.STUDY,
        "sources": ["CT1"],
        "modalities": ["CT", "SR"],
        "study_description": "Chest routine",
        "series_descriptions": ["Thorax 1.0", "Dose report"],
        "received_at": datetime(2026, 3, 2, 23, 30, tzinfo=UTC),
    }
    return Arrival(**(known | changed))


@pytest.mark.parametrize(
    ("when", "applies"),
    [
        ({}, True),
        ({"sources": ["CT*"]}, True),
        ({"sources": ["MR1", "ct1"]}, True),
        ({"sources": ["MR*"]}, False),
        ({"modalities": ["SR"]}, True),
        ({"modalities": ["MG", "MR"]}, False),
        ({"study_description": "*chest*"}, True),
        ({"study_description": "chest"}, False),
        ({"series_description": "thorax ?.?"}, True),
        ({"series_description": "abdomen*"}, False),
        ({"received_between": ["23:00", "06:00"]}, True),
        ({"received_between": ["06:00", "23:00"]}, False),
        ({"received_between": ["23:30", "23:30"]}, True),
        ({"modalities": ["CT"], "sources": ["MR*"]}, False),
    ],
)
def test_all_conditions_of_a_rule_must_hold(when, applies):
    assert bool(matching(routes(rule(when=when)), arrival())) == applies


def test_a_rule_is_for_one_partition_and_one_unit():
    chosen = routes(rule("a"), rule("b", partition="second"), rule("c", unit="series"), rule("d", "cloud"))
    assert [one.name for one in matching(chosen, arrival())] == ["a", "d"]
    assert [one.name for one in matching(chosen, arrival(partition="second"))] == ["b"]
    assert [one.name for one in matching(chosen, arrival(unit=Unit.SERIES))] == ["c"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at the top"),
        ('{"rules": [{"name": "r"}]}', "rules.0.send_to"),
        (json.dumps({"destinations": DESTINATIONS, "rules": [rule(send_to="x")]}), "which is no destination"),
        (json.dumps({"destinations": DESTINATIONS, "rules": [rule(), rule()]}), "two rules"),
        (
            json.dumps({"destinations": DESTINATIONS, "rules": [rule(when={"modality": "CT"})]}),
            "when.modality",
        ),
        (json.dumps({"destinations": DESTINATIONS, "rules": [rule(partition="Main")]}), "partition"),
        (json.dumps({"destinations": {"a": {"kind": "ftp"}}}), "destinations.a"),
        (
            json.dumps({"destinations": {"a": DESTINATIONS["ai"] | {"port": 0}}}),
            "destinations.a.dimse.port",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_place(text, words):
    with pytest.raises(BadRequest) as refused:
        parse_routes(text)
    assert words in refused.value.detail
