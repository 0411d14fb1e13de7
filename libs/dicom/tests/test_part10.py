"""The File Meta group, as others read what we write."""

from __future__ import annotations

import contextlib
from io import BytesIO
from struct import pack

import pydicom
import pytest
from gantry_dicom.elements import Malformed, Overrun
from gantry_dicom.part10 import SOURCE_APPLICATION_ENTITY_TITLE, TRANSFER_SYNTAX_UID, build_meta, parse_meta
from gantry_testing import raw
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("title", ["", "CT", "CT_1"])
@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34"])
def test_the_file_meta_we_write_is_read_by_pydicom(title: str, uid: str) -> None:
    built = build_meta(raw.SOP_CLASS, uid, raw.EXPLICIT, title)
    dataset = pydicom.dcmread(BytesIO(built + raw.instance()))
    meta = dataset.file_meta
    assert meta.MediaStorageSOPClassUID == raw.SOP_CLASS
    assert meta.MediaStorageSOPInstanceUID == uid
    assert meta.TransferSyntaxUID == raw.EXPLICIT
    assert meta.get("SourceApplicationEntityTitle", "") == title
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.FileMetaInformationGroupLength == len(built) - 144
    pydicom.dataset.validate_file_meta(meta, enforce_standard=True)


def test_we_read_what_pydicom_reads() -> None:
    data = build_meta(raw.SOP_CLASS, "1.2.3", raw.EXPLICIT, "MODALITY") + raw.instance()
    meta = parse_meta(data)
    reference = pydicom.dcmread(BytesIO(data)).file_meta
    assert meta.complete
    assert {tag for tag in meta.values if tag != 0x00020000} == {int(e.tag) for e in reference if e.tag.elem}
    assert meta.text(TRANSFER_SYNTAX_UID) == reference.TransferSyntaxUID
    assert meta.text(SOURCE_APPLICATION_ENTITY_TITLE) == "MODALITY"
    assert data[meta.data_set_offset :] == raw.instance()


def test_a_bare_data_set_has_no_file_meta() -> None:
    meta = parse_meta(raw.instance())
    assert (meta.data_set_offset, dict(meta.values), meta.complete) == (0, {}, False)


def test_a_file_meta_in_implicit_vr_is_read_and_incomplete() -> None:
    body = raw.implicit(0x00020010, raw.EXPLICIT.encode() + b"\0")
    data = bytes(128) + b"DICM" + raw.implicit(0x00020000, pack("<L", len(body))) + body + raw.instance()
    meta = parse_meta(data)
    assert meta.text(TRANSFER_SYNTAX_UID) == raw.EXPLICIT
    assert not meta.complete
    assert data[meta.data_set_offset :] == raw.instance()


@pytest.mark.parametrize("length", [12, -12, 2000])
def test_a_wrong_group_length_does_no_harm_but_is_not_complete(length: int) -> None:
    right = raw.part10(raw.instance())
    stated = max(0, int.from_bytes(right[140:144], "little") + length)
    meta = parse_meta(right[:140] + pack("<L", stated) + right[144:])
    assert right[meta.data_set_offset :] == raw.instance()
    assert not meta.complete


def test_deflated_bytes_that_look_like_group_0002_are_not_taken_for_it() -> None:
    data = raw.part10(b"\x02\x00\x99\x88\x77\x66\x55\x44", "1.2.840.10008.1.2.1.99")
    assert data[parse_meta(data).data_set_offset :] == b"\x02\x00\x99\x88\x77\x66\x55\x44"


def test_a_cut_off_file_meta_is_malformed() -> None:
    data = raw.part10(b"")
    with pytest.raises(Overrun):
        parse_meta(data[:170])
    with pytest.raises(Malformed):
        parse_meta(data[:132])


uids = st.from_regex(r"[1-9][0-9]{0,9}(\.(0|[1-9][0-9]{0,9})){1,4}", fullmatch=True)
titles = st.from_regex(r"[A-Z0-9_]([A-Z0-9_ ]{0,14}[A-Z0-9_])?", fullmatch=True) | st.just("")


@given(uids, uids, uids, titles)
def test_every_file_meta_we_write_reads_back_the_same(
    sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, title: str
) -> None:
    built = build_meta(sop_class_uid, sop_instance_uid, transfer_syntax_uid, title)
    meta = parse_meta(built + raw.instance())
    assert meta.complete
    assert meta.data_set_offset == len(built)
    tags = (0x00020002, 0x00020003, TRANSFER_SYNTAX_UID, SOURCE_APPLICATION_ENTITY_TITLE)
    expected = (sop_class_uid, sop_instance_uid, transfer_syntax_uid, title or None)
    assert tuple(meta.text(tag) for tag in tags) == expected


@given(st.binary(max_size=60), st.integers(0, 250), st.sampled_from([0, 132]))
def test_a_damaged_file_meta_is_read_within_the_file_or_malformed(
    garbage: bytes, position: int, start: int
) -> None:
    data = build_meta(raw.SOP_CLASS, "1.2.3", raw.EXPLICIT, "MODALITY") + raw.instance()
    position += start
    damaged = data[start:position] + garbage + data[position + len(garbage) :]
    with contextlib.suppress(Malformed):
        meta = parse_meta(damaged)
        assert meta.data_set_offset <= len(damaged)
        assert all(tag >> 16 == 2 for tag in meta.values)
