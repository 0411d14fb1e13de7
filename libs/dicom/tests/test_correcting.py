"""Corrected headers: what was asked for changes, what it was is told, and nothing else moves."""

from __future__ import annotations

import io

import pydicom
import pytest
from gantry_dicom.correcting import COERCE, Change, correct
from gantry_dicom.correction_rules import elements_of, read_correction
from gantry_dicom.errors import BadRequest
from gantry_dicom.frames import FrameTable
from gantry_dicom.gate import admit
from gantry_dicom.query import Level
from gantry_dicom.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from gantry_testing.builders import encode, file_of, identified, part10
from gantry_testing.synthetic.encoding import element
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sequence import Sequence

SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)
SEQUENCE = {
    "vr": "SQ",
    "Value": [
        {
            "00080100": {"vr": "SH", "Value": ["X1"]},
            "00080104": {"vr": "LO", "Value": ["Größe"]},
            "0040A30A": {"vr": "DS", "Value": ["1.5"]},
            "00280009": {"vr": "AT", "Value": ["00181063"]},
        }
    ],
}


def change_of(attributes, removed=(), level=Level.STUDY, reason="CORRECT", modified_at="20261125101500+0000"):
    correction = read_correction(attributes, removed, level)
    return Change(
        elements_of(correction.document), correction.removed, modified_at, reason=reason, source="CT1"
    )


def corrected_file(data, *changes):
    """Return the object with its header corrected, its pixels where the table says."""
    admission = admit(data)
    header = admission.header
    made = correct(header, changes)
    end = header.before_offset + len(header.before_pixel_data)
    whole = data[: header.before_offset] + made.before_pixel_data + data[end:]
    return whole, made, len(made.before_pixel_data) - len(header.before_pixel_data)


def read(data):
    return pydicom.dcmread(io.BytesIO(data))


def with_pixels(syntax, **values):
    order = "big" if syntax == EXPLICIT_VR_BIG_ENDIAN else "little"
    numbers = {"Rows": 4, "Columns": 4, "SamplesPerPixel": 1, "BitsAllocated": 16}
    described = {keyword: number.to_bytes(2, order) for keyword, number in numbers.items()}
    built = identified(**values, **described, PhotometricInterpretation="MONOCHROME2")
    data_set = encode(built, syntax) + element(0x7FE00010, "OW", bytes(range(32)), syntax)
    return part10(data_set, sop_uid=built["SOPInstanceUID"], transfer_syntax_uid=syntax)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_values_are_set_and_removed_and_the_old_ones_are_kept_in_original_attributes(syntax):
    data = with_pixels(syntax, PatientComments="wrong", StudyDescription="Head")
    change = change_of(
        {"PatientID": "200", "PatientName": "Right^Person", "PatientSize": "1.75"}, ["PatientComments"]
    )
    whole, _, _ = corrected_file(data, change)
    found = read(whole)
    assert (found.PatientID, found.PatientName, found.PatientSize) == ("200", "Right^Person", 1.75)
    assert "PatientComments" not in found
    assert found.StudyDescription == "Head"
    original = found.OriginalAttributesSequence[0]
    assert original.AttributeModificationDateTime == "20261125101500+0000"
    assert original.ModifyingSystem == "GANTRY"
    assert original.SourceOfPreviousValues == "CT1"
    assert original.ReasonForTheAttributeModification == "CORRECT"
    previous = original.ModifiedAttributesSequence[0]
    assert (previous.PatientID, previous.PatientName) == ("BUILT-1", "Built^Byhand")
    assert previous.PatientComments == "wrong"
    assert "PatientSize" not in previous


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_pixels_are_where_the_shifted_frame_table_says(syntax):
    data = with_pixels(syntax)
    table = FrameTable.unpack(admit(data).frame_table)
    whole, header, shift = corrected_file(data, change_of({"PatientID": "a much longer identifier"}))
    assert shift > 0
    moved = table.shifted(shift)
    assert moved == FrameTable.unpack(admit(whole).frame_table)
    assert whole[moved.value_offset : moved.value_offset + moved.value_length] == bytes(range(32))
    assert header.pixel_data_offset == moved.value_offset
    assert header.after_offset == len(whole)
    assert FrameTable.unpack(moved.pack()) == moved


def test_each_correction_adds_an_item_behind_those_that_were_there():
    data = file_of(identified())
    whole, _, _ = corrected_file(
        data,
        change_of({"PatientID": "2"}, modified_at="20260101"),
        change_of({"PatientID": "3"}, modified_at="20260102", reason=COERCE),
    )
    whole, _, _ = corrected_file(whole, change_of({"PatientID": "4"}, modified_at="20260103"))
    found = read(whole).OriginalAttributesSequence
    assert [item.AttributeModificationDateTime for item in found] == ["20260101", "20260102", "20260103"]
    assert [item.ModifiedAttributesSequence[0].PatientID for item in found] == ["BUILT-1", "2", "3"]


def test_a_correction_that_says_what_is_said_already_changes_nothing():
    data = file_of(identified())
    whole, header, shift = corrected_file(data, change_of({"PatientID": "BUILT-1"}, ["PatientComments"]))
    assert (whole, shift) == (data, 0)
    assert header == admit(data).header


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_sequences_with_numbers_and_text_are_written_in_the_encoding_of_the_object(syntax):
    data = with_pixels(syntax)
    whole, _, _ = corrected_file(data, change_of({"ProcedureCodeSequence": SEQUENCE}))
    item = read(whole).ProcedureCodeSequence[0]
    assert (item.CodeValue, item.CodeMeaning, item.NumericValue) == ("X1", "Größe", 1.5)
    assert item.FrameIncrementPointer == 0x00181063


