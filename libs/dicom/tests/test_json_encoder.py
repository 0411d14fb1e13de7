"""DICOM JSON of hand-made data sets, case by case."""

from __future__ import annotations

import base64
import struct

import pytest
from gantry_dicom.charsets import DEFAULT
from gantry_dicom.element_json import Level, Run, encode_level
from gantry_dicom.elements import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Malformed
from gantry_dicom.facts import BASE_MARK
from gantry_dicom.header import DataSetHeader
from gantry_dicom.json_encoder import EncoderMemo, encode_elements, encode_header
from gantry_dicom.values import json_number
from gantry_testing import strict_json
from gantry_testing.raw import element, implicit, item, undefined_sequence

UIDS = {"study_instance_uid": "1.2", "series_instance_uid": "1.3", "sop_instance_uid": "1.4"}
BULK = "/studies/1.2/series/1.3/instances/1.4/bulkdata/"


def header(data_set, encoding=EXPLICIT_LITTLE, **more):
    return DataSetHeader(encoding, data_set, more.pop("after", b""), **more)


def encoded(data_set, encoding=EXPLICIT_LITTLE, **more):
    return strict_json.read(encode_header(header(data_set, encoding, **more), **UIDS).json)


def oddities(data_set, encoding=EXPLICIT_LITTLE):
    return encode_header(header(data_set, encoding), **UIDS).oddities


def test_an_empty_data_set_is_an_empty_object():
    assert encode_header(header(b""), **UIDS).json == b"{}"


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("AE", b" GANTRY ", ["GANTRY"]),
        ("AS", b"042Y", ["042Y"]),
        ("AT", struct.pack("<4H", 0x0010, 0x0020, 0x7FE0, 0x0010), ["00100020", "7FE00010"]),
        ("CS", b"ORIGINAL\\PRIMARY ", ["ORIGINAL", "PRIMARY"]),
        ("CS", b"A\\\\B", ["A", None, "B"]),
        ("CS", b" A \\ B", ["A", "B"]),
        ("DA", b"20250131", ["20250131"]),
        ("DA", b"2025.01.31", ["2025.01.31"]),
        ("DS", b"1.50\\+2\\-.5\\3. ", [1.5, 2, -0.5, 3]),
        ("DS", b"1e3\\-1.5E-2", [1000.0, -0.015]),
        ("DS", b"1\\\\2", [1, None, 2]),
        ("DS", b"1,5 ", ["1,5"]),
        ("DT", b"20250131120000.5+0100 ", ["20250131120000.5+0100"]),
        ("FD", struct.pack("<d", 0.1), [0.1]),
        ("FL", struct.pack("<2f", 0.5, -1.0), [0.5, -1.0]),
        ("IS", b"007 ", [7]),
        ("IS", b"3.0 ", [3.0]),
        ("LO", b"  lead kept  ", ["  lead kept"]),
        ("LO", b'say "hi"', ['say "hi"']),
        ("LT", b" a\\b\r\n ", [" a\\b\r\n"]),
        ("PN", b"Doe^John", [{"Alphabetic": "Doe^John"}]),
        ("PN", b"=\xe5\xb1\xb1", [{"Ideographic": "山"}]),
        ("PN", b"A==C\\\\B", [{"Alphabetic": "A", "Phonetic": "C"}, None, {"Alphabetic": "B"}]),
        ("SH", b"A\\B", ["A", "B"]),
        ("SL", struct.pack("<2l", -5, 7), [-5, 7]),
        ("SS", struct.pack("<h", -5), [-5]),
        ("ST", b"one\\value", ["one\\value"]),
        ("SV", struct.pack("<2q", -7, 2**53 + 2), [-7, str(2**53 + 2)]),
        ("TM", b"120000.123", ["120000.123"]),
        ("UC", b"A\\B", ["A", "B"]),
        ("UI", b"1.2.3\\1.2.4\0", ["1.2.3", "1.2.4"]),
        ("UL", struct.pack("<L", 2**32 - 1), [2**32 - 1]),
        ("UR", b"http://a/b\\c ", ["http://a/b\\c"]),
        ("US", struct.pack("<3H", 1, 2, 65535), [1, 2, 65535]),
        ("UT", b"x" * 3000, ["x" * 3000]),
        ("UV", struct.pack("<2Q", 7, 2**64 - 1), [7, str(2**64 - 1)]),
    ],
)
def test_values_by_vr(vr, value, expected):
    found = encoded(element(0x00080005, "CS", b"ISO_IR 192") + element(0x00091001, vr, value))["00091001"]
    assert found == {"vr": vr, "Value": expected}


