from __future__ import annotations

from xml.etree import ElementTree as ET

import orjson
import pytest
from gantry_dicom.errors import CannotProcess
from gantry_dicom.xml_encoder import NAMESPACE, native_model_xml
from hypothesis import given
from hypothesis import strategies as st

_N = f"{{{NAMESPACE}}}"


def attributes_of(document):
    root = ET.fromstring(native_model_xml(document))
    assert root.tag == f"{_N}NativeDicomModel"
    return {attribute.get("tag"): attribute for attribute in root}


def test_an_attribute_has_its_tag_vr_keyword_and_numbered_values():
    found = attributes_of(b'{"00080008":{"vr":"CS","Value":["ORIGINAL",null,"AXIAL"]}}')["00080008"]
    assert found.attrib == {"tag": "00080008", "vr": "CS", "keyword": "ImageType"}
    assert [(value.get("number"), value.text) for value in found] == [
        ("1", "ORIGINAL"),
        ("2", None),
        ("3", "AXIAL"),
    ]


def test_digits_of_numbers_are_those_of_the_json_text():
    found = attributes_of(b'{"00280030":{"vr":"DS","Value":[0.10,1e3,"0.12345678901234567"]}}')["00280030"]
    assert [value.text for value in found] == ["0.10", "1e3", "0.12345678901234567"]


def test_an_empty_element_has_no_content_and_an_empty_item_is_an_item():
    found = attributes_of(b'{"00080050":{"vr":"SH"},"00081140":{"vr":"SQ","Value":[{},null]}}')
    assert len(found["00080050"]) == 0
    assert [item.get("number") for item in found["00081140"]] == ["1", "2"]


def test_a_name_is_cut_into_groups_and_components():
    name = {"Alphabetic": "Yamada^Tarou^^Dr.", "Ideographic": "山田^太郎"}
    found = attributes_of({"00100010": {"vr": "PN", "Value": [name, None]}})["00100010"]
    first, second = found
    assert [group.tag for group in first] == [f"{_N}Alphabetic", f"{_N}Ideographic"]
    assert [(part.tag.removeprefix(_N), part.text) for part in first[0]] == [
        ("FamilyName", "Yamada"),
        ("GivenName", "Tarou"),
        ("NamePrefix", "Dr."),
    ]
    assert len(second) == 0


def test_private_attributes_name_their_creator_at_each_level():
    private = {
        "00210010": {"vr": "LO", "Value": ["ACME"]},
        "00211001": {"vr": "SH", "Value": ["one"]},
        "00291101": {"vr": "UN", "InlineBinary": "AAA="},
    }
    found = attributes_of({**private, "00400275": {"vr": "SQ", "Value": [private]}})
    assert found["00211001"].get("privateCreator") == "ACME"
    assert "privateCreator" not in found["00210010"].attrib
    assert "privateCreator" not in found["00291101"].attrib
    assert found["00291101"][0].text == "AAA="
    assert found["00400275"][0][1].get("privateCreator") == "ACME"


def test_bulk_data_is_a_reference():
    found = attributes_of({"7FE00010": {"vr": "OW", "BulkDataURI": "https://a/b?c=1&d"}})["7FE00010"]
    assert found[0].attrib == {"uri": "https://a/b?c=1&d"}


def unholdable(character):
    return character in "\ufffe\uffff" or (ord(character) < 0x20 and character not in "\t\n\r")


@given(st.text(max_size=50))
def test_text_comes_back_as_it_was_where_xml_can_hold_it(text):
    document = orjson.dumps({"00104000": {"vr": "LT", "Value": [text]}})
    [value] = attributes_of(document)["00104000"]
    held = "".join("\ufffd" if unholdable(character) else character for character in text)
    assert (value.text or "") == held


@pytest.mark.parametrize("document", [b"", b"[]", b"{", b'{"zz":{"vr":"CS"}}', b'{"00080008":{}}'])
def test_what_is_no_dicom_json_object_cannot_be_written(document):
    with pytest.raises(CannotProcess):
        native_model_xml(document)
