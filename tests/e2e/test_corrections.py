"""The wrong patient, and what administrators do about it: corrected, merged, moved, rejected, undone."""

from __future__ import annotations

from io import BytesIO

import pydicom
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for

ORIGINAL_ATTRIBUTES = "04000561"
METADATA = "application/dicom+json"


def root(web):
    return f"{web.base_url.removesuffix('/dicom-web')}/admin"


def amend(web, path, **body):
    answer = web.http.post(f"{root(web)}/{path}", json={"reason": "a test", **body})
    assert answer.status_code in (200, 202), answer.text
    return answer.json()["revisions"]


def found(web, **query):
    return len(web.search("/studies", **query))


def identity(study):
    header = pydicom.dcmread(BytesIO(study[0].data), stop_before_pixels=True)
    return str(header.PatientID), str(header.get("IssuerOfPatientID", ""))


def cli(stack, web, *arguments):
    url = web.base_url.removesuffix("/dicom-web")
    return stack.run("amendments", "gantry_cli", *arguments, "--reason", "a test", "--url", url)


def retrieved(web, each):
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    answer = web.get(f"/studies/{each.study_uid}", accept)
    assert answer.status_code == 200
    start = answer.content.index(b"DICM") - 128
    return pydicom.dcmread(BytesIO(answer.content[start:]), stop_before_pixels=True)


def test_a_wrong_patient_is_corrected_also_in_what_comes_later_and_comes_back_when_undone(stack, web):
    study = generate_study(8901, "SC", instances=2)
    uid, (patient_id, _) = study[0].study_uid, identity(study)
    metadata = f"/studies/{uid}/metadata"
    web.store([study[0].data])
    before = web.get(metadata, METADATA).json()
    amend(
        web,
        f"studies/{uid}/amendments",
        kind="correct",
        attributes={"PatientName": "Right^Patient", "00100020": "RIGHT-8901"},
    )
    wait_for(lambda: found(web, PatientID="RIGHT-8901") == 1, "the corrected patient")
    assert found(web, PatientID="RIGHT-8901", PatientName="Right*") == 1
    assert found(web, PatientID=patient_id, StudyInstanceUID=uid) == 0

    web.store([study[1].data])
    wait_for(lambda: len(web.search(f"/studies/{uid}/instances")) == 2, "the later one")
    for document in web.get(metadata, METADATA).json():
        assert document["00100020"]["Value"] == ["RIGHT-8901"]
        (original,) = document[ORIGINAL_ATTRIBUTES]["Value"]
        assert original["04000550"]["Value"][0]["00100020"]["Value"] == [patient_id]
    served = retrieved(web, study[0])
    assert (served.PatientID, str(served.PatientName)) == ("RIGHT-8901", "Right^Patient")
    (item,) = served.OriginalAttributesSequence
    assert item.ModifiedAttributesSequence[0].PatientID == patient_id

    assert "is undone" in cli(stack, web, "study", "undo", uid, "--revision", "1")
    wait_for(lambda: found(web, PatientID="RIGHT-8901") == 0, "the patient that was received")
    assert found(web, PatientID=patient_id, StudyInstanceUID=uid) == 1
    after = web.get(metadata, METADATA).json()
    assert len(after) == 2
    assert all(ORIGINAL_ATTRIBUTES not in document for document in after)
    assert before[0] in after
    listed = web.http.get(f"{root(web)}/studies/{uid}/amendments").json()
    assert [(each["kind"], each["undoneBy"]) for each in listed] == [("correct", 2), ("undo", None)]
    again = web.http.post(f"{root(web)}/studies/{uid}/undo", params={"revision": "1", "reason": "x"})
    assert again.status_code == 404


def test_patients_are_merged_and_unmerged(stack, web):
    study = generate_study(8902, "SC", instances=1)
    uid, (patient_id, issuer) = study[0].study_uid, identity(study)
    web.store([study[0].data])
    said = cli(
        stack,
        web,
        *("patient", "merge", patient_id, *(("--id-issuer", issuer) if issuer else ())),
        *("--into", "STAYS-8902", "--set", "PatientName=Stays^Who"),
    )
    assert "revision 1" in said
    wait_for(lambda: found(web, PatientID="STAYS-8902", StudyInstanceUID=uid) == 1, "the one that stays")
    assert found(web, PatientID=patient_id, StudyInstanceUID=uid) == 0
    listed = web.http.get(
        f"{root(web)}/patients/amendments", params={"patient": patient_id, "issuer": issuer}
    ).json()
    assert [(each["kind"], each["into"]["id"]) for each in listed] == [("merge", "STAYS-8902")]
    unmerge = ("patient", "unmerge", patient_id, *(("--id-issuer", issuer) if issuer else ()))
    assert "is undone" in cli(stack, web, *unmerge, "--revision", "1")
    wait_for(lambda: found(web, PatientID=patient_id, StudyInstanceUID=uid) == 1, "the one that was merged")


def test_a_study_is_moved_rejected_and_hidden_and_each_is_undone(stack, web):
    study = generate_study(8903, "SC", instances=1)
    uid, target = study[0].study_uid, "2.25.8903"
    web.store([study[0].data])
    path = f"studies/{uid}"

    def undo(revision):
        assert "is undone" in cli(stack, web, "study", "undo", uid, "--revision", str(revision))

    cli(stack, web, "study", "move", uid, "--to", target)
    wait_for(lambda: found(web, StudyInstanceUID=target) == 1, "the other study")
    assert found(web, StudyInstanceUID=uid) == 0
    assert retrieved(web, _Moved(target)).StudyInstanceUID == target
    undo(1)
    wait_for(lambda: found(web, StudyInstanceUID=uid) == 1, "the study that was received")
    assert found(web, StudyInstanceUID=target) == 0
    for revision, action in ((3, ("reject", uid, "--code", "113001")), (5, ("hide", uid))):
        cli(stack, web, "study", *action)
        wait_for(lambda: found(web, StudyInstanceUID=uid) == 0, "nothing")
        undo(revision)
        wait_for(lambda: found(web, StudyInstanceUID=uid) == 1, "the study again")
    kinds = [each["kind"] for each in web.http.get(f"{root(web)}/{path}/amendments").json()]
    assert kinds == ["move", "undo", "reject", "undo", "hide", "restore"]


def test_a_correction_that_cannot_be_is_refused(web):
    study = generate_study(8904, "SC", instances=1)
    web.store([study[0].data])
    url = f"{root(web)}/studies/{study[0].study_uid}/amendments"
    right = {"kind": "correct", "reason": "r", "attributes": {"PatientName": "A^B"}}
    for wrong in (
        {"reason": " "},
        {"kind": "purge"},
        {"attributes": {}},
        {"attributes": {"PatientBirthDate": "yesterday"}},
        {"attributes": {"StudyInstanceUID": "1.2"}},
        {"attributes": {"NoSuchKeyword": "x"}},
        {"target": "1.2.3"},
        {"instance": "1.2.3"},
    ):
        assert web.http.post(url, json={**right, **wrong}).status_code == 400, wrong
    absent = f"{root(web)}/studies/1.2.3.4.5/amendments"
    assert web.http.post(absent, json=right).status_code == 404
    assert web.http.get(url).json() == []


class _Moved:
    def __init__(self, study_uid):
        self.study_uid = study_uid