@pytest.mark.parametrize("vr", ["AE", "CS", "DA", "DS", "FD", "IS", "LO", "OB", "PN", "SQ", "UI", "UN", "US"])
def test_an_empty_value_is_a_vr_alone(vr):
    assert encoded(element(0x00091001, vr)) == {"00091001": {"vr": vr}}


@pytest.mark.parametrize(("vr", "value"), [("LO", b"  "), ("UI", b"\0\0"), ("PN", b"== "), ("DS", b"  ")])
def test_padding_alone_is_no_value(vr, value):
    assert encoded(element(0x00091001, vr, value)) == {"00091001": {"vr": vr}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("456115117112105110101", None),
        ("9007199254740992", "9007199254740992"),
        ("9007199254740993", None),
        ("-187.29999999999998", "-187.29999999999998"),
        ("0.1234567890123456789", None),
        ("+0012.500", "12.500"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1E05", "1e05"),
        ("1e400", None),
        ("1e-400", None),
        ("1e" + "9" * 5000, None),
        ("9" * 5000, None),
        ("0x10", None),
        ("1 2", None),
        ("NaN", None),
        ("١", None),
        ("", None),
    ],
)
def test_digits_are_kept_or_the_text_is(text, expected):
    assert json_number(text) == expected


def test_o05_an_integer_string_out_of_range_keeps_its_digits():
    found = encoded(element(0x00200011, "IS", b"456115117112105110101 "))
    assert str(found["00200011"]["Value"][0]) == "456115117112105110101"


def test_o05_impossible_dates_pass_through():
    data_set = element(0x00080020, "DA", b"0000-00-00") + element(0x00080021, "DA", b"20150001")
    assert encoded(data_set)["00080020"]["Value"] == ["0000-00-00"]
    assert encoded(data_set)["00080021"]["Value"] == ["20150001"]


@pytest.mark.parametrize("code", ["ZZ", "\x06\x00", "??"])
def test_o01_an_unknown_vr_harms_nobody(code):
    data_set = (
        element(0x00280010, "US", b"\x08\0")
        + element(0x00411001, code, b"abcd")
        + element(0x00420010, "ST", b"next")
    )
    found = encoded(data_set)
    assert found["00411001"] == {"vr": "UN", "InlineBinary": base64.b64encode(b"abcd").decode()}
    assert found["00420010"]["Value"] == ["next"]


def test_o03_a_sequence_hidden_in_un_is_shown_as_a_sequence():
    hidden = implicit(0x00080060, b"CT")
    data_set = (
        element(0x44530010, "LO", b"ACME")
        + undefined_sequence(0x4453100C, item(hidden, undefined=True), vr="UN")
        + element(0x54000100, "SQ")
    )
    found = encoded(data_set)
    assert found["4453100C"] == {"vr": "SQ", "Value": [{"00080060": {"vr": "CS", "Value": ["CT"]}}]}
    assert found["54000100"] == {"vr": "SQ"}


def test_o04_the_element_after_an_odd_length_is_read():
    found = encoded(element(0x00411001, "LO", b"abc") + element(0x00411002, "LO", b"defg"))
    assert [found[tag]["Value"] for tag in ("00411001", "00411002")] == [["abc"], ["defg"]]