def test_the_character_set_stays_where_it_can_express_the_value():
    data = file_of(identified(SpecificCharacterSet="ISO_IR 100", PatientComments="Grün".encode("latin-1")))
    whole, _, _ = corrected_file(data, change_of({"PatientName": "Müller^Jörg"}))
    found = read(whole)
    assert found.SpecificCharacterSet == "ISO_IR 100"
    assert (str(found.PatientName), found.PatientComments) == ("Müller^Jörg", "Grün")
    assert "Müller^Jörg".encode("latin-1") in whole


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_everything_becomes_utf_8_where_it_cannot(syntax):
    data = with_pixels(syntax, SpecificCharacterSet="ISO_IR 100", PatientComments="Grün".encode("latin-1"))
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    whole, _, _ = corrected_file(data, change_of({"PatientName": name}))
    found = read(whole)
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert (str(found.PatientName), found.PatientComments) == (name, "Grün")
    assert found.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].PatientName == "Built^Byhand"


def test_text_inside_sequences_becomes_utf_8_too():
    data = file_of(identified(SpecificCharacterSet="ISO_IR 100"))
    whole, _, _ = corrected_file(data, change_of({"ProcedureCodeSequence": SEQUENCE}))
    assert "Größe".encode("latin-1") in whole
    whole, _, _ = corrected_file(whole, change_of({"PatientName": "山田"}))
    found = read(whole)
    assert found.ProcedureCodeSequence[0].CodeMeaning == "Größe"
    assert isinstance(found.ProcedureCodeSequence, Sequence)


def test_group_lengths_of_changed_groups_go():
    data = file_of(identified())
    # PatientID (0010,0020) follows a group length that says nothing true any more.
    place = data.index(b"\x10\x00\x10\x00PN")
    data = data[:place] + b"\x10\x00\x00\x00UL\x04\x00\x2a\x00\x00\x00" + data[place:]
    whole, _, _ = corrected_file(data, change_of({"PatientID": "9"}))
    assert b"\x10\x00\x00\x00UL" not in whole
    assert read(whole).PatientID == "9"


@given(
    st.dictionaries(
        st.sampled_from(["PatientName", "PatientComments", "StudyDescription", "AdmissionID"]),
        st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\\^="), max_size=16),
        min_size=1,
    ),
    st.sampled_from(SYNTAXES),
    st.sampled_from(["", "ISO_IR 100", "ISO_IR 192", "ISO_IR 144"]),
)
def test_whatever_is_set_reads_back_and_nothing_else_changes(values, syntax, character_set):
    built = identified(SpecificCharacterSet=character_set, InstitutionName="Somewhere")
    data = file_of(built, syntax)
    whole, _, _ = corrected_file(data, change_of(values))
    admit(whole)
    found = read(whole)
    for keyword, value in values.items():
        assert str(found[keyword].value or "").strip() == value.strip()
    for keyword in {"InstitutionName", "StudyInstanceUID", "PatientID", "Modality"} - values.keys():
        assert found[keyword].value == built[keyword]


@pytest.mark.parametrize(
    ("attributes", "removed", "level"),
    [
        ({"NoSuchKeyword": "1"}, [], Level.STUDY),
        ({"StudyInstanceUID": "1.2.3"}, [], Level.STUDY),
        ({"SOPInstanceUID": "1.2.3"}, [], Level.INSTANCE),
        ({"Rows": 7}, [], Level.STUDY),
        ({"PixelData": "x"}, [], Level.INSTANCE),
        ({"SpecificCharacterSet": "ISO_IR 100"}, [], Level.STUDY),
        ({}, ["00020010"], Level.STUDY),
        ({}, ["00100000"], Level.STUDY),
        ({}, [], Level.STUDY),
        ({"PatientID": "1"}, ["00100020"], Level.STUDY),
        ({"PatientID": "1", "00100020": "2"}, [], Level.STUDY),
        ({"StudyDate": "2026-11-25"}, [], Level.STUDY),
        ({"StudyDate": "20260101-20260102"}, [], Level.STUDY),
        ({"PatientSex": "female"}, [], Level.STUDY),
        ({"PatientID": "x" * 65}, [], Level.STUDY),
        ({"PatientID": "a\\b"}, [], Level.STUDY),
        ({"PatientSize": "tall"}, [], Level.STUDY),
        ({"PatientName": {"vr": "LO", "Value": ["x"]}}, [], Level.STUDY),
        ({"ProcedureCodeSequence": ["x"]}, [], Level.STUDY),
        ({"PatientID": "2"}, [], Level.PATIENT),
        ({"StudyDate": "20260101"}, [], Level.PATIENT),
        ({"PatientID": "2"}, [], Level.SERIES),
        ({"StudyDate": "20260101"}, [], Level.INSTANCE),
        ({"SeriesDescription": "x"}, [], Level.INSTANCE),
        ({"00091001": "x"}, [], Level.STUDY),
    ],
)
def test_what_no_correction_may_say_is_refused(attributes, removed, level):
    with pytest.raises(BadRequest) as refused:
        read_correction(attributes, removed, level)
    assert "female" not in refused.value.detail


def test_attributes_are_named_by_keyword_or_tag_and_private_ones_with_their_vr():
    correction = read_correction(
        {"00080050": "A1", "(0010,0020)": "7", "00091001": {"vr": "LO", "Value": ["x"]}}, [], Level.STUDY
    )
    assert correction.tags == {0x00080050, 0x00100020, 0x00091001}
