"""UIDs and the table of transfer syntaxes."""

from __future__ import annotations

import re

import pytest
from gantry_dicom.elements import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from gantry_dicom.transfer_syntaxes import TRANSFER_SYNTAXES, Codestream, lookup
from gantry_dicom.uids import IMPLEMENTATION_CLASS_UID, has_leading_zero, is_valid_uid, trim_uid
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID, AllTransferSyntaxes, UID_dictionary

# Not for stored data sets: real-time video by reference, and encodings that no longer exist.
NOT_STORED = re.compile(r"1\.2\.840\.10008\.1\.(2\.6\.[12]|2\.7\.[123]|20)$")


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=12).map(lambda parts: ".".join(map(str, parts))))
def test_components_joined_by_dots_are_a_uid_up_to_64_characters(uid: str) -> None:
    assert is_valid_uid(uid) == (len(uid) <= 64)
    assert not has_leading_zero(uid)
    assert trim_uid(uid + "\0") == trim_uid(uid + " ") == uid


@pytest.mark.parametrize("uid", ["", ".", "1.", ".1", "1..2", "1.2a", "1.2\n", "1 .2", "١.٢", "1" * 65])
def test_anything_else_is_no_uid(uid: str) -> None:
    assert not is_valid_uid(uid)


@pytest.mark.parametrize(
    ("uid", "leading"), [("1.0.2", False), ("0.1", False), ("1.02", True), ("01.2", True)]
)
def test_a_leading_zero_is_told_from_a_zero(uid: str, leading: bool) -> None:
    assert has_leading_zero(uid) is leading


def test_our_own_uid_is_one() -> None:
    assert is_valid_uid(IMPLEMENTATION_CLASS_UID)
    assert 0 < int(IMPLEMENTATION_CLASS_UID.removeprefix("2.25.")) < 1 << 128


def test_every_transfer_syntax_of_the_standard_is_known() -> None:
    standard = {uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
    assert {uid for uid in standard if not NOT_STORED.match(uid)} <= set(TRANSFER_SYNTAXES)


# pydicom's own list: other libraries add to its dictionary what it knows no properties of.
@pytest.mark.parametrize("uid", [uid for uid in TRANSFER_SYNTAXES if uid in AllTransferSyntaxes])
def test_the_properties_of_a_transfer_syntax_agree_with_pydicom(uid: str) -> None:
    syntax, reference = TRANSFER_SYNTAXES[uid], UID(uid)
    assert syntax.explicit == (not reference.is_implicit_VR)
    assert syntax.little_endian == reference.is_little_endian
    if "JPIP" not in syntax.name:  # pydicom counts these as compressed; their data sets hold no pixels
        assert syntax.encapsulated == reference.is_encapsulated
        assert syntax.deflated == reference.is_deflated
    assert (syntax.codestream is Codestream.NONE) == (not syntax.encapsulated)


def test_the_encoding_follows_from_the_transfer_syntax() -> None:
    encodings = {uid: syntax.encoding for uid, syntax in TRANSFER_SYNTAXES.items()}
    assert encodings.pop("1.2.840.10008.1.2") == IMPLICIT_LITTLE
    assert encodings.pop("1.2.840.10008.1.2.2") == EXPLICIT_BIG
    assert set(encodings.values()) == {EXPLICIT_LITTLE}
    assert lookup("1.2.3") is None