def test_o08_private_blocks_keep_their_tags_whatever_their_creators():
    parts = [
        (0x00210010, "LO", b"ACME"),
        (0x00210011, "LO", b"ACME"),
        (0x00211001, "SH", b"one "),
        (0x00211101, "SH", b"two "),
        (0x00291001, "SH", b"lost"),
    ]
    explicit = encoded(b"".join(element(*part) for part in parts))
    hidden = encoded(b"".join(implicit(tag, value) for tag, _, value in parts), IMPLICIT_LITTLE)
    assert explicit["00211001"]["Value"] == ["one"]
    assert explicit["00211101"]["Value"] == ["two"]
    assert explicit["00291001"]["Value"] == ["lost"]
    assert list(hidden) == list(explicit)
    assert hidden["00210010"] == hidden["00210011"] == {"vr": "LO", "Value": ["ACME"]}
    assert hidden["00291001"] == {"vr": "UN", "InlineBinary": base64.b64encode(b"lost").decode()}


def test_well_known_private_attributes_get_their_vr_in_implicit_vr():
    data_set = implicit(0x70530010, b"Philips PET Private Group") + implicit(0x70531000, b"0.5 ")
    assert encoded(data_set, IMPLICIT_LITTLE)["70531000"] == {"vr": "DS", "Value": [0.5]}


def test_o09_what_is_no_finite_number_is_a_string():
    data_set = (
        element(0x00180088, "DS", b"NaN ")
        + element(0x00191001, "FD", struct.pack("<d", float("nan")))
        + element(0x00720076, "FL", struct.pack("<2f", float("-inf"), -1.0))
    )
    found = encoded(data_set)
    assert found["00180088"]["Value"] == ["NaN"]
    assert found["00191001"]["Value"] == ["NaN"]
    assert found["00720076"]["Value"] == ["-Infinity", -1.0]
    assert len(oddities(data_set)) == 3


def test_o11_text_beyond_ascii_is_labelled_iso_ir_192():
    data_set = element(0x00080005, "CS", b"ISO_IR 100") + element(0x00081030, "LO", b"H\xfcfte")
    assert encoded(data_set) == {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00081030": {"vr": "LO", "Value": ["Hüfte"]},
    }


def test_o11_the_label_of_the_source_is_replaced_by_what_is_true_of_the_json():
    data_set = element(0x00080005, "CS", b"\\ISO 2022 IR 87") + element(0x00081030, "LO", b"Hip ")
    assert encoded(data_set) == {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00081030": {"vr": "LO", "Value": ["Hip"]},
    }


@pytest.mark.parametrize("label", [None, b"", b"  "])
def test_o11_ascii_text_of_a_source_without_a_label_has_none(label):
    source = b"" if label is None else element(0x00080005, "CS", label)
    found = encoded(source + element(0x00081030, "LO", b"Hip "))
    assert found == {"00081030": {"vr": "LO", "Value": ["Hip"]}}


def test_the_label_stands_in_tag_order_even_where_the_source_has_none():
    inner = item(element(0x00080005, "CS", b"ISO_IR 100") + element(0x00080104, "LO", b"\xfc "))
    found = encoded(element(0x00080001, "UL", b"\1\0\0\0") + element(0x00081032, "SQ", inner))
    assert list(found) == ["00080001", "00080005", "00081032"]
    assert found["00081032"]["Value"] == [{"00080104": {"vr": "LO", "Value": ["ü"]}}]


def test_items_inherit_the_character_set_unless_they_have_their_own():
    greek = element(0x00080005, "CS", b"ISO_IR 126") + element(0x00080104, "LO", "Ωμ".encode("iso8859_7"))
    latin = element(0x00080104, "LO", b"\xfc\xfc")
    data_set = element(0x00080005, "CS", b"ISO_IR 100") + element(0x00081032, "SQ", item(greek) + item(latin))
    values = encoded(data_set)["00081032"]["Value"]
    assert [entry["00080104"]["Value"] for entry in values] == [["Ωμ"], ["üü"]]


