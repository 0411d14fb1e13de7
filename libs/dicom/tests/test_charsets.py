"""Text by Specific Character Set: the data pack's files and the standard's rules."""

from __future__ import annotations

import pytest
from gantry_dicom.charsets import (
    DEFAULT,
    character_sets,
    decode,
    decode_person_name,
    decode_text,
)
from gantry_dicom.elements import EXPLICIT_LITTLE, walk
from gantry_testing import datapack
from hypothesis import given
from hypothesis import strategies as st

_NAMED = [
    file
    for file in datapack.files()
    if file.cls == "good" and "charset/" in file.name and file.entry.get("patient_name") is not None
]

PATIENT_NAME = 0x00100010
SPECIFIC_CHARACTER_SET = 0x00080005


def _raw(data: bytes, tag: int) -> bytes:
    """Find an element of a Part 10 file with explicit VR without the code under test."""
    from pydicom import dcmread
    from pydicom.filebase import DicomBytesIO

    element = dcmread(DicomBytesIO(data), stop_before_pixels=True).get_item(tag, keep_deferred=True)
    if element is None or element.value is None:
        return b""
    value = element.value
    if isinstance(value, bytes):
        return value
    return "\\".join([value] if isinstance(value, str) else value).encode("ascii")


def test_the_pack_has_all_its_character_set_files():
    assert len(_NAMED) >= 37


@pytest.mark.parametrize("file", _NAMED, ids=str)
def test_every_name_of_the_pack_is_decoded_exactly(file):
    data = file.read()
    sets = character_sets(_raw(data, SPECIFIC_CHARACTER_SET))
    value = _raw(data, PATIENT_NAME)
    assert decode_person_name(value, sets).rstrip("=") == file.entry["patient_name"]
    assert decode(value, sets, "PN").exact
    assert sets.exact


@pytest.mark.parametrize(
    ("term", "same_as"),
    [
        (b"ISO-IR 100", b"ISO_IR 100"),
        (b"ISO IR 100", b"ISO_IR 100"),
        (b"iso_ir_100", b"ISO_IR 100"),
        (b"ISO 8859-1", b"ISO_IR 100"),
        (b"ISO8859-5", b"ISO_IR 144"),
        (b"UTF-8", b"ISO_IR 192"),
        (b"utf8", b"ISO_IR 192"),
        (b"ISO 2022 IR 192", b"ISO_IR 192"),
        (b"gb18030", b"GB18030"),
        (b"GB2312", b"GBK"),
        (b"\\ISO 2022-IR 87", b"\\ISO 2022 IR 87"),
    ],
)
def test_misspelt_terms_are_understood_and_told(term, same_as):
    found, right = character_sets(term), character_sets(same_as)
    assert right.exact
    assert not found.exact
    assert (found.stand_alone, found.first, found.numbers) == (right.stand_alone, right.first, right.numbers)


@pytest.mark.parametrize("value", [b"", b"ISO_IR 6", b"ISO 2022 IR 6", b"ISO_IR 6 ", b"ISO_IR 6\0"])
def test_the_default_repertoire_has_several_right_spellings(value):
    assert character_sets(value) == DEFAULT


def test_unknown_terms_count_as_not_declared():
    sets = character_sets(b"KLINGON")
    assert not sets.exact
    assert decode_text("Müller".encode("latin_1"), sets, "LO") == "Müller"


def test_undeclared_latin_1_and_utf_8_are_both_read_and_told():
    assert decode("Müller".encode("latin_1"), DEFAULT, "PN") == ("Müller", False)
    assert decode("Müller".encode(), DEFAULT, "PN") == ("Müller", False)


def test_utf_8_cut_in_the_middle_loses_only_its_last_character():
    sets = character_sets(b"ISO_IR 192")
    assert decode("Müllé".encode()[:-1], sets, "LO") == ("Müll\ufffd", False)


def test_latin_1_labelled_utf_8_is_read_as_latin_1():
    assert decode(b"M\xfcller", character_sets(b"ISO_IR 192"), "LO") == ("Müller", False)


def test_designations_end_at_name_delimiters_only_in_names():
    # Hangul designated once; after the delimiter the first character set is active again, which
    # has no G1: a reader that forgets nothing would still be right about the character.
    sets = character_sets(b"\\ISO 2022 IR 149")
    designation = b"\x1b$)C"
    kim = "김".encode("euc_kr")
    assert decode(designation + kim + b"^" + designation + kim, sets, "PN") == ("김^김", True)
    assert decode(designation + kim + b"^" + kim, sets, "PN") == ("김^김", False)
    assert decode(designation + kim + b"^" + kim, sets, "LO") == ("김^김", True)
    assert decode(designation + kim + b"\\" + kim, sets, "LO") == ("김\\김", False)
    assert decode(designation + kim + b"\r\n" + kim, sets, "LT") == ("김\r\n김", False)


