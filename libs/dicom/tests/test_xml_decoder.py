"""The Native DICOM Model as DICOM JSON (PS3.19 A.1): what our encoder writes, and hostile documents."""

import contextlib

import pytest
from gantry_dicom.refusals import Refusal, Refused
from gantry_dicom.xml_decoder import json_from_native_model
from gantry_dicom.xml_encoder import native_model_xml
from hypothesis import given
from hypothesis import strategies as st

DOCUMENT = {
    "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
    "00081115": {"vr": "SQ", "Value": [{"0020000E": {"vr": "UI", "Value": ["1.2"]}}, {}]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B^^Dr", "Ideographic": "王^小"}]},
    "00104000": {"vr": "LT", "Value": ['a <b> & "c"\r\n\td ']},
    "00110010": {"vr": "LO", "Value": ["ACME"]},
    "00111001": {"vr": "OB", "InlineBinary": "AAEC"},
    "00200013": {"vr": "IS", "Value": ["7"]},
    "7FE00010": {"vr": "OW", "BulkDataURI": "http://x/y?a=1&b=2"},
}


def test_what_the_encoder_writes_is_read_back():
    assert json_from_native_model(native_model_xml(DOCUMENT)) == DOCUMENT


def model(content, before=""):
    return f'<?xml version="1.0"?>{before}<NativeDicomModel>{content}</NativeDicomModel>'.encode()


def test_values_are_in_the_order_of_their_numbers():
    found = json_from_native_model(
        model(
            '<DicomAttribute tag="00080008" vr="CS">'
            '<Value number="2">B</Value><Value number="1">A</Value></DicomAttribute>'
        )
    )
    assert found == {"00080008": {"vr": "CS", "Value": ["A", "B"]}}


def test_a_private_attribute_named_by_its_creator_gets_a_block():
    private = '<DicomAttribute tag="00110001" vr="LO" privateCreator="{}"><Value>{}</Value></DicomAttribute>'
    found = json_from_native_model(model(private.format("ONE", "x") + private.format("TWO", "y")))
    assert found["00110010"]["Value"] == ["ONE"]
    assert found["00111001"]["Value"] == ["x"]
    assert found["00110011"]["Value"] == ["TWO"]
    assert found["00111101"]["Value"] == ["y"]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
FILE = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b"no XML",
        b"<a/>",
        b"<NativeDicomModel>",
        b"<?xml version='1.0' encoding='nonsense'?><NativeDicomModel/>",
        model('<DicomAttribute vr="LO"/>'),
        model('<DicomAttribute tag="x" vr="LO"/>'),
        model('<DicomAttribute tag="00100020"/>'),
        model('<DicomAttribute tag="00100020" vr="LO"><Value number="x">1</Value></DicomAttribute>'),
        model('<DicomAttribute tag="00100020" vr="LO"><BulkData/></DicomAttribute>'),
        model('<DicomAttribute tag="00100020" vr="LO"><Value>&b;</Value></DicomAttribute>', BOMB),
        model('<DicomAttribute tag="00100020" vr="LO"><Value>&f;</Value></DicomAttribute>', FILE),
    ],
)
def test_what_is_no_model_or_has_a_document_type_is_refused(xml):
    with pytest.raises(Refused) as refused:
        json_from_native_model(xml)
    assert refused.value.reason is Refusal.METADATA_MALFORMED


def test_deep_nesting_is_refused():
    depth = 100_000
    with pytest.raises(Refused) as refused:
        json_from_native_model(model("<DicomAttribute tag='00081115' vr='SQ'><Item number='1'>" * depth))
    assert refused.value.reason is Refusal.NESTED_TOO_DEEPLY


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: model(text)))
def test_no_document_crashes_the_decoder(xml):
    with contextlib.suppress(Refused):
        json_from_native_model(xml)
