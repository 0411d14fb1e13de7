"""Palettes, photometric interpretations, overlays and colour profiles, by hand-made examples."""

import struct
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from gantry_dicom.errors import CannotProcess
from gantry_imaging.attributes import ImageAttributes
from gantry_imaging.colour import coded_photometric, to_rgb
from gantry_imaging.colour_profiles import with_profile
from gantry_imaging.overlays import read_overlays
from gantry_imaging.palette import read_palette
from gantry_imaging.picture_files import JPEG, PNG
from gantry_imaging.render import Frame, RenderOptions, picture, render_frame
from gantry_testing import datapack
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut
from pydicom.pixels.processing import _expand_segmented_lut

COLOURS = ("Red", "Green", "Blue")


def palette(entries, bits=16, first=0, data="PaletteColorLookupTableData", prefix="", count=None):
    made = Dataset()
    for colour in COLOURS:
        descriptor = [len(entries) if count is None else count, first, bits]
        setattr(made, f"{colour}PaletteColorLookupTableDescriptor", descriptor)
        words = np.asarray(entries, np.uint8 if bits == 8 and prefix == "" else "<u2").tobytes()
        setattr(made, f"{prefix}{colour}{data}", words + bytes(len(words) % 2))
    return made


def test_entries_of_16_bits_are_shown_by_their_high_byte():
    assert read_palette(palette([0, 0x1234, 0xFFFF])).colours[:, 0].tolist() == [0, 0x12, 0xFF]


def test_entries_of_8_bits_are_packed_two_a_word():
    assert read_palette(palette([1, 2, 3], bits=8)).colours[:, 0].tolist() == [1, 2, 3]


def test_a_palette_that_states_16_bits_and_fills_8_is_not_black():
    assert read_palette(palette([0, 100, 255])).colours[:, 0].tolist() == [0, 100, 255]


def test_values_beyond_a_palette_take_its_ends():
    colours = read_palette(palette([10, 20, 30], bits=8, first=100))
    assert colours.apply(np.array([0, 100, 101, 102, 5000]))[:, 1].tolist() == [10, 10, 20, 30, 30]


def test_65536_entries_are_written_as_0():
    made = palette(np.arange(65536), count=0)
    assert len(read_palette(made).colours) == 65536


@pytest.mark.parametrize("broken", ["nothing", "short", "descriptor"])
def test_a_damaged_palette_is_said_to_be_one(broken):
    made = palette([1, 2, 3])
    if broken == "nothing":
        made = Dataset()
    elif broken == "short":
        made.GreenPaletteColorLookupTableData = b"\1\0"
    else:
        made.GreenPaletteColorLookupTableDescriptor = [3, 0, 99]
    with pytest.raises(CannotProcess):
        read_palette(made)


SEGMENTS = [0, 3, 0, 1000, 2000, 1, 4, 6000, 0, 1, 60000, 1, 3, 0]


def segmented(words, count):
    return palette(words, count=count, prefix="Segmented")


def test_segments_are_values_and_lines():
    made = read_palette(segmented(SEGMENTS, 11))
    expected = np.array(_expand_segmented_lut(tuple(SEGMENTS), "H"))
    assert np.array_equal(made.colours[:, 0], expected >> 8)


def test_an_indirect_segment_repeats_segments_at_a_byte_offset():
    # Two segments from byte 0 on: 3 values and a line of 4.
    words = [*SEGMENTS[:8], 2, 2, 0, 0]
    made = read_palette(segmented(words, 14))
    assert np.array_equal(made.colours[:7], made.colours[7:])


@given(st.lists(st.integers(0, 65535), max_size=40), st.integers(1, 300))
def test_no_segments_break_the_reader(words, count):
    with suppress(CannotProcess):
        assert len(read_palette(segmented(words, count)).colours) == count


def test_segments_that_multiply_each_other_end_soon():
    # Each of 8,000 indirect segments refers to 8,000 empty ones.
    words = [0, 0] * 8000 + [2, 8000, 0, 0] * 8000
    with pytest.raises(CannotProcess):
        read_palette(segmented(words, 5))