def test_tags_out_of_order_come_out_in_order_with_their_character_set():
    data_set = (
        element(0x00100020, "LO", b"\xfc1")
        + element(0x00100010, "PN", b"A\xfc")
        + element(0x00080005, "CS", b"ISO_IR 100")
    )
    found = encoded(data_set)
    assert list(found) == ["00080005", "00100010", "00100020"]
    assert found["00100010"]["Value"] == [{"Alphabetic": "Aü"}]
    assert found["00100020"]["Value"] == ["ü1"]


@pytest.mark.parametrize("between", [b"", element(0x00100020, "LO", b"ID")])
def test_of_duplicates_the_first_counts_and_is_told(between):
    data_set = element(0x00100010, "PN", b"First") + between + element(0x00100010, "PN", b"Second")
    assert encoded(data_set)["00100010"]["Value"] == [{"Alphabetic": "First"}]
    assert oddities(data_set) == ("00100010: duplicate",)


def test_group_lengths_command_and_meta_groups_are_left_out():
    data_set = (
        element(0x00000002, "UI", b"1.2\0")
        + element(0x00020010, "UI", b"1.2\0")
        + element(0x00080000, "UL", b"\4\0\0\0")
        + element(0x00080060, "CS", b"CT")
        + element(0x00081140, "SQ", item(element(0x00080000, "UL", b"\4\0\0\0")))
    )
    assert encoded(data_set) == {
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "00081140": {"vr": "SQ", "Value": [{}]},
    }


def test_a_value_that_does_not_fit_its_vr_is_given_as_un():
    data_set = element(0x00280010, "US", b"\1\2\3") + element(0x00280011, "US", b"\5\0")
    assert encoded(data_set) == {
        "00280010": {"vr": "UN", "InlineBinary": "AQID"},
        "00280011": {"vr": "US", "Value": [5]},
    }
    assert oddities(data_set) == ("00280010: not a value of US",)


def test_a_broken_sequence_is_given_as_un_and_its_neighbours_stay():
    data_set = element(0x00081140, "SQ", b"garbage!") + element(0x00100010, "PN", b"A")
    assert encoded(data_set) == {
        "00081140": {"vr": "UN", "InlineBinary": base64.b64encode(b"garbage!").decode()},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A"}]},
    }


def test_sequences_of_defined_length_nested_beyond_the_limit_end_as_un():
    nested = b""
    for _ in range(400):
        nested = element(0x00081140, "SQ", item(nested))
    level, depth = encoded(nested), 0
    while level["00081140"]["vr"] == "SQ":
        level = level["00081140"]["Value"][0]
        depth += 1
    assert depth == 128
    assert level["00081140"]["vr"] == "UN"


def test_octets_up_to_the_limit_are_inline_and_beyond_go_by_uri():
    data_set = element(0x00431000, "OB", b"x" * 1024) + element(0x00431001, "OB", b"x" * 1025)
    found = encoded(data_set)
    assert base64.b64decode(found["00431000"]["InlineBinary"]) == b"x" * 1024
    assert found["00431001"] == {"vr": "OB", "BulkDataURI": BULK + "00431001"}


def test_an_encapsulated_document_goes_by_uri_however_short():
    document = element(0x00420011, "OB", b"%PDF-1.4")
    assert encoded(document)["00420011"] == {"vr": "OB", "BulkDataURI": BULK + "00420011"}


def test_bulk_data_uris_name_the_path_through_sequences():
    waveform = element(0x54001010, "OW", b"\0" * 2000)
    icon = element(0x7FE00010, "OW", b"\0" * 16)
    data_set = element(0x00880200, "SQ", item(icon)) + element(0x54000100, "SQ", item(b"") + item(waveform))
    found = encoded(data_set)
    assert found["54000100"]["Value"][1]["54001010"] == {
        "vr": "OW",
        "BulkDataURI": BULK + "54000100/2/54001010",
    }
    assert found["00880200"]["Value"][0]["7FE00010"]["BulkDataURI"] == BULK + "00880200/1/7FE00010"


