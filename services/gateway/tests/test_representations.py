"""Which representation a caller gets (PS3.18 8.7.3, 10.4.4; case O-16; W01 to W12)."""

import pytest
from gantry_dicom.errors import NotAcceptable
from gantry_gateway.media_types import parse_accept
from gantry_gateway.representations import Delivery, choose_frame, choose_instance, delivery_of

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"
VIDEO = "1.2.840.10008.1.2.4.102"
AS_STORED = Delivery.AS_STORED
NATIVE = Delivery.EXPLICIT_LITTLE_ENDIAN


@pytest.mark.parametrize(
    ("accept", "single", "syntax"),
    [
        ('multipart/related; type="application/dicom"; transfer-syntax=*', False, "*"),
        ('multipart/related; type="application/dicom"; transfer-syntax="*"', False, "*"),
        ("multipart/related; type=application/dicom", False, None),
        ("application/dicom", True, None),
        ("application/dicom; transfer-syntax=*", True, "*"),
        ("*/*", False, None),
        ("image/tiff, application/dicom;q=0.2", True, None),
    ],
)
def test_an_instance_is_given_as_the_first_range_that_fits(accept, single, syntax):
    choice = choose_instance(parse_accept(accept, None), single_allowed=True)
    assert (choice.single_part, choice.transfer_syntax) == (single, syntax)


def test_a_study_as_a_single_part_is_not_acceptable():
    with pytest.raises(NotAcceptable):
        choose_instance(parse_accept("application/dicom", None), single_allowed=False)


@pytest.mark.parametrize(
    ("stored", "wanted", "delivery"),
    [
        (EXPLICIT, None, AS_STORED),
        (IMPLICIT, None, NATIVE),
        (JPEG_2000, None, NATIVE),
        (JPEG, None, AS_STORED),
        (VIDEO, None, AS_STORED),
        (JPEG_2000, "*", AS_STORED),
        (JPEG_2000, JPEG_2000, AS_STORED),
        (RLE, EXPLICIT, NATIVE),
        (RLE, JPEG_2000, None),
        (VIDEO, EXPLICIT, None),
    ],
)
def test_the_transfer_syntax_asked_for_decides_the_delivery(stored, wanted, delivery):
    assert delivery_of(stored, wanted) is delivery


@pytest.mark.parametrize(
    ("accept", "stored", "delivery", "content_type"),
    [
        # What OHIF sends.
        (
            'multipart/related; type="application/octet-stream"; transfer-syntax="*"',
            JPEG_2000,
            AS_STORED,
            f"application/octet-stream; transfer-syntax={JPEG_2000}",
        ),
        (
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            IMPLICIT,
            NATIVE,
            f"application/octet-stream; transfer-syntax={EXPLICIT}",
        ),
        (
            'multipart/related; type="application/octet-stream"',
            RLE,
            NATIVE,
            f"application/octet-stream; transfer-syntax={EXPLICIT}",
        ),
        (
            "multipart/related; type=image/jls, multipart/related; type=image/jp2",
            JPEG_2000,
            AS_STORED,
            f"image/jp2; transfer-syntax={JPEG_2000}",
        ),
        ('multipart/related; type="image/jpeg"', JPEG, AS_STORED, f"image/jpeg; transfer-syntax={JPEG}"),
        (
            'multipart/related; type="*/*"; transfer-syntax=*',
            JPEG_LOSSLESS,
            AS_STORED,
            f"image/jpeg; transfer-syntax={JPEG_LOSSLESS}",
        ),
        ("*/*", EXPLICIT, NATIVE, f"application/octet-stream; transfer-syntax={EXPLICIT}"),
        ("*/*", VIDEO, AS_STORED, f"video/mp4; transfer-syntax={VIDEO}"),
    ],
)
def test_frames_are_given_as_stored_or_native(accept, stored, delivery, content_type):
    choice = choose_frame(parse_accept(accept, None), stored, single_allowed=True)
    assert (choice.single_part, choice.delivery, choice.content_type) == (False, delivery, content_type)


def test_one_frame_may_be_a_single_part_and_several_may_not():
    ranges = parse_accept("application/octet-stream", None)
    assert choose_frame(ranges, EXPLICIT, single_allowed=True).single_part
    with pytest.raises(NotAcceptable):
        choose_frame(ranges, EXPLICIT, single_allowed=False)


@pytest.mark.parametrize(
    ("accept", "stored"),
    [
        ('multipart/related; type="image/jp2"', EXPLICIT),
        ('multipart/related; type="image/jp2"', RLE),
        ("image/tiff", EXPLICIT),
        (f"multipart/related; type=application/octet-stream; transfer-syntax={JPEG}", JPEG_2000),
        ('multipart/related; type="application/octet-stream"', VIDEO),
    ],
)
def test_what_cannot_be_given_is_not_acceptable(accept, stored):
    with pytest.raises(NotAcceptable):
        choose_frame(parse_accept(accept, None), stored, single_allowed=True)
