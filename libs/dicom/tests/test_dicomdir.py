"""A DICOMDIR as pydicom reads it (PS3.3 Annex F)."""

import json

import pytest
from gantry_dicom.dicomdir import FileEntry, build_dicomdir
from gantry_dicom.gate import header_of
from gantry_dicom.json_encoder import encode_header
from gantry_testing.synthetic import make_series, make_study, stream_series
from pydicom.fileset import FileSet

EXPLICIT = "1.2.840.10008.1.2.1"


def metadata(instance):
    return encode_header(
        header_of(instance.data)[0],
        study_instance_uid=instance.study_uid,
        series_instance_uid=instance.series_uid,
        sop_instance_uid=instance.sop_uid,
    ).json


def instances():
    study = make_study(77)
    kinds = ("CT", "SR", "PR", "PDF", "KO", "RTSTRUCT", "RTPLAN", "RTDOSE", "ECG", "SEG")
    return [
        instance
        for number, kind in enumerate(kinds, 1)
        for instance in stream_series(make_series(study, number), kind, instances=2 if kind == "CT" else 1)
    ]


def test_pydicom_finds_every_file_under_its_patient_study_and_series(tmp_path):
    made = instances()
    entries = []
    for number, instance in enumerate(made):
        file_id = ("ST000001", "SE000001", f"IM{number:06d}")
        path = tmp_path.joinpath(*file_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(instance.data)
        entries.append(FileEntry(metadata(instance), file_id, EXPLICIT))
    (tmp_path / "DICOMDIR").write_bytes(build_dicomdir(entries))
    found = FileSet(tmp_path / "DICOMDIR")
    assert [one.SOPInstanceUID for one in found] == [one.sop_uid for one in made]
    assert found.find_values("PatientID") == [made[0].patient.patient_id]
    assert found.find_values("SeriesInstanceUID") == list(dict.fromkeys(one.series_uid for one in made))
    for one, instance in zip(found, made, strict=True):
        assert one.load().SOPInstanceUID == instance.sop_uid
    kinds = [one.node.record_type for one in found]
    assert kinds == [
        "IMAGE", "IMAGE", "SR DOCUMENT", "PRESENTATION", "ENCAP DOC", "KEY OBJECT DOC", "RT STRUCTURE SET",
        "RT PLAN", "RT DOSE", "WAVEFORM", "IMAGE",
    ]  # fmt: skip


@pytest.mark.parametrize("left_out", ["00200013", "00080020", "00100020", "00080060"])
def test_an_instance_that_lacks_something_is_in_it_all_the_same(tmp_path, left_out):
    [instance] = stream_series(make_series(make_study(78)), "CT")
    document = json.loads(metadata(instance), strict=False)
    del document[left_out]
    entry = FileEntry(json.dumps(document).encode(), ("IM000001",), EXPLICIT)
    (tmp_path / "IM000001").write_bytes(instance.data)
    (tmp_path / "DICOMDIR").write_bytes(build_dicomdir([entry]))
    assert [one.SOPInstanceUID for one in FileSet(tmp_path / "DICOMDIR")] == [instance.sop_uid]
