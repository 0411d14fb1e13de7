"""Sizes, mirrored regions, animations, annotations and icons; samples that are odd to read."""

from io import BytesIO

import numpy as np
import pytest
from gantry_dicom.errors import BadRequest
from gantry_imaging.annotations import annotated
from gantry_imaging.attributes import ImageAttributes, image_attributes
from gantry_imaging.geometry import Region, Viewport, pixel_ratio, shown_in
from gantry_imaging.grayscale import LINEAR_EXACT, Window, to_display
from gantry_imaging.icons import icon
from gantry_imaging.picture_files import GIF, JPEG, PNG, encode
from gantry_imaging.render import Frame, RenderOptions, frame_durations, render_animation, render_frame
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset


def header(**values):
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


PIXELS = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


def part(region, width=6, height=4):
    return np.asarray(shown_in(Image.fromarray(PIXELS), Viewport(width, height, region)))


def test_a_region_is_cut_out_at_its_own_size_when_the_viewport_has_that():
    assert np.array_equal(part(Region(1, 1, 3, 2), 3, 2), PIXELS[1:3, 1:4])


def test_a_negative_width_or_height_mirrors_the_same_region():
    assert np.array_equal(part(Region(1, 1, -3, 2), 3, 2), PIXELS[1:3, 1:4][:, ::-1])
    assert np.array_equal(part(Region(1, 1, 3, -2), 3, 2), PIXELS[1:3, 1:4][::-1])


def test_a_region_without_size_reaches_to_the_edge():
    assert np.array_equal(part(Region(2, 1), 4, 3), PIXELS[1:, 2:])


def test_what_lies_beyond_the_image_is_left_out_and_nothing_at_all_is_refused():
    assert np.array_equal(part(Region(4, 2, 100, 100), 2, 2), PIXELS[2:, 4:])
    with pytest.raises(BadRequest):
        part(Region(6, 0, 5, 5))


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 300), st.integers(1, 300))
def test_a_picture_fits_into_its_viewport_and_touches_it(rows, columns, width, height):
    shown = shown_in(Image.new("L", (columns, rows)), Viewport(width, height))
    assert shown.width <= width
    assert shown.height <= height
    assert shown.width == width or shown.height == height


@pytest.mark.parametrize(
    ("values", "ratio"),
    [
        ({}, 1),
        ({"PixelAspectRatio": [1, 1]}, 1),
        ({"PixelAspectRatio": [2, 1]}, 2),
        ({"PixelSpacing": [0.5, 1.0]}, 0.5),
        ({"PixelAspectRatio": [2, 1], "PixelSpacing": [1, 1]}, 2),
        ({"PixelSpacing": [0, 1]}, 1),
        ({"PixelSpacing": [1]}, 1),
        ({"PixelSpacing": [0.7001, 0.7]}, 1),
        ({"PixelSpacing": [1000, 1]}, 1),
        ({"PixelSpacing": [1, 2], "TotalPixelMatrixColumns": 5000}, 1),
    ],
)
def test_pixels_are_as_high_for_their_width_as_the_image_says(values, ratio):
    assert pixel_ratio(header(**values)) == ratio


def test_pixels_that_are_not_square_are_made_so():
    attributes = ImageAttributes(4, 6, 1, 8, 8, False, "MONOCHROME2", 0)
    options = RenderOptions(media_type=PNG)
    for ratio, size in (([2, 1], (6, 8)), ([1, 2], (12, 4))):
        data = render_frame(
            Frame(PIXELS, 1, "MONOCHROME2"), attributes, header(PixelAspectRatio=ratio), options
        )
        assert Image.open(BytesIO(data)).size == size


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"FrameTime": 40}, [40, 40, 40]),
        ({"FrameTimeVector": [0, 20, 60]}, [20, 60, 60]),
        ({"RecommendedDisplayFrameRate": 25}, [40, 40, 40]),
        ({"CineRate": 50, "FrameTime": 30}, [30, 30, 30]),
        ({"CineRate": 50}, [20, 20, 20]),
        ({}, [100, 100, 100]),
        ({"FrameTime": 0}, [100, 100, 100]),
        ({"FrameTimeVector": [1, 2]}, [100, 100, 100]),
        ({"FrameTime": 1e12}, [60_000, 60_000, 60_000]),
    ],
)
def test_frames_are_shown_as_long_as_the_image_says(values, expected):
    assert frame_durations(header(**values), 3) == expected


