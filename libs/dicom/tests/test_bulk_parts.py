"""Files from metadata and bulk data parts (PS3.18 10.5.2): encapsulation and what streams say."""

import contextlib
from struct import pack

import imagecodecs
import numpy as np
import pytest
from gantry_dicom.bulk_parts import BulkPart, file_of
from gantry_dicom.frames import FrameTable
from gantry_dicom.gate import admit
from gantry_dicom.json_decoder import JsonNumber
from gantry_dicom.refusals import Refusal, Refused
from gantry_dicom.stream_attributes import image_attributes, video_attributes
from gantry_dicom.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    HTJ2K_LOSSLESS,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO

COLOUR = np.arange(40 * 30 * 3, dtype=np.uint32).reshape(40, 30, 3).astype(np.uint8)
GREY = COLOUR[..., 0].copy()
DEEP = (GREY.astype(np.uint16) << 4) + 7


def document(**further):
    uids = {
        "00080016": "1.2.840.10008.5.1.4.1.1.7",
        "00080018": "1.2.3.4",
        "0020000D": "1.2",
        "0020000E": "1.3",
    }
    found = {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}
    found["7FE00010"] = {"vr": "OW", "BulkDataURI": "pixels"}
    return found | {tag.lstrip("x"): attribute for tag, attribute in further.items()}


def stored(parts, **further):
    """Return the file that metadata and parts make up, and the gate's verdict on it."""
    pieces = file_of(document(**further), {"pixels": parts})
    file = b"".join(bytes(piece) for piece in pieces)
    return file, admit(file)


def jp2(image):
    return imagecodecs.jpeg2k_encode(image, codecformat="jp2", level=0)


@pytest.mark.parametrize(
    ("media_type", "stream", "syntax", "expected"),
    [
        ("image/jpeg", imagecodecs.jpeg8_encode(COLOUR), JPEG_BASELINE, (3, 8, 8, 0, "YBR_FULL_422")),
        ("image/jpeg", imagecodecs.jpeg8_encode(GREY), JPEG_BASELINE, (1, 8, 8, 0, "MONOCHROME2")),
        (
            "image/jpeg",
            imagecodecs.ljpeg_encode(DEEP, bitspersample=12),
            JPEG_LOSSLESS,
            (1, 16, 12, 0, "MONOCHROME2"),
        ),
        ("image/jls", imagecodecs.jpegls_encode(COLOUR), JPEG_LS_LOSSLESS, (3, 8, 8, 0, "RGB")),
        ("image/x-jls", imagecodecs.jpegls_encode(DEEP), JPEG_LS_LOSSLESS, (1, 16, 16, 0, "MONOCHROME2")),
        ("image/jp2", jp2(COLOUR), JPEG_2000_LOSSLESS, (3, 8, 8, 0, "YBR_RCT")),
        (
            "image/jp2",
            imagecodecs.jpeg2k_encode(COLOUR, codecformat="j2k", level=40, reversible=False),
            JPEG_2000,
            (3, 8, 8, 0, "YBR_ICT"),
        ),
        ("image/jphc", imagecodecs.htj2k_encode(GREY), HTJ2K_LOSSLESS, (1, 8, 8, 0, "MONOCHROME2")),
    ],
)
def test_attributes_left_out_come_from_the_stream(media_type, stream, syntax, expected):
    file, admission = stored([BulkPart(media_type, "", stream)])
    found = dcmread(DicomBytesIO(file))
    assert admission.transfer_syntax_uid == found.file_meta.TransferSyntaxUID == syntax
    assert admission.warnings == ()
    assert (found.Rows, found.Columns) == (40, 30)
    assert (
        found.SamplesPerPixel,
        found.BitsAllocated,
        found.BitsStored,
        found.PixelRepresentation,
        found.PhotometricInterpretation,
    ) == expected
    assert found.HighBit == found.BitsStored - 1


def test_attributes_given_are_kept():
    file, _ = stored(
        [BulkPart("image/jpeg", "", imagecodecs.jpeg8_encode(COLOUR))],
        x00280004={"vr": "CS", "Value": ["RGB"]},
    )
    assert dcmread(DicomBytesIO(file)).PhotometricInterpretation == "RGB"


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("media_type", "encode"),
    [("image/jpeg", imagecodecs.jpeg8_encode), ("image/jls", imagecodecs.jpegls_encode)],
)
def test_frames_may_be_parts_or_stand_in_one(media_type, encode, together):
    streams = [encode(np.full((20, 30), shade, np.uint8)) for shade in (0, 90, 200)]
    parts = [BulkPart(media_type, "", stream) for stream in streams]
    given = {}
    if together:
        parts = [BulkPart(media_type, "", b"".join(streams))]
        given["x00280008"] = {"vr": "IS", "Value": [JsonNumber("3")]}
    file, admission = stored(parts, **given)
    assert int(dcmread(DicomBytesIO(file)).NumberOfFrames) == 3
    assert FrameTable.unpack(admission.frame_table).count == 3


