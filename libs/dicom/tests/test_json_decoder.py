"""DICOM JSON as a data set (PS3.18 Annex F): values, characters, bounds, hostile documents."""

import contextlib
import json

import pytest
from gantry_dicom.errors import BadRequest
from gantry_dicom.gate import admit
from gantry_dicom.json_decoder import MAX_NODES, data_set_of, parse_documents
from gantry_dicom.json_encoder import encode_header
from gantry_dicom.part10 import build_meta
from gantry_dicom.refusals import Refusal, Refused
from hypothesis import given
from hypothesis import strategies as st

UIDS = {
    "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
    "00080018": {"vr": "UI", "Value": ["1.2.3.4"]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "0020000E": {"vr": "UI", "Value": ["1.2.3.5"]},
}


def no_bulk(_uri):
    raise Refused(Refusal.BULK_DATA_MISSING)


def data_set(document):
    [parsed] = parse_documents(json.dumps([document]).encode())
    return b"".join(data_set_of(parsed, no_bulk))


def read_back(document):
    """Return what our own encoder makes of the data set, once the gate has taken it."""
    file = build_meta("1.2.840.10008.5.1.4.1.1.7", "1.2.3.4", "1.2.840.10008.1.2.1") + data_set(
        UIDS | document
    )
    encoded = encode_header(
        admit(file).header,
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.5",
        sop_instance_uid="1.2.3.4",
    )
    found = json.loads(encoded.json)
    return {tag: found[tag] for tag in document}


@pytest.mark.parametrize(
    "attribute",
    [
        {"vr": "PN", "Value": [{"Alphabetic": "Wang^Xiao", "Ideographic": "王^小"}, {"Phonetic": "わん"}]},
        {"vr": "LO", "Value": ["Prüfung", None, "b"]},
        {"vr": "UT", "Value": ["line\r\nline" + "x" * 70_000]},
        {"vr": "US", "Value": [0, 65535]},
        {"vr": "SL", "Value": [-(2**31), 5]},
        {"vr": "SV", "Value": [-(2**40)]},
        {"vr": "UV", "Value": ["18446744073709551615"]},
        {"vr": "FD", "Value": [0.1, "NaN", "-Infinity"]},
        {"vr": "FL", "Value": [0.5]},
        {"vr": "AT", "Value": ["7FE00010"]},
        {"vr": "DS", "Value": [1.5, -0.25]},
        {"vr": "IS", "Value": [-7]},
        {"vr": "OB", "InlineBinary": "AAEC/w=="},
        {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["é"]}}, {}]},
        {"vr": "SQ"},
        {"vr": "DA"},
    ],
    ids=lambda attribute: attribute["vr"],
)
def test_what_is_written_reads_back_the_same(attribute):
    assert read_back({"00111001": attribute}) == {"00111001": attribute}


def test_text_beyond_ascii_is_utf_8_and_says_so_whatever_was_declared():
    latin = {"00080005": {"vr": "CS", "Value": ["ISO_IR 100"]}, "00100020": {"vr": "LO", "Value": ["ü"]}}
    assert b"ISO_IR 192" in data_set(latin)
    assert "ü".encode() in data_set(latin)
    assert b"ISO_IR" not in data_set({"00100020": {"vr": "LO", "Value": ["u"]}})


def test_decimal_strings_keep_their_digits_and_fit_sixteen_characters():
    assert b"1.50" in b"".join(
        data_set_of(parse_documents(b'{"00101030":{"vr":"DS","Value":[1.50]}}')[0], no_bulk)
    )
    long = data_set({"00101030": {"vr": "DS", "Value": [0.30000000000000004]}})
    assert len(long) == 8 + 16


def test_groups_that_are_in_no_data_set_and_group_lengths_are_left_out():
    document = {"00020010": {"vr": "UI", "Value": ["1.2"]}, "00080000": {"vr": "UL", "Value": [4]}}
    assert data_set(document) == b""


@pytest.mark.parametrize(
    "document",
    [
        {"PatientID": {"vr": "LO", "Value": ["x"]}},
        {"00100020": {"vr": "XX", "Value": ["x"]}},
        {"00100020": {"Value": ["x"]}},
        {"00100020": "x"},
        {"00100020": {"vr": "LO", "Value": "x"}},
        {"00100020": {"vr": "LO", "Value": [True]}},
        {"00100020": {"vr": "LO", "Value": ["\ud800"]}},
        {"00280010": {"vr": "US", "Value": [70000]}},
        {"00280010": {"vr": "US", "Value": [1.5]}},
        {"00280010": {"vr": "US", "Value": ["9" * 5000]}},
        {"00101030": {"vr": "OB", "InlineBinary": "not base64!"}},
        {"00101030": {"vr": "OB", "Value": [1]}},
        {"FFFEE000": {"vr": "OB"}},
        {"00081115": {"vr": "SQ", "Value": ["x"]}},
        {"00081115": {"vr": "LO", "Value": ["x"], "InlineBinary": "AA=="}},
    ],
)
def test_what_is_no_attribute_is_refused(document):
    with pytest.raises(Refused) as refused:
        data_set(document)
    assert refused.value.reason is Refusal.METADATA_MALFORMED


def nested(depth):
    return b'{"00081115":{"vr":"SQ","Value":[' * depth + b"{}" + b"]}}" * depth


def test_deep_nesting_is_refused():
    with pytest.raises(Refused) as refused:
        data_set_of(parse_documents(nested(150))[0], no_bulk)
    assert refused.value.reason is Refusal.NESTED_TOO_DEEPLY
    with pytest.raises(BadRequest):
        parse_documents(nested(100_000))


@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"[]", b"3", b'"x"', b"[NaN]", b"\xff", b"[" + b"0," * MAX_NODES + b"0]", b"[" * 10**6],
)
def test_a_body_that_is_no_metadata_is_the_callers_error(body):
    with pytest.raises(BadRequest):
        parse_documents(body)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
attributes = st.dictionaries(
    st.sampled_from(["vr", "Value", "InlineBinary", "BulkDataURI"]),
    st.sampled_from(["LO", "SQ", "US", "PN", "OB", "AT", "DS", "FD"]) | anything,
)
documents = st.dictionaries(st.sampled_from(["00100010", "00081115", "7FE00010", "x"]), attributes | anything)


@given(documents | anything)
def test_no_document_crashes_the_decoder(document):
    with contextlib.suppress(Refused, BadRequest):
        data_set(document)
