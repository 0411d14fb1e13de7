"""Whole objects in another transfer syntax, on the pack's files."""

import hashlib
from io import BytesIO

import numpy as np
import pydicom
import pytest
from gantry_dicom.errors import CannotProcess
from gantry_dicom.frames import FrameTable
from gantry_dicom.gate import header_of
from gantry_imaging.decode import NATIVE_TRANSFER_SYNTAXES, can_decode, decode_frame, native_bytes
from gantry_imaging.encode import encode_frame
from gantry_imaging.transcode import describe, fragment_head, outline
from gantry_testing import datapack
from pydicom.encaps import generate_frames

EXPLICIT = "1.2.840.10008.1.2.1"
JPEG_LOSSLESS, JPEG_2000, RLE = (
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.5",
)


def transcoded(stored, source, target):
    """Put an object together as the archive does, from its outline and its frames."""
    header, packed = header_of(stored)
    table = FrameTable.unpack(packed)
    made = outline(stored[: header.before_offset], header, table.count, target)
    pieces = [made.meta, made.head]
    if not header.encapsulated and not made.fragmented:
        value = stored[header.pixel_data_offset : header.pixel_data_offset + header.pixel_data_length]
        return b"".join((*pieces, value, made.tail))
    attributes = describe(header)
    for number in range(1, table.count + 1):
        frame = b"".join(stored[at : at + length] for at, length in table.ranges(number))
        if not header.encapsulated:
            frame = table.native_frame(number, frame)
        samples = decode_frame(frame, source, attributes)
        if made.fragmented:
            frame = encode_frame(samples, target, attributes)
            pieces += [fragment_head(len(frame)), frame]
        else:
            pieces.append(native_bytes(samples, attributes))
    return b"".join((*pieces, made.tail))


# Bare of the UIDs that an archive asks for.
NOT_ADMITTED = "weasis/jpeg2000-multiframe-multifragments.dcm"


def images(*, bits):
    return [
        file
        for file in datapack.files("good")
        if (file.entry.get("pixels") or {}).get("all_frames_sha256")
        and file.entry["image"]["bits_allocated"] in bits
        and can_decode(file.entry["transfer_syntax"])
        # What inflates or is swapped does not have its frames in the file as they are sent.
        and file.entry["transfer_syntax"] not in ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
        and file.name != NOT_ADMITTED
    ]


@pytest.mark.parametrize("file", images(bits=(8, 16, 32, 64)), ids=lambda file: file.name)
def test_pixels_and_identity_survive_decompression(file):
    stored = file.path.read_bytes()
    made = pydicom.dcmread(BytesIO(transcoded(stored, file.entry["transfer_syntax"], EXPLICIT)))
    original = pydicom.dcmread(BytesIO(stored), force=True)
    assert made.file_meta.TransferSyntaxUID == EXPLICIT
    assert made.SOPInstanceUID == original.SOPInstanceUID
    assert made.get("PatientName") == original.get("PatientName")
    if file.entry["pixels"].get("bytes", "").startswith("stored") or "FloatPixelData" in made:
        return
    length = file.entry["pixels"]["frame_length"] * file.entry["image"]["frames"]
    assert len(made.PixelData) == length + length % 2
    assert hashlib.sha256(made.PixelData[:length]).hexdigest() == file.entry["pixels"]["all_frames_sha256"]


def test_there_are_compressed_files_among_them():
    compressed = [
        file for file in images(bits=(8, 16)) if file.entry["transfer_syntax"] not in NATIVE_TRANSFER_SYNTAXES
    ]
    assert len(compressed) > 50


@pytest.mark.parametrize("target", [JPEG_LOSSLESS, JPEG_2000, RLE])
@pytest.mark.parametrize("file", images(bits=(8, 16))[::7], ids=lambda file: file.name)
def test_pixels_survive_another_compression_and_say_what_they_are(file, target):
    stored = file.path.read_bytes()
    header, packed = header_of(stored)
    attributes, count = describe(header), FrameTable.unpack(packed).count
    made = pydicom.dcmread(BytesIO(transcoded(stored, file.entry["transfer_syntax"], target)))
    assert made.file_meta.TransferSyntaxUID == target
    assert "ExtendedOffsetTable" not in made
    native = pydicom.dcmread(BytesIO(transcoded(stored, file.entry["transfer_syntax"], EXPLICIT)))
    again = describe(header_of(transcoded(stored, file.entry["transfer_syntax"], target))[0])
    frames = list(generate_frames(made.PixelData, number_of_frames=count))
    assert len(frames) == count
    if header.encapsulated:
        pixels = b"".join(native_bytes(decode_frame(frame, target, again), again) for frame in frames)
        assert pixels == native.PixelData[: len(pixels)]
    if attributes.samples_per_pixel == 3:
        was = native.PhotometricInterpretation if header.encapsulated else made.PhotometricInterpretation
        becomes = {"RGB": "YBR_RCT"} if target == JPEG_2000 else {}
        assert made.PhotometricInterpretation == becomes.get(was, was)
        assert made.PlanarConfiguration == (1 if target == RLE else 0)


def test_another_reader_finds_the_same_pixels_in_what_was_compressed():
    # Pillow's OpenJPEG and pydicom's RLE, whose code is not ours.
    (file,) = [file for file in datapack.files("good") if file.name == "pydicom/CT_small.dcm"]
    stored = file.path.read_bytes()
    expected = pydicom.dcmread(file.path).pixel_array
    for target, plugin in ((JPEG_2000, "pillow"), (RLE, "pydicom")):
        made = pydicom.dcmread(BytesIO(transcoded(stored, EXPLICIT, target)))
        made.pixel_array_options(decoding_plugin=plugin)
        assert np.array_equal(made.pixel_array, expected)


def test_what_a_length_field_cannot_say_is_refused():
    (file,) = [file for file in datapack.files("good") if file.name == "pydicom/CT_small.dcm"]
    stored = file.path.read_bytes()
    compressed = transcoded(stored, EXPLICIT, RLE)
    header, _ = header_of(compressed)
    with pytest.raises(CannotProcess):
        outline(compressed[: header.before_offset], header, 200_000, EXPLICIT)
