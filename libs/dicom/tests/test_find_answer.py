"""Identifiers that answer a C-FIND, read back by pydicom."""

from io import BytesIO

import orjson
import pytest
from gantry_dicom.character_encoding import encode
from gantry_dicom.charsets import character_sets, decode
from gantry_dicom.element_headers import IMPLICIT_LITTLE
from gantry_dicom.find_answer import answer, first_value, match
from gantry_dicom.find_identifier import FindOptions, find_request
from gantry_dicom.identifiers import read_identifier
from gantry_dicom.information_models import QUERY_RETRIEVE
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

STUDY_ROOT = QUERY_RETRIEVE["1.2.840.10008.5.1.4.1.2.2.1"][1]


def request(level="STUDY", **keys):
    made = Dataset()
    made.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(made, keyword, value)
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, True
    write_dataset(out, made)
    identifier = read_identifier(out.getvalue(), IMPLICIT_LITTLE, STUDY_ROOT)
    return find_request(identifier, STUDY_ROOT, FindOptions(relational=True), partition="main", limit=10)


def read_back(data, *, explicit):
    return read_dataset(BytesIO(data), is_implicit_VR=not explicit, is_little_endian=True)


NAME = {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]}


@pytest.mark.parametrize("explicit", [True, False])
def test_an_answer_holds_what_was_requested_and_no_more(explicit):
    document = {
        "00080020": {"vr": "DA", "Value": ["20240102"]},
        "00080061": {"vr": "CS", "Value": ["CT", "MR"]},
        "00081190": {"vr": "UR", "Value": ["\x1a/studies/1.2"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^J"}]},
        "00101030": {"vr": "DS", "Value": [70.5]},
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
        "00201208": {"vr": "IS", "Value": [12]},
    }
    asked = request(
        StudyInstanceUID="",
        ModalitiesInStudy="",
        PatientWeight="",
        NumberOfStudyRelatedInstances="",
        AccessionNumber="",
    )
    data = orjson.dumps(document).replace(b"\\u001a", b"\x1a")
    found = read_back(answer(match(data), asked, "GANTRY", explicit=explicit), explicit=explicit)
    assert {element.keyword: element.value for element in found} == {
        "QueryRetrieveLevel": "STUDY",
        "RetrieveAETitle": "GANTRY",
        "AccessionNumber": "",
        "ModalitiesInStudy": ["CT", "MR"],
        "PatientWeight": 70.5,
        "StudyInstanceUID": "1.2",
        "NumberOfStudyRelatedInstances": 12,
    }
    assert first_value(match(data), 0x0020000D) == "1.2"


def test_sequences_are_cut_to_the_attributes_requested():
    item = {"00400009": {"vr": "SH", "Value": ["S1"]}, "00401001": {"vr": "SH", "Value": ["R1"]}}
    data = orjson.dumps({"00400275": {"vr": "SQ", "Value": [item]}})
    nested = Dataset()
    nested.RequestedProcedureID = ""
    asked = request("SERIES", RequestAttributesSequence=[nested])
    (found,) = read_back(
        answer(match(data), asked, "A", explicit=True), explicit=True
    ).RequestAttributesSequence
    assert [element.keyword for element in found] == ["RequestedProcedureID"]
    asked = request("SERIES", RequestAttributesSequence=[])
    (found,) = read_back(
        answer(match(data), asked, "A", explicit=False), explicit=False
    ).RequestAttributesSequence
    assert [element.keyword for element in found] == ["ScheduledProcedureStepID", "RequestedProcedureID"]


@pytest.mark.parametrize(
    ("asked_for", "labelled"),
    [
        ("ISO_IR 192", "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], ["", "ISO 2022 IR 87"]),
        ("GB18030", "GB18030"),
        ("ISO_IR 100", "ISO_IR 192"),
        (None, "ISO_IR 192"),
        ("ISO_IR 999", "ISO_IR 192"),
    ],
)
def test_names_come_in_the_character_set_of_the_requester_or_labelled_otherwise(asked_for, labelled):
    keys = {} if asked_for is None else {"SpecificCharacterSet": asked_for}
    data = orjson.dumps({"00100010": NAME})
    found = read_back(answer(match(data), request(PatientName="", **keys), "A", explicit=True), explicit=True)
    assert found.SpecificCharacterSet == labelled
    found.decode()
    assert found.PatientName == "Yamada^Tarou=山田^太郎"


def test_an_answer_of_plain_letters_needs_no_character_set():
    data = orjson.dumps({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe"}]}})
    assert "SpecificCharacterSet" not in read_back(
        answer(match(data), request(PatientName=""), "A", explicit=True), explicit=True
    )


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12),
    st.sampled_from(
        [
            b"",
            b"ISO_IR 100",
            b"ISO_IR 144",
            b"\\ISO 2022 IR 87",
            b"ISO_IR 13\\ISO 2022 IR 87",
            b"\\ISO 2022 IR 149",
            b"GB18030",
            b"GBK",
            b"ISO_IR 192",
            b"ISO_IR 166",
        ]
    ),
    st.sampled_from(["PN", "LO", "UT"]),
)
def test_what_is_encoded_reads_back_the_same(text, sets, vr):
    written = encode(text, sets, vr)
    if written is not None:
        assert decode(written, character_sets(sets), vr).text == text