def test_a_supplemental_palette_colours_the_values_from_its_first_on():
    made = palette([0xFF00, 0x8000], first=200)
    made.PixelPresentation = "COLOR"
    samples = np.array([[0, 128, 200, 201]], np.uint8)
    attributes = ImageAttributes(1, 4, 1, 8, 8, False, "MONOCHROME2", 0)
    shown = np.asarray(picture(Frame(samples, 1, "MONOCHROME2"), attributes, made, None))
    assert shown[0, :, 0].tolist() == [0, 128, 0xFF, 0x80]


def colour(photometric, samples=3, bits=8):
    return ImageAttributes(1, 2, samples, 16 if bits > 8 else 8, bits, False, photometric, 0)


def test_partial_range_ybr_reaches_black_and_white():
    samples = np.array([[[16, 128, 128], [235, 128, 128]]], np.uint8)
    shown = to_rgb(samples, colour("YBR_PARTIAL_422"), "YBR_PARTIAL_422")
    assert shown.tolist() == [[[0, 0, 0], [255, 255, 255]]]
    full = to_rgb(samples, colour("YBR_FULL"), "YBR_FULL")
    assert full.tolist() == [[[16, 16, 16], [235, 235, 235]]]


@pytest.mark.parametrize("photometric", ["RGB", "YBR_RCT", "YBR_ICT"])
def test_what_the_codec_made_rgb_stays_so(photometric):
    samples = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    assert np.array_equal(to_rgb(samples, colour(photometric), photometric), samples)


def test_colour_of_more_bits_is_shown_by_the_highest_eight():
    samples = np.array([[[0, 4095, 2048], [16, 32, 48]]], np.uint16)
    assert to_rgb(samples, colour("RGB", bits=12), "RGB").tolist() == [[[0, 255, 128], [1, 2, 3]]]


def test_retired_photometric_interpretations_are_shown():
    argb = np.array([[[9, 1, 2, 3], [9, 4, 5, 6]]], np.uint8)
    assert to_rgb(argb, colour("ARGB", 4), "ARGB").tolist() == [[[1, 2, 3], [4, 5, 6]]]
    cmyk = np.array([[[0, 0, 0, 0], [0, 0, 0, 255]]], np.uint8)
    assert to_rgb(cmyk, colour("CMYK", 4), "CMYK").tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("header", ["RGB", "YBR_FULL_422"])
def test_a_jpeg_that_says_it_is_jfif_is_ybr_whatever_the_header_says(header):
    out = BytesIO()
    Image.new("RGB", (2, 1), (255, 0, 0)).save(out, "JPEG")
    found = coded_photometric(colour(header), out.getvalue(), "1.2.840.10008.1.2.4.50")
    assert found == "YBR_FULL"


def test_a_jpeg_with_an_adobe_marker_of_no_transform_is_rgb():
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
    stream = b"\xff\xd8" + adobe + b"\xff\xda\x00\x02"
    assert coded_photometric(colour("YBR_FULL_422"), stream, "1.2.840.10008.1.2.4.50") == "RGB"
    assert (
        coded_photometric(colour("YBR_FULL_422"), b"\xff\xd8\xff", "1.2.840.10008.1.2.4.50") == "YBR_FULL_422"
    )


def overlay(rows, columns, bits, origin=(1, 1), **more):
    made = Dataset()
    for element, vr, value in (
        (0x10, "US", rows),
        (0x11, "US", columns),
        (0x50, "SS", list(origin)),
        (0x100, "US", 1),
        (0x102, "US", 0),
        (0x3000, "OW", np.packbits(np.asarray(bits).reshape(-1), bitorder="little").tobytes()),
    ):
        made.add_new((0x6000, element), vr, value)
    for element, value in more.items():
        made.add_new((0x6000, int(element[1:], 16)), "IS" if element == "x15" else "US", value)
    return made