def test_frames_of_one_part_that_cannot_be_told_apart_are_refused():
    with pytest.raises(Refused) as refused:
        stored(
            [BulkPart("image/jpeg", "", imagecodecs.jpeg8_encode(GREY))],
            x00280008={"vr": "IS", "Value": ["2"]},
        )
    assert refused.value.reason is Refusal.BULK_DATA_NOT_UNDERSTOOD


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([], Refusal.BULK_DATA_MISSING),
        ([BulkPart("image/jpeg", "", b"no JPEG")], Refusal.BULK_DATA_NOT_UNDERSTOOD),
        ([BulkPart("image/gif", "", b"GIF89a")], Refusal.TRANSFER_SYNTAX_NOT_SUPPORTED),
        (
            [BulkPart("image/jpeg", "", b"\xff\xd8"), BulkPart("image/jp2", "", b"")],
            Refusal.BULK_DATA_NOT_UNDERSTOOD,
        ),
    ],
)
def test_bulk_data_that_cannot_be_used_are_refused(parts, reason):
    with pytest.raises(Refused) as refused:
        stored(parts)
    assert refused.value.reason is reason


def test_the_older_name_of_rle_is_understood():
    rle = pack("<16L", 1, 64, *[0] * 14) + b"\xff" * 10
    assert stored([BulkPart("image/x-dicom-rle", "", rle)])[1].transfer_syntax_uid == RLE_LOSSLESS


def test_a_pdf_is_an_encapsulated_document_of_its_length():
    metadata = document(x00420011={"vr": "OB", "BulkDataURI": "doc"})
    del metadata["7FE00010"]
    pieces = file_of(metadata, {"doc": [BulkPart("application/pdf", "", b"%PDF-1.7")]})
    found = dcmread(DicomBytesIO(b"".join(bytes(piece) for piece in pieces)))
    assert found.file_meta.TransferSyntaxUID == EXPLICIT_VR_LITTLE_ENDIAN
    assert (found.EncapsulatedDocument, found.EncapsulatedDocumentLength) == (b"%PDF-1.7", 8)
    assert found.MIMETypeOfEncapsulatedDocument == "application/pdf"


def box(kind, content):
    return pack(">I4s", len(content) + 8, kind) + content


def mp4(columns, rows, frames):
    entry = box(b"avc1", bytes(24) + pack(">HH", columns, rows) + bytes(50))
    tables = box(b"stsd", pack(">II", 0, 1) + entry) + box(b"stsz", pack(">III", 0, 100, frames))
    content = box(b"stbl", tables)
    for kind in (b"minf", b"mdia", b"trak", b"moov"):
        content = box(kind, content)
    return box(b"ftyp", b"isom\0\0\0\0") + content + box(b"mdat", bytes(10))


def mpeg_2(columns, rows, frames):
    return b"\0\0\1\xb3" + (columns << 12 | rows).to_bytes(3) + b"\x14\0\0" + b"\0\0\1\0\x10\x10" * frames


@pytest.mark.parametrize(
    ("media_type", "stream", "syntax"),
    [
        ("video/mp4", mp4(640, 480, 25), "1.2.840.10008.1.2.4.102"),
        ("video/mpeg", mpeg_2(640, 480, 25), "1.2.840.10008.1.2.4.101"),
    ],
)
def test_videos_are_one_fragment_with_the_size_they_state(media_type, stream, syntax):
    file, admission = stored([BulkPart(media_type, "", stream)])
    found = dcmread(DicomBytesIO(file))
    assert admission.transfer_syntax_uid == syntax
    assert (found.Rows, found.Columns, int(found.NumberOfFrames)) == (480, 640, 25)
    assert (found.SamplesPerPixel, found.BitsAllocated) == (3, 8)


@given(
    st.sampled_from([imagecodecs.jpeg8_encode(GREY), jp2(GREY), mp4(64, 48, 3), mpeg_2(64, 48, 3)]),
    st.integers(0, 700),
    st.binary(max_size=8),
)
def test_damaged_streams_crash_nothing(stream, at, noise):
    damaged = stream[:at] + noise + stream[at + len(noise) :]
    image_attributes(damaged)
    video_attributes(damaged)
    for media_type in ("image/jpeg", "image/jp2", "video/mp4"):
        with contextlib.suppress(Refused):
            stored([BulkPart(media_type, "", damaged)])
