"""Whole objects as data sets in another transfer syntax, on the pack's files."""

import hashlib
from io import BytesIO

import pydicom
import pytest
from gantry_dicom.errors import GantryError
from gantry_dicom.frames import FrameTable
from gantry_dicom.gate import admit
from gantry_imaging.decode import can_decode
from gantry_imaging.whole import can_change, data_set_in, rewrite
from gantry_testing import datapack
from pydicom.filereader import read_dataset

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
# Bare of the UIDs that an archive asks for.
NOT_ADMITTED = "weasis/jpeg2000-multiframe-multifragments.dcm"


def images():
    return [
        file
        for file in datapack.files("good")
        if (file.entry.get("pixels") or {}).get("all_frames_sha256")
        and can_decode(file.entry["transfer_syntax"])
        and file.name != NOT_ADMITTED
    ]


def read_back(data, target):
    return read_dataset(BytesIO(data), is_implicit_VR=target == IMPLICIT, is_little_endian=True)


@pytest.mark.parametrize("target", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("file", images()[::3], ids=lambda file: file.name)
def test_pixels_and_attributes_survive(file, target):
    stored = file.path.read_bytes()
    made = read_back(b"".join(data_set_in(stored, target)), target)
    original = pydicom.dcmread(BytesIO(stored), force=True)
    for keyword in ("SOPInstanceUID", "PatientName", "Rows", "ImageOrientationPatient", "WindowCenter"):
        assert made.get(keyword) == original.get(keyword)
    if file.entry["pixels"].get("bytes", "").startswith("stored") or "FloatPixelData" in made:
        return
    if file.entry["image"]["bits_allocated"] == 1:
        return
    length = file.entry["pixels"]["frame_length"] * file.entry["image"]["frames"]
    assert len(made.PixelData) == length + length % 2
    assert hashlib.sha256(made.PixelData[:length]).hexdigest() == file.entry["pixels"]["all_frames_sha256"]


def test_there_are_big_endian_deflated_and_compressed_files_among_them():
    syntaxes = {file.entry["transfer_syntax"] for file in images()[::3]}
    assert len(syntaxes) > 8
    assert {BIG, DEFLATED, RLE} <= {file.entry["transfer_syntax"] for file in images()}


@pytest.mark.parametrize("syntax", [BIG, DEFLATED])
def test_other_native_forms_become_the_common_ones(syntax):
    file = next(file for file in images() if file.entry["transfer_syntax"] == syntax)
    stored = file.path.read_bytes()
    pixels = {target: read_back(b"".join(data_set_in(stored, target)), target).PixelData for target in
              (EXPLICIT, IMPLICIT)}  # fmt: skip
    assert pixels[EXPLICIT] == pixels[IMPLICIT]
    assert hashlib.sha256(pixels[EXPLICIT]).hexdigest() == file.entry["pixels"]["all_frames_sha256"]


def test_files_go_in_and_come_out(tmp_path):
    (file,) = [file for file in images() if file.name == "pydicom/CT_small.dcm"]
    out = tmp_path / "out"
    rewrite(str(file.path), str(out), DEFLATED)
    assert len(out.read_bytes()) % 2 == 0
    rewrite(str(file.path), str(out), RLE)
    assert (
        out.read_bytes().endswith(b"\xfe\xff\xdd\xe0" + bytes(4)) or b"\xfe\xff\xdd\xe0" in out.read_bytes()
    )


def test_what_is_said_to_be_possible_is_and_the_rest_fails_as_itself():
    for file in datapack.files("good"):
        stored = file.path.read_bytes()
        try:
            admission = admit(stored)
        except GantryError:
            continue
        if len(stored) > 400_000:
            continue
        table = FrameTable.unpack(admission.frame_table)
        possible = can_change(admission.transfer_syntax_uid, IMPLICIT, table)
        try:
            b"".join(data_set_in(stored, IMPLICIT))
        except GantryError:
            continue
        assert possible or admission.transfer_syntax_uid not in (EXPLICIT, IMPLICIT, BIG, DEFLATED)
