"""Explicit and implicit forms of the same elements."""

from io import BytesIO

import pytest
from gantry_dicom.element_headers import EXPLICIT_LITTLE
from gantry_dicom.little_endian import element, implicit_little_endian
from gantry_dicom.reencode import explicit_little_endian
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset


def test_what_is_explicit_reads_the_same_when_it_is_implicit():
    inner = Dataset()
    inner.CodeValue = "121"
    inner.PurposeOfReferenceCodeSequence = [Dataset(), Dataset()]
    whole = Dataset()
    whole.PatientName = "Doe"
    whole.AnatomicRegionSequence = [inner]
    whole.Rows = 7
    whole.PixelData = b"1234"
    whole["PixelData"].VR = "OW"
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, whole)
    run = explicit_little_endian(out.getvalue(), EXPLICIT_LITTLE)
    found = read_dataset(BytesIO(implicit_little_endian(run)), is_implicit_VR=True, is_little_endian=True)
    assert found == whole


@pytest.mark.parametrize(("vr", "value"), [("UI", b"1.2"), ("SQ", b""), ("UT", b"text"), ("UN", b"ab")])
def test_an_element_has_a_header_of_its_form_and_an_even_length(vr, value):
    padded = value + bytes(len(value) % 2)
    implicit = element(0x00080018, vr, value, explicit=False)
    assert implicit == b"\x08\x00\x18\x00" + len(padded).to_bytes(4, "little") + padded
    assert element(0x00080018, vr, value, explicit=True)[4:6] == vr.encode()