def test_a_delimiter_byte_inside_a_two_byte_character_is_no_delimiter():
    # 0x3D3D and 0x5E5C are kanji whose bytes are "==" and "^\".
    text = b"\x3d\x3d\x5e\x5c"
    value = b"\x1b$B" + text + b"\x1b(B^A"
    expected = bytes(byte | 0x80 for byte in text).decode("euc_jp") + "^A"
    assert decode(value, character_sets(b"\\ISO 2022 IR 87"), "PN") == (expected, True)


def test_two_byte_characters_that_are_not_closed_before_a_delimiter_are_read():
    value = b"\x1b$B" + "山田".encode("iso2022_jp")[3:-3] + b"^\x1b(BTaro"
    assert decode(value, character_sets(b"\\ISO 2022 IR 87"), "PN") == ("山田^Taro", False)


def test_single_byte_sets_change_inside_a_value():
    sets = character_sets(b"ISO 2022 IR 100\\ISO 2022 IR 144\\ISO 2022 IR 126")
    value = b"M\xfcller \x1b-L" + "Пётр".encode("iso8859_5") + b" \x1b-F" + "Γιώργος".encode("iso8859_7")
    assert decode(value, sets, "LO") == ("Müller Пётр Γιώργος", True)


def test_escape_sequences_work_undeclared_and_are_told():
    value = b"\x1b$B" + "山田".encode("iso2022_jp")[3:-3] + b"\x1b(B"
    assert decode(value, DEFAULT, "LO") == ("山田", False)


def test_an_escape_that_designates_nothing_stays_in_the_text():
    assert decode(b"a\x1b[31mb", DEFAULT, "LO") == ("a\x1b[31mb", False)


def test_gbk_trail_bytes_that_look_like_backslash_and_caret_are_no_delimiters():
    text = "乗乛"  # 815C and 815D..., trail bytes in the ASCII range
    value = text.encode("gbk")
    assert b"\\" in value
    assert decode(value, character_sets(b"GBK"), "LO") == (text, True)


def test_half_width_katakana_and_kanji_of_a_japanese_modality():
    sets = character_sets(b"ISO 2022 IR 13\\ISO 2022 IR 87")
    value = "ﾔﾏﾀﾞ".encode("shift_jis") + b"=" + b"\x1b$B" + "山田".encode("iso2022_jp")[3:-3] + b"\x1b(J"
    assert decode(value, sets, "PN") == ("ﾔﾏﾀﾞ=山田", True)


def test_codes_are_not_governed_by_the_character_set():
    assert decode("é".encode("latin_1"), character_sets(b"ISO_IR 144"), "CS") == ("é", False)


@given(st.binary(max_size=64), st.binary(max_size=40), st.sampled_from(["PN", "LO", "LT", "CS", "UI"]))
def test_no_bytes_raise(value, label, vr):
    text, _ = decode(value, character_sets(label), vr)
    text.encode("utf-8")  # no lone surrogates


@given(st.text(alphabet=st.characters(max_codepoint=0x7F, exclude_characters="\x1b"), max_size=40))
def test_ascii_is_ascii_in_every_character_set(text):
    value = text.encode("ascii")
    for label in (b"", b"ISO_IR 100", b"ISO_IR 192", b"GB18030", b"\\ISO 2022 IR 87", b"ISO_IR 13"):
        assert decode(value, character_sets(label), "PN") == (text, True)


@given(st.text(alphabet="aÄéжΩ한글中文日本ｱ^= ", max_size=20))
def test_stand_alone_sets_round_trip(text):
    for label, codec in ((b"ISO_IR 192", "utf_8"), (b"GB18030", "gb18030")):
        assert decode(text.encode(codec), character_sets(label), "PN") == (text, True)


def test_charset_of_the_walker_is_the_raw_element():
    # Guards the helper above: both find the same bytes.
    file = next(file for file in _NAMED if file.name.endswith("made/charset/iso_ir_100.dcm"))
    data = file.read()
    start = data.index(b"\x08\x00\x05\x00CS")
    element = next(iter(walk(data, start, len(data), EXPLICIT_LITTLE)))
    assert data[element.value_offset : element.end] == _raw(data, SPECIFIC_CHARACTER_SET)
