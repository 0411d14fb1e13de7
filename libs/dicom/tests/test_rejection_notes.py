from __future__ import annotations

import orjson
import pytest
from gantry_dicom.rejection_notes import Rejected, rejected_by


def note(code="113001", scheme="DCM", sops=("1.2.3.4",)):
    sequence = {"vr": "SQ"}
    references = [{"00081155": {"vr": "UI", "Value": [sop]}} for sop in sops]
    series = {"00081199": sequence | {"Value": references}}
    study = {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "00081115": sequence | {"Value": [series]}}
    title = {"00080100": {"vr": "SH", "Value": [code]}, "00080102": {"vr": "SH", "Value": [scheme]}}
    return orjson.dumps(
        {"0040A043": sequence | {"Value": [title]}, "0040A375": sequence | {"Value": [study, {}]}}
    )


def test_a_note_rejects_what_its_evidence_names():
    found = rejected_by(note("113037", sops=("1.2.3.5", "1.2.3.4", "1.2.3.4")))
    assert found == (Rejected("1.2", "1.2.3.4", "113037"), Rejected("1.2", "1.2.3.5", "113037"))


@pytest.mark.parametrize(("code", "scheme"), [("113000", "DCM"), ("113001", "99X"), ("", "DCM")])
def test_other_key_objects_reject_nothing(code, scheme):
    assert rejected_by(note(code, scheme)) == ()


@pytest.mark.parametrize("titles", [b"", b',"Value":[{}]', b',"Value":[{"00080100":{"vr":"SH"}}]'])
def test_a_selection_without_title_rejects_nothing(titles):
    assert rejected_by(b'{"0040A043":{"vr":"SQ"%s}}' % titles) == ()
    assert rejected_by(b"{}") == ()
