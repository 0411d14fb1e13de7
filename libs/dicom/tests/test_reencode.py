"""Any encoding as Explicit VR Little Endian: the same elements, by our own JSON and by pydicom."""

import json
from dataclasses import replace
from io import BytesIO

import pydicom
import pytest
from gantry_dicom.elements import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from gantry_dicom.errors import GantryError
from gantry_dicom.gate import header_of
from gantry_dicom.json_encoder import encode_header
from gantry_dicom.reencode import explicit_element, explicit_little_endian
from gantry_testing import datapack, raw
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

# A fixed name of each instance: only the elements are compared.
UIDS = {"study_instance_uid": "1", "series_instance_uid": "2", "sop_instance_uid": "3"}


def json_of(header):
    return json.loads(encode_header(header, **UIDS).json, strict=False)


def readable():
    return [file for cls in ("good", "odd") for file in datapack.files(cls) if is_admitted(file)]


def is_admitted(file):
    try:
        header_of(file.read())
    except GantryError:
        return False
    return True


def comparable(document, *, unknown):
    # Fragments of icons belong to the transfer syntax that is left.
    for item in document.get("00880200", {}).get("Value", ()):
        item.pop("7FE00010", None)
    # The byte order of UN in big endian is anybody's guess; in little endian dictionaries help.
    return {tag: attribute for tag, attribute in document.items() if tag not in unknown}


@pytest.mark.parametrize("file", readable(), ids=lambda file: file.name)
def test_elements_of_real_files_are_the_same_afterwards(file):
    header = header_of(file.read())[0]
    before = explicit_little_endian(header.before_pixel_data, header.encoding)
    after = explicit_little_endian(header.after_pixel_data, header.encoding)
    again = replace(header, encoding=EXPLICIT_LITTLE, before_pixel_data=before, after_pixel_data=after)
    expected = json_of(header)
    unknown = {tag for tag, attribute in expected.items() if attribute["vr"] == "UN"}
    assert comparable(json_of(again), unknown=unknown) == comparable(expected, unknown=unknown)
    assert explicit_little_endian(before, EXPLICIT_LITTLE) == before


def sample():
    data_set = Dataset()
    data_set.PatientName = "Test^One"
    data_set.SmallestImagePixelValue = -5
    data_set.PixelRepresentation = 1
    data_set.Rows = 515
    data_set.FrameTimeVector = [1.5, 2.5]
    data_set.FrameIncrementPointer = 0x00181063
    item = Dataset()
    item.RealWorldValueFirstValueMapped = -2
    item.RealWorldValueSlope = 0.25
    item.LUTData = b"\x01\x02\x03\x04"
    item["LUTData"].VR = "OW"
    data_set.RealWorldValueMappingSequence = [item]
    return data_set


@pytest.mark.parametrize(
    ("encoding", "syntax"), [(IMPLICIT_LITTLE, ImplicitVRLittleEndian), (EXPLICIT_BIG, ExplicitVRBigEndian)]
)
def test_pydicom_reads_the_values_that_it_wrote_in_another_encoding(encoding, syntax):
    out = BytesIO()
    data_set = sample()
    if syntax == ExplicitVRBigEndian:
        data_set.RealWorldValueMappingSequence[0].LUTData = b"\x02\x01\x04\x03"
    pydicom.dcmwrite(out, data_set, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    made = explicit_little_endian(out.getvalue(), encoding)
    found = pydicom.dcmread(BytesIO(made), force=True)
    found_syntax = BytesIO()
    pydicom.dcmwrite(found_syntax, sample(), implicit_vr=False, little_endian=True)
    assert ExplicitVRLittleEndian.is_little_endian
    assert made == found_syntax.getvalue()
    assert found.PatientName == "Test^One"


def test_changes_replace_add_and_remove_elements():
    data = raw.element(0x00280004, "CS", b"YBR_RCT ") + raw.element(0x00280011, "US", b"\x01\0")
    made = explicit_little_endian(
        data,
        EXPLICIT_LITTLE,
        {
            0x00280004: explicit_element(0x00280004, "CS", b"RGB"),
            0x00280006: explicit_element(0x00280006, "US", b"\0\0"),
            0x00280011: b"",
        },
    )
    assert made == raw.element(0x00280004, "CS", b"RGB ") + raw.element(0x00280006, "US", b"\0\0")


def test_odd_values_are_padded_and_those_too_long_for_their_vr_are_un():
    assert explicit_element(0x00100020, "LO", b"abc") == raw.element(0x00100020, "LO", b"abc ")
    assert explicit_element(0x00080018, "UI", b"1.2") == raw.element(0x00080018, "UI", b"1.2\0")
    long = explicit_element(0x00104000, "LT", b"x" * 70000)
    assert long[4:8] == b"UN\0\0"


def test_group_lengths_are_left_out():
    data = raw.element(0x00080000, "UL", b"\x10\0\0\0") + raw.element(0x00080060, "CS", b"CT")
    assert explicit_little_endian(data, EXPLICIT_LITTLE) == raw.element(0x00080060, "CS", b"CT")
