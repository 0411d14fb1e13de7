"""Matching on DICOM JSON documents."""

from __future__ import annotations

import pytest
from gantry_dicom.document_matching import matches_document, stored_tag
from gantry_dicom.query import Empty, Exact, PersonName, Range, Wildcard

MANUFACTURER = 0x00080070
OPERATORS_NAME = 0x00081070
SLICE_THICKNESS = 0x00180050
PROCEDURE_CODES = 0x00081032
CODE_VALUE, CODING_SCHEME = 0x00080100, 0x00080102

DOCUMENT = {
    "00080070": {"vr": "LO", "Value": ["ACME Ltd"]},
    "00081070": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}, {"Ideographic": "山田^太郎"}]},
    "00080102": {"vr": "SH"},
    "00180050": {"vr": "DS", "Value": [2.5]},
    "00081032": {
        "vr": "SQ",
        "Value": [
            {"00080100": {"vr": "SH", "Value": ["A"]}, "00080102": {"vr": "SH", "Value": ["99X"]}},
            {"00080100": {"vr": "SH", "Value": ["B"]}, "00080102": {"vr": "SH", "Value": ["99Y"]}},
        ],
    },
    "00090011": {"vr": "LO", "Value": ["ACME"]},
    "00091101": {"vr": "SH", "Value": ["one"]},
    "00090012": {"vr": "LO", "Value": ["OTHER"]},
    "00091201": {"vr": "SH", "Value": ["two"]},
}


@pytest.mark.parametrize(
    "condition",
    [
        Exact((MANUFACTURER,), "ACME Ltd"),
        Wildcard((MANUFACTURER,), "ACME*"),
        PersonName((OPERATORS_NAME,), "doe^j*"),
        PersonName((OPERATORS_NAME,), "山田^太郎"),
        Exact((SLICE_THICKNESS,), "2.50"),
        Empty((CODING_SCHEME,)),
        Empty((0x00080080,)),
        Exact((PROCEDURE_CODES, CODE_VALUE), "B"),
    ],
)
def test_a_value_of_the_document_matches(condition):
    assert matches_document([condition], DOCUMENT)


@pytest.mark.parametrize(
    "condition",
    [
        Exact((MANUFACTURER,), "acme ltd"),
        Exact((SLICE_THICKNESS,), "2"),
        Empty((MANUFACTURER,)),
        Exact((PROCEDURE_CODES, CODE_VALUE), "C"),
        Exact((PROCEDURE_CODES, PROCEDURE_CODES, CODE_VALUE), "A"),
        Range((0x00080022,), "20240101", None),
    ],
)
def test_what_the_document_does_not_say_does_not_match(condition):
    assert not matches_document([condition], DOCUMENT)


def test_attributes_of_a_sequence_match_in_one_item():
    first = Exact((PROCEDURE_CODES, CODE_VALUE), "A")
    assert matches_document([first, Exact((PROCEDURE_CODES, CODING_SCHEME), "99X")], DOCUMENT)
    assert not matches_document([first, Exact((PROCEDURE_CODES, CODING_SCHEME), "99Y")], DOCUMENT)


def test_a_private_attribute_is_found_in_the_block_of_its_creator():
    creator, value = Exact((0x00090010,), "ACME"), (0x00091001,)
    assert matches_document([creator, Exact(value, "one")], DOCUMENT)
    assert not matches_document([creator, Exact(value, "two")], DOCUMENT)
    assert matches_document([Exact((0x00090010,), "OTHER"), Exact(value, "two")], DOCUMENT)
    assert not matches_document([Exact((0x00090010,), "NOBODY")], DOCUMENT)


@pytest.mark.parametrize(
    ("tag", "creators", "stored"),
    [
        (0x00091001, {0x00090010: "ACME"}, "00091101"),
        (0x00090010, {0x00090010: "ACME"}, "00090011"),
        (0x00091001, {0x00090010: "NOBODY"}, None),
        (0x00091001, {}, "00091001"),
        (MANUFACTURER, {0x00090010: "ACME"}, "00080070"),
    ],
)
def test_a_private_tag_is_translated_to_the_one_that_the_object_has(tag, creators, stored):
    assert stored_tag(DOCUMENT, tag, creators) == stored