def test_pixel_data_go_by_uri_at_any_length_and_stand_in_tag_order():
    document = encode_header(
        header(
            element(0x00280010, "US", b"\1\0"),
            after=element(0xFFFCFFFC, "OB", b"\0\0"),
            pixel_data_vr="OW",
            pixel_data_tag=0x7FE00010,
            pixel_data_length=2,
        ),
        **UIDS,
    ).json
    assert b'"BulkDataURI":"' + BASE_MARK + b"/studies" in document
    found = strict_json.read(document)
    assert list(found) == ["00280010", "7FE00010", "FFFCFFFC"]
    assert found["7FE00010"] == {"vr": "OW", "BulkDataURI": BULK + "7FE00010"}


def test_empty_pixel_data_have_no_uri():
    found = encoded(b"", pixel_data_vr="OW", pixel_data_tag=0x7FE00010, pixel_data_length=0)
    assert found == {"7FE00010": {"vr": "OW"}}


def test_us_or_ss_follows_pixel_representation_inside_and_outside_of_items():
    inner = item(implicit(0x00283002, struct.pack("<3H", 0, 0xFFFF, 16)))
    data_set = (
        implicit(0x00280103, b"\1\0")
        + implicit(0x00280106, struct.pack("<h", -5))
        + implicit(0x00283000, inner)
    )
    found = encoded(data_set, IMPLICIT_LITTLE)
    assert found["00280106"] == {"vr": "SS", "Value": [-5]}
    assert found["00283000"]["Value"][0]["00283002"] == {"vr": "SS", "Value": [0, -1, 16]}


def test_us_or_ss_is_not_remembered_from_an_instance_of_the_other_sign():
    memo = EncoderMemo()
    for sign, expected in ((b"\1\0", [-1]), (b"\0\0", [65535])):
        data_set = implicit(0x00280103, sign) + implicit(0x00280106, b"\xff\xff")
        found = encode_elements(header(data_set, IMPLICIT_LITTLE), memo).fragments[0x00280106]
        assert strict_json.read(b"{" + found[:-1] + b"}")["00280106"]["Value"] == expected


def test_private_attributes_are_not_remembered_from_another_creator():
    memo = EncoderMemo()
    value = implicit(0x70531000, b"0.5 ")
    vrs = []
    for creator in (b"Philips PET Private Group", b"Somebody else "):
        fragments = encode_elements(header(implicit(0x70530010, creator) + value, IMPLICIT_LITTLE), memo)
        vrs.append(strict_json.read(b"{" + fragments.fragments[0x70531000][:-1] + b"}")["70531000"]["vr"])
    assert vrs == ["DS", "UN"]


def test_text_is_not_remembered_from_another_character_set():
    memo = EncoderMemo()
    found = []
    for label in (b"ISO_IR 100", b"ISO_IR 144"):
        data_set = element(0x00080005, "CS", label) + element(0x00081030, "LO", b"\xd6\xd6")
        found.append(encode_elements(header(data_set), memo).fragments[0x00081030].decode())
    assert "ÖÖ" in found[0]
    assert "жж" in found[1]


def test_bulk_data_uris_are_not_remembered_from_another_instance_or_place():
    memo = EncoderMemo()
    blob = element(0x00431001, "OB", b"x" * 2000)
    sequence = element(0x00811001, "SQ", item(blob))
    for number in ("7", "8"):
        uids = UIDS | {"sop_instance_uid": number}
        found = strict_json.read(encode_header(header(blob + sequence), **uids, memo=memo).json)
        base = f"/studies/1.2/series/1.3/instances/{number}/bulkdata/"
        assert found["00431001"]["BulkDataURI"] == base + "00431001"
        assert found["00811001"]["Value"][0]["00431001"]["BulkDataURI"] == base + "00811001/1/00431001"


def test_the_memo_forgets_when_it_is_full_and_answers_stay_right():
    memo = EncoderMemo(limit=2000)
    for number in range(200):
        data_set = element(0x00081030, "LO", f"description {number:04}".encode())
        found = encode_elements(header(data_set), memo).fragments[0x00081030]
        assert f"description {number:04}".encode() in found
    assert sum(map(len, memo.table(DEFAULT, EXPLICIT_LITTLE))) < 2000


