"""Whole objects to Explicit VR Little Endian, on the pack's files."""

import hashlib
from io import BytesIO

import pydicom
import pytest
from gantry_imaging.decode import NATIVE_TRANSFER_SYNTAXES, can_decode
from gantry_imaging.transcode import to_explicit_little_endian
from gantry_testing import datapack


def lossless_images():
    return [
        file
        for file in datapack.files("good")
        if (file.entry.get("pixels") or {}).get("all_frames_sha256")
        and file.entry["image"]["bits_allocated"] >= 8
        and can_decode(file.entry["transfer_syntax"])
    ]


@pytest.mark.parametrize("file", lossless_images(), ids=lambda file: file.name)
def test_the_pixels_and_the_identity_survive(file):
    stored = file.path.read_bytes()
    transcoded = pydicom.dcmread(BytesIO(to_explicit_little_endian(stored, file.entry["transfer_syntax"])))
    original = pydicom.dcmread(BytesIO(stored), force=True)
    assert transcoded.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert transcoded.SOPInstanceUID == original.SOPInstanceUID
    assert transcoded.get("PatientName") == original.get("PatientName")
    if file.entry["pixels"].get("bytes", "").startswith("stored") or "FloatPixelData" in transcoded:
        return
    length = file.entry["pixels"]["frame_length"] * file.entry["image"]["frames"]
    digest = hashlib.sha256(transcoded.PixelData[:length]).hexdigest()
    assert digest == file.entry["pixels"]["all_frames_sha256"]


def test_there_are_compressed_files_among_them():
    compressed = [f for f in lossless_images() if f.entry["transfer_syntax"] not in NATIVE_TRANSFER_SYNTAXES]
    assert len(compressed) > 50