def test_an_overlay_may_lie_partly_beyond_its_image():
    (plane,) = read_overlays(overlay(2, 2, [[1, 1], [1, 0]], origin=(0, 3)))
    assert plane.on(2, 3).tolist() == [[False, False, True], [False, False, False]]


def test_each_frame_has_its_own_plane_of_a_multi_frame_overlay():
    made = overlay(1, 3, [[1, 0, 0], [0, 1, 0]], x15="2", x51=2)
    assert list(read_overlays(made, 1)) == []
    assert [plane.bits.tolist() for plane in read_overlays(made, 2)] == [[[True, False, False]]]
    assert [plane.bits.tolist() for plane in read_overlays(made, 3)] == [[[False, True, False]]]


def test_a_damaged_overlay_is_left_out():
    assert list(read_overlays(overlay(60000, 60000, [1]))) == []
    assert list(read_overlays(overlay(10, 10, [1]))) == []


def test_an_overlay_of_the_pack_beyond_its_image_is_shown_where_it_fits():
    (file,) = [file for file in datapack.files() if file.name == "made/odd/overlay_6000.dcm"]
    data_set = dcmread(file.path, force=True)
    assert len(list(read_overlays(data_set))) == 1


@pytest.mark.parametrize("media_type", [JPEG, PNG])
@pytest.mark.parametrize("choice", ["yes", "srgb", "adobergb", "rommrgb"])
def test_profiles_can_be_read_back_and_used(media_type, choice):
    attributes = colour("RGB")
    frame = Frame(np.full((1, 2, 3), 90, np.uint8), 1, "RGB")
    options = RenderOptions(media_type=media_type, icc_profile=choice)
    made = Image.open(BytesIO(render_frame(frame, attributes, Dataset(), options)))
    profile = ImageCms.ImageCmsProfile(BytesIO(made.info["icc_profile"]))
    assert ImageCms.getProfileDescription(profile).strip()


@pytest.mark.parametrize(("choice", "gamma"), [("adobergb", 563 / 256), ("rommrgb", 1.8)])
def test_gray_keeps_its_luminance_in_another_space(choice, gamma):
    for level in (20, 128, 250):
        converted, _ = with_profile(Image.new("RGB", (1, 1), (level,) * 3), Dataset(), choice)
        fraction = level / 255
        linear = fraction / 12.92 if fraction <= 0.04045 else ((fraction + 0.055) / 1.055) ** 2.4
        expected = linear ** (1 / gamma) * 255
        assert converted.getpixel((0, 0))[1] == pytest.approx(expected, abs=1.5)
        assert max(converted.getpixel((0, 0))) - min(converted.getpixel((0, 0))) <= 1
    # sRGB's green lies inside of both spaces: it is less than their own.
    green, _ = with_profile(Image.new("RGB", (1, 1), (0, 255, 0)), Dataset(), choice)
    assert green.getpixel((0, 0))[0] > 100


def test_the_images_own_profile_is_kept_and_is_where_conversion_begins():
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    header = Dataset()
    header.ICCProfile = own
    _, kept = with_profile(Image.new("RGB", (1, 1)), header, "yes")
    assert kept == own
    path = Dataset()
    path.ICCProfile = own
    slide = Dataset()
    slide.OpticalPathSequence = [path]
    assert with_profile(Image.new("RGB", (1, 1)), slide, "yes")[1] == own


def test_a_damaged_profile_is_not_a_crash():
    header = Dataset()
    header.ICCProfile = bytes(36) + b"acsp" + struct.pack(">I", 2**31) * 40
    with pytest.raises(CannotProcess):
        with_profile(Image.new("RGB", (1, 1)), header, "adobergb")


def test_palette_images_of_the_pack_agree_with_pydicom_in_every_colour():
    (file,) = [file for file in datapack.files() if file.name == "cornerstone3d/TestPattern_Palette_16.dcm"]
    data_set = dcmread(file.path)
    values = np.arange(256)
    expected = apply_color_lut(values.astype(np.uint8), data_set) >> 8
    assert np.array_equal(read_palette(data_set).apply(values), expected)
