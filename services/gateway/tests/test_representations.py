"""Which representation a caller gets (PS3.18 8.7.3, 10.4.4; case O-16; W01 to W24)."""

import pytest
from gantry_dicom.errors import BadRequest, NotAcceptable
from gantry_dicom.frames import FrameTable
from gantry_gateway.media_types import parse_accept
from gantry_gateway.representations import Form, choose_frame, choose_instance, target_syntax
from hypothesis import given
from hypothesis import strategies as st

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_PROCESS_14 = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
HTJ2K = "1.2.840.10008.1.2.4.201"
RLE = "1.2.840.10008.1.2.5"
VIDEO = "1.2.840.10008.1.2.4.102"
JPIP = "1.2.840.10008.1.2.4.94"
PRIVATE = "1.2.999.1"
OCTETS = "application/octet-stream"
PARTS = "multipart/related; type=application/dicom"
FRAMES = "multipart/related; type="


def table(stored, *, bits=16, tag=0x7FE00010, missing=0, kind=None):
    native = stored in (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED)
    return FrameTable(
        kind=kind or ("native" if native else "encapsulated"),
        pixel_data_tag=tag,
        bits_allocated=bits,
        stated_count=2,
        count=2 - missing,
    )


@pytest.mark.parametrize(
    ("accept", "form", "wishes"),
    [
        ('multipart/related; type="application/dicom"; transfer-syntax=*', Form.MULTIPART, (("*",),)),
        ('multipart/related; type="application/dicom"; transfer-syntax="*"', Form.MULTIPART, (("*",),)),
        ("multipart/related; type=application/dicom", Form.MULTIPART, ((None,),)),
        ('multipart/related; type="*/*"', Form.MULTIPART, ((None,),)),
        ("application/dicom", Form.SINGLE, ((None,),)),
        ("application/dicom; transfer-syntax=*", Form.SINGLE, (("*",),)),
        ("*/*", Form.MULTIPART, ((None,),)),
        ("image/tiff, application/dicom;q=0.2", Form.SINGLE, ((None,),)),
        ("application/zip; transfer-syntax=*", Form.ZIP, (("*",),)),
        ("application/zip;q=0.3, application/dicom", Form.SINGLE, ((None,),)),
        ('multipart/related; type="application/octet-stream"', Form.BULK_DATA, ((None,),)),
        (
            f"{PARTS}; transfer-syntax={RLE};q=1, application/dicom;q=0.8, {PARTS}; transfer-syntax=*;q=0.7",
            Form.MULTIPART,
            ((RLE,), ("*",)),
        ),
        (
            f"{PARTS}; transfer-syntax={RLE}, {PARTS}; transfer-syntax=*",
            Form.MULTIPART,
            ((RLE, "*"),),
        ),
    ],
)
def test_the_best_range_decides_the_form_and_further_ones_are_further_wishes(accept, form, wishes):
    choice = choose_instance(parse_accept(accept, None), single_allowed=True)
    assert (choice.form, choice.wishes) == (form, wishes)


def test_a_study_as_a_single_part_is_not_acceptable():
    with pytest.raises(NotAcceptable):
        choose_instance(parse_accept("application/dicom", None), single_allowed=False)


@pytest.mark.parametrize(
    ("stored", "wished", "target"),
    [
        (EXPLICIT, None, EXPLICIT),
        (IMPLICIT, None, EXPLICIT),
        (IMPLICIT, "*", EXPLICIT),
        (BIG_ENDIAN, "*", EXPLICIT),
        (IMPLICIT, IMPLICIT, None),
        (EXPLICIT, IMPLICIT, None),
        (EXPLICIT, BIG_ENDIAN, None),
        (DEFLATED, None, EXPLICIT),
        (DEFLATED, "*", DEFLATED),
        (EXPLICIT, DEFLATED, DEFLATED),
        (JPEG_2000, None, EXPLICIT),
        (JPEG, None, JPEG),
        (JPEG, EXPLICIT, EXPLICIT),
        (JPEG, JPEG_2000, JPEG_2000),
        (VIDEO, None, VIDEO),
        (JPEG_2000, "*", JPEG_2000),
        (JPEG_2000, JPEG_2000, JPEG_2000),
        (RLE, EXPLICIT, EXPLICIT),
        (RLE, HTJ2K, HTJ2K),
        (RLE, JPEG, None),
        (VIDEO, EXPLICIT, None),
        (EXPLICIT, "1.2.3", None),
        (PRIVATE, None, PRIVATE),
        (PRIVATE, "*", PRIVATE),
        (PRIVATE, EXPLICIT, None),
    ],
)
def test_an_object_is_given_in_the_transfer_syntax_asked_for(stored, wished, target):
    assert target_syntax(stored, table(stored), wished) == target