@pytest.mark.parametrize("samples_per_pixel", [1, 3])
def test_an_animation_has_its_frames_and_times(samples_per_pixel):
    photometric = "MONOCHROME2" if samples_per_pixel == 1 else "RGB"
    attributes = ImageAttributes(8, 8, samples_per_pixel, 8, 8, False, photometric, 0)
    shape = (8, 8) if samples_per_pixel == 1 else (8, 8, 3)
    frames = (Frame(np.full(shape, 60 * n, np.uint8), n, photometric) for n in (1, 2, 3))
    data = render_animation(frames, attributes, header(), RenderOptions(media_type=GIF), [40, 80, 1])
    movie = Image.open(BytesIO(data))
    assert (movie.format, movie.n_frames, movie.info["loop"]) == ("GIF", 3, 0)
    shown = []
    for number in range(3):
        movie.seek(number)
        shown.append((movie.info["duration"], movie.convert("L").getpixel((4, 4))))
    assert [duration for duration, _ in shown] == [40, 80, 20]
    assert [level for _, level in shown] == pytest.approx([60, 120, 180], abs=4)


def test_annotations_are_burned_into_corners_of_their_own():
    image = Image.new("L", (400, 300), 128)
    data_set = header(PatientName="Yamada^Tarou=山田^太郎", PatientID="4711", Modality="CT", KVP="120")
    assert annotated(image, data_set, ()) is image
    patient = np.asarray(annotated(image, data_set, ("patient",)))
    technique = np.asarray(annotated(image, data_set, ("technique",)))
    assert (patient[:60] != 128).sum() > 100
    assert (patient[150:] == 128).all()
    assert (technique[-60:] != 128).sum() > 100
    assert (technique[:150] == 128).all()
    both = np.asarray(annotated(image, data_set, ("patient", "technique")))
    assert np.array_equal(both[:150], patient[:150])


@pytest.mark.parametrize(("width", "height"), [(128, 128), (1, 1), (8, 300)])
def test_an_icon_fits_into_what_it_is_asked_for(width, height):
    made = Image.open(BytesIO(icon("STRUCT", width, height, JPEG)))
    assert (made.format, made.size) == ("JPEG", (min(width, height),) * 2)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_png_holds_every_pixel(mode):
    dice = np.random.default_rng(5)
    pixels = dice.integers(0, 256, (37, 41) if mode == "L" else (37, 41, 3), np.uint8)
    made = Image.open(BytesIO(encode(Image.fromarray(pixels), PNG, 90)))
    assert made.mode == mode
    assert np.array_equal(np.asarray(made), pixels)


def test_bits_outside_of_the_sample_change_nothing():
    # Overlays lie in unused bits (PS3.5 8.1.1).
    attributes = ImageAttributes(1, 4, 1, 16, 12, False, "MONOCHROME2", 0)
    window = Window(2048, 4096, LINEAR_EXACT)
    clean = np.array([[0, 100, 2000, 4095]], np.uint16)
    assert np.array_equal(
        to_display(clean | 0x8000, attributes, header(), window),
        to_display(clean, attributes, header(), window),
    )
    assert to_display(clean | 0x8000, attributes, header(), None).tolist() == [[0, 6, 125, 255]]


def test_samples_that_lie_in_the_high_bits_of_their_cells_are_read_from_there():
    attributes = image_attributes(
        header(
            Rows=1,
            Columns=3,
            BitsAllocated=16,
            BitsStored=12,
            HighBit=15,
            PixelRepresentation=1,
            PhotometricInterpretation="MONOCHROME2",
        )
    )
    samples = (np.array([[-2048, 0, 2047]], np.int16) * 16).astype(np.int16)
    shown = to_display(samples, attributes, header(), Window(0, 4096, LINEAR_EXACT))
    assert shown.tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.float32, np.float64])
def test_wide_samples_are_computed_not_looked_up(kind):
    floating = np.issubdtype(kind, np.floating)
    attributes = ImageAttributes(
        1, 3, 1, np.dtype(kind).itemsize * 8, 32, kind == np.int32, "MONOCHROME2", 0, floating
    )
    samples = np.array([[0, 500_000, 1_000_000]], kind)
    assert to_display(samples, attributes, header(), None).tolist() == [[0, 128, 255]]


def test_what_is_no_number_is_dark_and_does_not_count():
    attributes = ImageAttributes(1, 4, 1, 32, 32, False, "MONOCHROME2", 0, floating=True)
    samples = np.array([[np.nan, 1.0, 2.0, np.inf]], np.float32)
    assert to_display(samples, attributes, header(), None).tolist() == [[0, 0, 255, 255]]


def test_a_range_of_padding_does_not_count():
    attributes = ImageAttributes(1, 4, 1, 16, 16, True, "MONOCHROME2", 0)
    samples = np.array([[-2000, -1990, 0, 100]], np.int16)
    shown = to_display(
        samples, attributes, header(PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990), None
    )
    assert shown.tolist() == [[0, 0, 0, 255]]


def test_a_fractional_segmentation_is_white_at_its_maximum():
    attributes = ImageAttributes(1, 3, 1, 8, 8, False, "MONOCHROME2", 0)
    values = header(SegmentationType="FRACTIONAL", MaximumFractionalValue=100)
    assert to_display(np.array([[0, 50, 100]], np.uint8), attributes, values, None).tolist() == [
        [0, 128, 255]
    ]