def test_big_endian_octets_and_numbers_come_out_little_endian():
    data_set = element(0x00280010, "US", b"\1\2", order=">") + element(
        0x60003000, "OW", b"\1\2\3\4", order=">"
    )
    found = encoded(data_set, EXPLICIT_BIG)
    assert found["00280010"]["Value"] == [258]
    assert base64.b64decode(found["60003000"]["InlineBinary"]) == b"\2\1\4\3"


def test_un_of_standard_attributes_is_read_by_the_dictionary_if_it_fits():
    data_set = (
        element(0x00080060, "UN", b"CT")
        + element(0x00081140, "UN", item(implicit(0x00081150, b"1.2\0")))
        + element(0x00280010, "UN", b"\1\2\3")
        + element(0x00280011, "UN", b"\2\0")
    )
    found = encoded(data_set)
    assert found["00080060"] == {"vr": "CS", "Value": ["CT"]}
    assert found["00081140"]["Value"] == [{"00081150": {"vr": "UI", "Value": ["1.2"]}}]
    assert found["00280010"]["vr"] == "UN"
    assert found["00280011"] == {"vr": "US", "Value": [2]}


def test_control_characters_cannot_forge_the_marks():
    data_set = element(0x00081030, "LO", b"\x1a\x1c\x1d/x\x00y")
    document = encode_header(header(data_set), **UIDS).json
    assert not set(document) & set(range(0x20))
    assert strict_json.read(document)["00081030"]["Value"] == ["\x1a\x1c\x1d/x\x00y"]


def test_what_the_walker_refuses_is_read_by_pydicom_as_far_as_it_goes():
    data_set = element(0x00080060, "CS", b"CT") + element(0x00081030, "LO", b"cut off", length=60)
    assert encoded(data_set)["00080060"] == {"vr": "CS", "Value": ["CT"]}
    assert oddities(data_set) == ("data set: read by pydicom",)


def test_bytes_that_nobody_can_read_are_refused():
    with pytest.raises(Malformed):
        encode_header(header(element(0x00081140, "SQ", b"\xfe\xff", length=0xFFFFFFFF)), **UIDS)


def test_oddities_name_places_and_never_values():
    data_set = element(0x00101020, "DS", b"secret") + element(0x00100010, "PN", b"M\xfcller")
    found = oddities(data_set)
    assert found == ("00100010: character set", "00101020: number given as text")


def test_oddities_are_bounded():
    data_set = b"".join(element(0x00091001 + number, "US", b"x") for number in range(200))
    assert len(oddities(data_set)) == 100


def levels(data_set, encoding):
    """Return what the loop in place and the walker's loop make of the same bytes."""
    made = []
    for in_place in (True, False):
        run = Run(None)
        level = Level(data_set, 0, len(data_set), encoding, DEFAULT)
        try:
            encode_level(run, level, in_place=in_place)
        except Malformed:
            made.append("malformed")
        else:
            made.append((level.fragments, run.oddities))
    return made


@pytest.mark.parametrize(
    "data_set",
    [
        b"",
        b"\0" * 20,
        element(0x00080060, "CS", b"CT") + b"\0" * 7,
        element(0x00080060, "CS", b"CT") + b"\0" * 40,
        element(0x00080060, "CS", b"CT") + b"x" * 5,
        element(0x00080060, "CS", b"CT", length=9),
        element(0x00420011, "OB", b"x")[:10],
        element(0x00081140, "SQ", item(element(0x00080060, "CS", b"CT"))),
        undefined_sequence(0x00081140, item(element(0x00080060, "CS", b"CT"), undefined=True)),
        element(0x00411001, "ZZ", b"abcd") + element(0x00411002, "LO", b"a"),
        element(0x00100020, "LO", b"b") + element(0x00100010, "PN", b"a"),
    ],
)
def test_both_loops_read_the_same(data_set):
    in_place, walked = levels(data_set, EXPLICIT_LITTLE)
    assert in_place == walked
