"""Decoding: real files against the pack's hashes, and codestreams that lie."""

import hashlib
import struct

import imagecodecs
import numpy as np
import pydicom
import pytest
from gantry_dicom.errors import CannotProcess
from gantry_imaging.attributes import ImageAttributes, image_attributes
from gantry_imaging.decode import NATIVE_TRANSFER_SYNTAXES, can_decode, decode_frame, native_bytes
from gantry_testing import datapack
from pydicom.encaps import generate_frames

EXPLICIT = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_XL = "1.2.840.10008.1.2.4.110"


def compressed_with_hashes():
    return [
        file
        for file in datapack.files("good")
        if (file.entry.get("pixels") or {}).get("frames_sha256")
        and file.entry["transfer_syntax"] not in NATIVE_TRANSFER_SYNTAXES
    ]


def image(**changes):
    values = {
        "rows": 4,
        "columns": 6,
        "samples_per_pixel": 1,
        "bits_allocated": 16,
        "bits_stored": 16,
        "signed": False,
        "photometric_interpretation": "MONOCHROME2",
        "planar_configuration": 0,
    }
    return ImageAttributes(**(values | changes))


@pytest.mark.parametrize("file", compressed_with_hashes(), ids=lambda file: file.name)
def test_compressed_frames_of_the_pack_decode_to_the_agreed_bytes(file):
    data_set = pydicom.dcmread(file.path, force=True)
    attributes = image_attributes(data_set)
    hashes = file.entry["pixels"]["frames_sha256"]
    count = int(data_set.get("NumberOfFrames", 1) or 1)
    frames = generate_frames(data_set.PixelData, number_of_frames=count)
    # Beyond 40 frames the manifest lists only some; the first four are always the first four.
    for frame, expected in zip(frames, hashes if count <= 40 else hashes[:4], strict=False):
        samples = decode_frame(frame, file.entry["transfer_syntax"], attributes)
        assert hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest() == expected


def test_the_pack_has_compressed_files_to_compare():
    assert len(compressed_with_hashes()) > 80


def test_one_bit_samples_are_read_and_packed_from_the_lowest_bit():
    attributes = image(rows=3, columns=5, bits_allocated=1, bits_stored=1)
    samples = decode_frame(bytes.fromhex("8819"), EXPLICIT, attributes)
    assert samples.tolist() == [[0, 0, 0, 1, 0], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]]
    assert native_bytes(samples, attributes).hex() == "8819"


def test_planar_and_interleaved_colour_give_the_same_samples():
    interleaved = np.arange(24 * 3, dtype=np.uint8).reshape(4, 6, 3)
    colour = {
        "samples_per_pixel": 3,
        "bits_allocated": 8,
        "bits_stored": 8,
        "photometric_interpretation": "RGB",
    }
    planar = interleaved.transpose(2, 0, 1).tobytes()
    by_plane = decode_frame(planar, EXPLICIT, image(**colour, planar_configuration=1))
    by_pixel = decode_frame(interleaved.tobytes(), EXPLICIT, image(**colour))
    assert np.array_equal(by_plane, by_pixel)
    assert native_bytes(by_plane, image(**colour)) == interleaved.tobytes()


def test_signed_samples_are_sign_extended_from_bits_stored():
    attributes = image(bits_stored=12, signed=True)
    raw = np.full((4, 6), 0x0FFF, np.uint16)
    decoded = decode_frame(imagecodecs.jpegls_encode(raw), JPEG_LS, attributes)
    assert decoded.dtype == np.int16
    assert (decoded == -1).all()


def test_jpeg_xl_decodes():
    raw = np.arange(24, dtype=np.uint16).reshape(4, 6)
    assert np.array_equal(decode_frame(imagecodecs.jpegxl_encode(raw, lossless=True), JPEG_XL, image()), raw)


@pytest.mark.parametrize(
    "name",
    [
        "made/broken/j2k_dimension_bomb.dcm",
        "made/broken/codestream_garbage.dcm",
        "made/broken/wrong_ts_label.dcm",
        "made/broken/rle_bad_header.dcm",
    ],
)
def test_a_lying_or_damaged_codestream_fails_cleanly(name):
    (file,) = [file for file in datapack.files("broken") if file.name == name]
    data_set = pydicom.dcmread(file.path, force=True)
    frame = next(generate_frames(data_set.PixelData, number_of_frames=1))
    with pytest.raises(CannotProcess):
        decode_frame(frame, file.entry["transfer_syntax"], image_attributes(data_set))


def test_an_rle_segment_that_expands_beyond_the_frame_is_bounded():
    # 64 literal-run bytes say "repeat 128 times" each: 8 kB for a frame of 24 samples.
    header = struct.pack("<16I", 2, 64, 128, *([0] * 13))
    segment = bytes([129, 7]) * 32
    attributes = image()
    try:
        samples = decode_frame(header + segment + segment, RLE, attributes)
    except CannotProcess:
        return
    assert samples.shape == (4, 6)


def test_a_native_frame_with_too_few_bytes_fails_cleanly():
    with pytest.raises(CannotProcess):
        decode_frame(b"\0" * 47, EXPLICIT, image())


def test_video_is_not_decodable_and_says_so():
    assert not can_decode("1.2.840.10008.1.2.4.102")
    with pytest.raises(CannotProcess):
        decode_frame(b"", "1.2.840.10008.1.2.4.102", image())
