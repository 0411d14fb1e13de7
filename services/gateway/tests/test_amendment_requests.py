"""What administrators may ask to be decided, and what is refused before it is permanent."""

from __future__ import annotations

import orjson
import pytest
from gantry.amendment.v1.amendment_pb2 import AMENDMENT_KIND_PURGE, AMENDMENT_KIND_UNDO, Amendment
from gantry_dicom.errors import BadRequest
from gantry_gateway.amendment_requests import patient_amendment, study_amendment, undoing

MERGE = {"kind": "merge", "patient": {"id": "OLD", "issuer": "A"}, "into": {"id": "NEW"}}


def test_a_merge_sets_the_identifier_that_stays():
    amendment = patient_amendment({**MERGE, "attributes": {"PatientName": "A^B"}})
    attributes = orjson.loads(amendment.attributes)
    assert attributes["00100020"]["Value"] == ["NEW"]
    assert "Value" not in attributes["00100021"]
    assert undoing(amendment).kind == AMENDMENT_KIND_UNDO
    assert undoing(amendment).patient.patient_id == "OLD"


@pytest.mark.parametrize(
    "wrong",
    [
        {"into": MERGE["patient"]},
        {"into": {"id": ""}},
        {"into": {"id": "x" * 65}},
        {"patient": "OLD"},
        {"attributes": {"PatientID": "OTHER"}},
        {"attributes": {"StudyDescription": "not the patient's"}},
        {"remove": "PatientName"},
        {"target": "1.2.3"},
    ],
)
def test_a_merge_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(BadRequest):
        patient_amendment({**MERGE, **wrong})


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "move", "target": "1.2.3"},
        {"kind": "move", "target": "not a uid"},
        {"kind": "reject", "code": "113000"},
        {"kind": "hide", "attributes": {}},
        {"kind": "correct", "series": "1.2.4", "attributes": {"PatientName": "A^B"}},
    ],
)
def test_a_decision_about_a_study_that_makes_no_sense_is_refused(body):
    with pytest.raises(BadRequest):
        study_amendment("1.2.3", body)


def test_what_is_destroyed_is_not_undone():
    with pytest.raises(BadRequest):
        undoing(Amendment(kind=AMENDMENT_KIND_PURGE, revision=1))
