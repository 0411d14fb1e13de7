"""Bulk data found by the path that a BulkDataURI names."""

from __future__ import annotations

from typing import Any

import pytest
from gantry_dicom.bulk import find_bulk, parse_bulk_path
from gantry_dicom.elements import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from gantry_dicom.errors import BadRequest, NotFound
from gantry_dicom.gate import GateLimits, admit
from gantry_dicom.header import DataSetHeader
from gantry_dicom.json_encoder import encode_header
from gantry_dicom.refusals import Refused
from gantry_testing import datapack, strict_json
from gantry_testing.raw import element, implicit, item, undefined_sequence

UIDS = {"study_instance_uid": "1.2", "series_instance_uid": "1.3", "sop_instance_uid": "1.4"}


def header(data_set, encoding=EXPLICIT_LITTLE):
    return DataSetHeader(encoding, data_set, b"")


def bulk_paths(attributes: dict[str, Any]) -> list[str]:
    """Return the paths of every BulkDataURI in a metadata object."""
    paths = []
    for attribute in attributes.values():
        if "BulkDataURI" in attribute:
            paths.append(attribute["BulkDataURI"].split("/bulkdata/")[1])
        elif attribute["vr"] == "SQ":
            for entry in attribute.get("Value", []):
                paths += bulk_paths(entry)
    return paths


@pytest.mark.parametrize(
    ("path", "numbers"),
    [
        ("7FE00010", (0x7FE00010,)),
        ("7fe00010", (0x7FE00010,)),
        ("54000100/1/54001010", (0x54000100, 1, 0x54001010)),
        (["54000100", "12", "54001010"], (0x54000100, 12, 0x54001010)),
    ],
)
def test_paths_are_tags_and_item_numbers_in_turn(path, numbers):
    assert parse_bulk_path(path) == numbers


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "7FE0010", "7FE00010/", "7FE00010/1", "54000100/0/54001010", "54000100/-1/54001010",
        "54000100/01/54001010", "54000100/x/54001010", "../etc/passwd", "7FE0001G", "７FE00010",
        "/".join(["00081140", "1"] * 200 + ["00081140"]),
    ],
)  # fmt: skip
def test_other_paths_are_bad_requests(path):
    with pytest.raises(BadRequest):
        parse_bulk_path(path)


def test_values_are_found_at_any_depth_with_their_place():
    samples = bytes(range(256)) * 8
    inner = element(0x54001004, "US", b"\x10\0") + element(0x54001010, "OW", samples)
    data_set = element(0x00080060, "CS", b"ECG ") + undefined_sequence(
        0x54000100, item(b""), item(inner, undefined=True)
    )
    found = find_bulk(
        DataSetHeader(EXPLICIT_LITTLE, data_set, b"", before_offset=1000), "54000100/2/54001010"
    )
    assert found.data == samples
    assert data_set[found.offset - 1000 :][: found.length] == samples
    assert (found.vr, found.encapsulated, found.swap_unit) == ("OW", False, 1)


@pytest.mark.parametrize(
    "path", ["60003000", "54000100/1/54001011", "54000100/2/54001010", "00080060/1/54001010", "54000100"]
)
def test_what_is_not_there_is_not_found(path):
    data_set = element(0x00080060, "CS", b"CT") + element(
        0x54000100, "SQ", item(element(0x54001010, "OW", b"\0\0"))
    )
    with pytest.raises(NotFound):
        find_bulk(header(data_set), path)


def test_sequences_hidden_in_un_have_items_too():
    blob = b"y" * 2000
    hidden = undefined_sequence(0x4453100C, item(implicit(0x44531001, blob)), vr="UN")
    assert find_bulk(header(hidden), "4453100C/1/44531001").data == blob
    defined = element(0x00880200, "UN", item(implicit(0x7FE00010, blob)))
    assert find_bulk(header(defined), "00880200/1/7FE00010").data == blob


def test_of_duplicates_the_first_is_found():
    data_set = element(0x00420011, "OB", b"1" * 2000) + element(0x00420011, "OB", b"2" * 2000)
    assert find_bulk(header(data_set), "00420011").data == b"1" * 2000


def test_elements_after_the_pixel_data_are_found_with_their_place():
    after = element(0xFFFCFFFC, "OB", b"z" * 2000)
    found = find_bulk(DataSetHeader(EXPLICIT_LITTLE, b"", after, after_offset=500), "FFFCFFFC")
    assert (found.offset, found.data) == (512, b"z" * 2000)


def test_big_endian_octets_are_given_little_endian_and_the_unit_is_told():
    found = find_bulk(header(element(0x60003000, "OW", b"\1\2\3\4", order=">"), EXPLICIT_BIG), "60003000")
    assert (found.data, found.swap_unit) == (b"\2\1\4\3", 2)


def test_big_endian_octets_that_cannot_be_swapped_are_given_as_they_are():
    found = find_bulk(header(element(0x60003000, "OW", b"\1\2\3", order=">"), EXPLICIT_BIG), "60003000")
    assert (found.data, found.swap_unit) == (b"\1\2\3", 1)


@pytest.mark.parametrize(
    ("encoding", "encapsulated", "unit"),
    [
        (EXPLICIT_LITTLE, False, 1),
        (IMPLICIT_LITTLE, False, 1),
        (EXPLICIT_BIG, False, 2),
        (EXPLICIT_LITTLE, True, 1),
    ],
)
def test_pixel_data_are_a_range_of_the_stored_object(encoding, encapsulated, unit):
    pixels = DataSetHeader(
        encoding, b"", b"", pixel_data_vr="OW", pixel_data_tag=0x7FE00010, pixel_data_offset=700,
        pixel_data_length=128, encapsulated=encapsulated,
    )  # fmt: skip
    found = find_bulk(pixels, "7FE00010")
    assert (found.offset, found.length, found.data) == (700, 128, None)
    assert (found.encapsulated, found.swap_unit) == (encapsulated, unit)


def test_every_uri_in_the_metadata_of_the_pack_finds_its_value():
    found_paths = set()
    for file in datapack.files():
        data = file.read()
        try:
            admission = admit(data, limits=GateLimits(max_inflated_bytes=1 << 24))
        except Refused:
            continue
        stored = (admission.meta or data[: admission.data_set_offset]) + data[admission.data_set_offset :]
        document = strict_json.read(encode_header(admission.header, **UIDS).json)
        for path in bulk_paths(document):
            value = find_bulk(admission.header, path)
            found_paths.add(path.split("/")[-1])
            in_place = stored[value.offset : value.offset + value.length]
            if value.data is not None and value.swap_unit == 1 and not value.deflated:
                assert in_place == value.data, (file.name, path)
            assert value.data is None or len(value.data) == value.length
    assert found_paths >= {"7FE00010", "60003000", "54001010", "00281223"}
