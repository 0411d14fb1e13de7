"""Encoding: every codestream gives back its samples, by our decoder and by another one."""

import hashlib

import numpy as np
import pydicom
import pytest
from gantry_dicom.codestreams import true_transfer_syntax
from gantry_dicom.errors import CannotProcess
from gantry_dicom.transfer_syntaxes import Codestream, lookup
from gantry_imaging.attributes import ImageAttributes, image_attributes
from gantry_imaging.decode import NATIVE_TRANSFER_SYNTAXES, decode_frame
from gantry_imaging.encode import can_encode, encode_frame, encoded_photometric
from gantry_testing import datapack
from pydicom.encaps import generate_frames

JPEG_LOSSLESS, JPEG_LS, JPEG_2000, RLE = (
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.5",
)
HTJ2K, RPCL, JPEG_XL, DEFLATED_FRAME, FRAGMENTS = (
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.8.1",
    "1.2.840.10008.1.2.1.98",
)
WRITTEN = (
    JPEG_LOSSLESS, "1.2.840.10008.1.2.4.57", JPEG_LS, "1.2.840.10008.1.2.4.81", JPEG_2000,
    "1.2.840.10008.1.2.4.91", HTJ2K, RPCL, "1.2.840.10008.1.2.4.203", JPEG_XL, "1.2.840.10008.1.2.4.112",
    RLE, DEFLATED_FRAME, FRAGMENTS,
)  # fmt: skip


def image(samples, **changes):
    rows, columns, *rest = samples.shape
    bits = samples.dtype.itemsize * 8
    values = {
        "rows": rows,
        "columns": columns,
        "samples_per_pixel": rest[0] if rest else 1,
        "bits_allocated": bits,
        "bits_stored": bits,
        "signed": samples.dtype.kind == "i",
        "photometric_interpretation": "RGB" if rest else "MONOCHROME2",
        "planar_configuration": 0,
    }
    return ImageAttributes(**(values | changes))


def noise(kind, shape, low, high):
    return np.random.default_rng(7).integers(low, high, shape).astype(kind)


CASES = {
    "grey 8": (noise("u1", (31, 45), 0, 256), {}),
    "grey 12 of 16": (noise("<u2", (31, 45), 0, 4096), {"bits_stored": 12}),
    "grey 16": (noise("<u2", (31, 45), 0, 65536), {}),
    "signed 12 of 16": (noise("<i2", (31, 45), -2048, 2048), {"bits_stored": 12}),
    "signed 16": (noise("<i2", (31, 45), -32768, 32768), {}),
    "one row": (noise("<u2", (1, 300), 0, 65536), {}),
    "RGB": (noise("u1", (31, 45, 3), 0, 256), {}),
    "RGB 16": (noise("<u2", (31, 45, 3), 0, 65536), {}),
    "YBR": (noise("u1", (31, 45, 3), 0, 256), {"photometric_interpretation": "YBR_FULL"}),
    "32 bits": (noise("<u4", (31, 45), 0, 2**32), {}),
}


@pytest.mark.parametrize("syntax", WRITTEN)
@pytest.mark.parametrize("name", CASES)
def test_what_is_written_is_read_back_to_the_bit(syntax, name):
    samples, changes = CASES[name]
    attributes = image(samples, **changes)
    unwritten = syntax in (JPEG_XL, "1.2.840.10008.1.2.4.112") and name == "YBR"
    if unwritten or not can_encode(syntax, attributes.bits_allocated):
        with pytest.raises(CannotProcess):
            encode_frame(samples, syntax, attributes)
        return
    data = encode_frame(samples, syntax, attributes)
    assert len(data) % 2 == 0
    assert np.array_equal(decode_frame(data, syntax, attributes), samples)
    known = lookup(syntax)
    if known.codestream in (Codestream.JPEG, Codestream.JPEG_LS, Codestream.JPEG_2000, Codestream.RLE):
        assert true_transfer_syntax(data, 0, len(data), known) == syntax


@pytest.mark.parametrize("syntax", [JPEG_LOSSLESS, JPEG_2000])
def test_what_lies_above_bits_stored_is_kept_in_the_stream(syntax):
    # Overlays of old writers are in the unused bits.
    samples = noise("<u2", (31, 45), 0, 65536)
    data = encode_frame(samples, syntax, image(samples, bits_stored=12))
    assert np.array_equal(decode_frame(data, syntax, image(samples)), samples)


def test_single_bit_frames_are_written_deflated_only():
    samples = noise("u1", (5, 7), 0, 2)
    attributes = image(samples, bits_allocated=1, bits_stored=1)
    data = encode_frame(samples, DEFLATED_FRAME, attributes)
    assert np.array_equal(decode_frame(data, DEFLATED_FRAME, attributes), samples)
    assert [syntax for syntax in WRITTEN if can_encode(syntax, 1)] == [DEFLATED_FRAME]


def test_always_lossy_syntaxes_are_not_written():
    assert not any(can_encode(f"1.2.840.10008.1.2.4.{number}", 8) for number in (50, 51, 53, 55, 102))


def test_the_photometric_interpretation_says_what_the_codec_did():
    assert encoded_photometric(JPEG_2000, "RGB") == encoded_photometric(RPCL, "RGB") == "YBR_RCT"
    assert encoded_photometric(JPEG_LS, "RGB") == "RGB"
    assert encoded_photometric(JPEG_2000, "YBR_FULL") == "YBR_FULL"


def test_htj2k_has_the_options_of_its_rpcl_syntax():
    samples = noise("<u2", (700, 300), 0, 4096)
    data = encode_frame(samples, RPCL, image(samples))
    at = data.index(b"\xff\x52")
    assert data[at + 5] == 2  # Resolution, position, component, layer
    assert 700 >> data[at + 9] <= 64
    assert b"\xff\x55" in data[: data.index(b"\xff\x90")]
    assert np.array_equal(decode_frame(data, RPCL, image(samples)), samples)


def lossless_files():
    return [
        file
        for file in datapack.files("good")
        if (file.entry.get("pixels") or {}).get("frames_sha256")
        and file.entry["transfer_syntax"] not in NATIVE_TRANSFER_SYNTAXES
        and not lookup(file.entry["transfer_syntax"]).lossy
    ][::4]


@pytest.mark.parametrize("syntax", [JPEG_LOSSLESS, JPEG_LS, JPEG_2000, HTJ2K, RLE, JPEG_XL])
def test_real_frames_survive_another_codec(syntax):
    files = lossless_files()
    assert len(files) > 10
    written = 0
    for file in files:
        data_set = pydicom.dcmread(file.path, force=True)
        attributes = image_attributes(data_set)
        if not can_encode(syntax, attributes.bits_allocated):
            continue
        frame = next(
            generate_frames(data_set.PixelData, number_of_frames=int(data_set.get("NumberOfFrames", 1) or 1))
        )
        samples = decode_frame(frame, file.entry["transfer_syntax"], attributes)
        try:
            data = encode_frame(samples, syntax, attributes)
        except CannotProcess:
            continue
        again = np.ascontiguousarray(decode_frame(data, syntax, attributes))
        assert hashlib.sha256(again.tobytes()).hexdigest() == file.entry["pixels"]["frames_sha256"][0], (
            file.name
        )
        written += 1
    assert written > 8