@pytest.mark.parametrize(
    ("frames", "stored", "wished", "target"),
    [
        # No pixels: nothing lossy in it, nothing to compress.
        (FrameTable(), JPEG, None, EXPLICIT),
        (FrameTable(), EXPLICIT, JPEG_2000, None),
        (FrameTable(), JPIP, None, JPIP),
        # Frames that are not there cannot be decompressed.
        (table(JPEG_2000, missing=1), JPEG_2000, None, JPEG_2000),
        (table(JPEG_2000, missing=1), JPEG_2000, EXPLICIT, None),
        (table(EXPLICIT, missing=1), EXPLICIT, RLE, None),
        # Bit depths that the codec has not, and floats.
        (table(EXPLICIT, bits=1), EXPLICIT, JPEG_2000, None),
        (table(EXPLICIT, bits=32), EXPLICIT, JPEG_2000, None),
        (table(EXPLICIT, bits=32), EXPLICIT, RLE, RLE),
        (table(EXPLICIT, bits=32, tag=0x7FE00008), EXPLICIT, RLE, None),
    ],
)
def test_what_an_object_cannot_have_is_not_promised(frames, stored, wished, target):
    assert target_syntax(stored, frames, wished) == target


@pytest.mark.parametrize(
    ("accept", "stored", "target", "media_type"),
    [
        # What OHIF sends.
        (FRAMES + '"application/octet-stream"; transfer-syntax="*"', JPEG_2000, JPEG_2000, OCTETS),
        (FRAMES + "application/octet-stream; transfer-syntax=*", IMPLICIT, EXPLICIT, OCTETS),
        (FRAMES + '"application/octet-stream"', RLE, EXPLICIT, OCTETS),
        (FRAMES + "image/jls, multipart/related; type=image/jp2", RLE, JPEG_LS, "image/jls"),
        # Of what weighs the same, as stored costs nothing.
        (FRAMES + "image/jls, multipart/related; type=image/jp2", JPEG_2000, JPEG_2000, "image/jp2"),
        (FRAMES + f"image/jls, {FRAMES}{OCTETS}; transfer-syntax=*", JPEG, JPEG, OCTETS),
        (FRAMES + "image/jls, multipart/related; type=image/jp2;q=0.9", JPEG_2000, JPEG_LS, "image/jls"),
        (FRAMES + '"*/*"; transfer-syntax=*', JPEG_LOSSLESS, JPEG_LOSSLESS, "image/jpeg"),
        ("*/*", EXPLICIT, EXPLICIT, OCTETS),
        ("*/*", VIDEO, VIDEO, "video/mp4"),
        # Of lossy data nothing better can be had than what is stored.
        (FRAMES + '"image/jpeg"', JPEG, JPEG, "image/jpeg"),
        (FRAMES + f'"image/jpeg"; transfer-syntax={JPEG}', JPEG, JPEG, "image/jpeg"),
        # The defaults of Table 8.7.3-5.
        (FRAMES + "image/jpeg", EXPLICIT, JPEG_LOSSLESS, "image/jpeg"),
        (FRAMES + "image/jpeg", JPEG_PROCESS_14, JPEG_LOSSLESS, "image/jpeg"),
        (FRAMES + "image/jpeg; transfer-syntax=*", JPEG_PROCESS_14, JPEG_PROCESS_14, "image/jpeg"),
        (FRAMES + "image/dicom-rle", JPEG_2000, RLE, "image/dicom-rle"),
        (FRAMES + "image/jp2", RLE, JPEG_2000, "image/jp2"),
        (FRAMES + "image/jphc", RLE, HTJ2K, "image/jphc"),
        (FRAMES + "image/jxl", RLE, "1.2.840.10008.1.2.4.110", "image/jxl"),
        # Named otherwise than in the table.
        (FRAMES + "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.91", RLE,
         "1.2.840.10008.1.2.4.91", "image/jp2"),
        (FRAMES + f"application/octet-stream; transfer-syntax={RLE}", EXPLICIT, RLE, OCTETS),
        # Old names.
        (FRAMES + "image/x-dicom-rle", RLE, RLE, "image/dicom-rle"),
        (FRAMES + "image/x-jls", EXPLICIT, JPEG_LS, "image/jls"),
        (FRAMES + "image/dicom+jpeg", EXPLICIT, JPEG_LOSSLESS, "image/jpeg"),
    ],
)  # fmt: skip
def test_frames_are_given_in_the_best_range_that_can_be_met(accept, stored, target, media_type):
    choice = choose_frame(parse_accept(accept, None), stored, table(stored), single_allowed=True)
    assert (choice.single_part, choice.target) == (False, target)
    assert choice.content_type == f"{media_type}; transfer-syntax={target}"


