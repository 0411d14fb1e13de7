"""The Store Instances Response: statuses and sequences (PS3.18 10.5.3, Annex I; S03 to S06, S19 to S23)."""

import json

import pytest
from gantry_gateway.stow_answer import ANOTHER_VERSION_IS_CURRENT, Failed, Stored, answer_body, status_of

BASE = "https://pacs.example/dicom-web"


def stored(sop="1.2.3", study="1.2", searchable=True, warning=None):
    return Stored(study, "1.2.9", "1.2.840.10008.5.1.4.1.1.2", sop, searchable, warning)


@pytest.mark.parametrize(
    ("results", "status"),
    [
        ([stored()], 200),
        ([stored(), Failed(0xC000)], 202),
        ([stored(warning=ANOTHER_VERSION_IS_CURRENT)], 202),
        ([Failed(0xC000), Failed(0xC409, "1.2", "1.3")], 409),
        ([Failed(0xA700), Failed(0xA700)], 503),
        ([Failed(0xA700), Failed(0xC000)], 409),
        ([stored(searchable=False)], 200),
    ],
)
def test_the_status_says_how_much_was_stored(results, status):
    assert status_of(results) == status


def test_every_result_has_its_item_in_the_right_sequence():
    body = json.loads(
        answer_body([stored("1.2.3"), Failed(0xC409, "1.2.840", "1.2.4"), Failed(0xC000)], BASE)
    )
    (item,) = body["00081199"]["Value"]
    assert item["00081155"]["Value"] == ["1.2.3"]
    assert item["00081190"]["Value"] == [f"{BASE}/studies/1.2/series/1.2.9/instances/1.2.3"]
    (failed,) = body["00081198"]["Value"]
    assert failed["00081155"]["Value"] == ["1.2.4"]
    assert failed["00081197"] == {"vr": "US", "Value": [0xC409]}
    assert body["0008119A"]["Value"] == [{"00081197": {"vr": "US", "Value": [0xC000]}}]


def test_sequences_without_items_are_left_out():
    assert set(json.loads(answer_body([stored()], BASE))) == {"00081190", "00081199"}
    assert set(json.loads(answer_body([Failed(0xC000)], BASE))) == {"00081190", "0008119A"}


def test_the_retrieve_url_names_the_study_when_there_is_exactly_one():
    assert json.loads(answer_body([stored()], BASE))["00081190"]["Value"] == [f"{BASE}/studies/1.2"]
    two = [stored(), stored("1.2.4", "1.5")]
    assert json.loads(answer_body(two, BASE))["00081190"] == {"vr": "UR"}


def test_what_cannot_be_found_yet_gets_no_url_that_would_be_a_404():
    body = json.loads(answer_body([stored(searchable=False)], BASE))
    assert body["00081190"] == {"vr": "UR"}
    assert "00081190" not in body["00081199"]["Value"][0]


def test_a_warning_is_named():
    body = json.loads(answer_body([stored(warning=ANOTHER_VERSION_IS_CURRENT)], BASE))
    assert body["00081199"]["Value"][0]["00081196"]["Value"] == [ANOTHER_VERSION_IS_CURRENT]