def test_one_frame_may_be_a_single_part_and_several_may_not():
    ranges = parse_accept(OCTETS, None)
    assert choose_frame(ranges, EXPLICIT, table(EXPLICIT), single_allowed=True).single_part
    with pytest.raises(NotAcceptable):
        choose_frame(ranges, EXPLICIT, table(EXPLICIT), single_allowed=False)


@pytest.mark.parametrize(
    ("accept", "stored"),
    [
        (f"multipart/related; type=image/jpeg; transfer-syntax={JPEG}", EXPLICIT),
        (f"multipart/related; type=image/jp2; transfer-syntax={JPEG_LS}", EXPLICIT),
        (f"multipart/related; type=application/octet-stream; transfer-syntax={IMPLICIT}", IMPLICIT),
        (f"multipart/related; type=application/octet-stream; transfer-syntax={DEFLATED}", DEFLATED),
        ("multipart/related; type=image/jpx", EXPLICIT),
        ("multipart/related; type=image/jp2", VIDEO),
        ("image/tiff", EXPLICIT),
        ('multipart/related; type="application/octet-stream"', VIDEO),
        ("multipart/related; type=image/jp2", PRIVATE),
    ],
)
def test_what_cannot_be_given_is_not_acceptable(accept, stored):
    with pytest.raises(NotAcceptable):
        choose_frame(parse_accept(accept, None), stored, table(stored), single_allowed=True)


_TOKENS = st.sampled_from(
    ["multipart/related", OCTETS, "application/dicom", "image/*", "image/jls", "*/*", "type=",
     "transfer-syntax=", "q=", "*", '"', ";", ",", "=", " ", "0.5", JPEG_2000, "image/jp2", "\\", "\u00e9"]
)  # fmt: skip


@given(
    st.lists(_TOKENS, max_size=30).map("".join),
    st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, JPEG, JPEG_2000, RLE, VIDEO, JPIP, PRIVATE]),
)
def test_whatever_is_accepted_is_given_or_refused(accept, stored):
    try:
        ranges = parse_accept(accept, None)
        choice = choose_frame(ranges, stored, table(stored), single_allowed=True)
        assert choice.target not in (IMPLICIT, BIG_ENDIAN, DEFLATED)
        wishes = choose_instance(ranges, single_allowed=True).wishes
        targets = {target_syntax(stored, table(stored), wish) for group in wishes for wish in group}
        assert not targets & {IMPLICIT, BIG_ENDIAN}
    except (BadRequest, NotAcceptable):
        return
