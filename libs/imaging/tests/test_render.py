"""Rendering: what is bright, what is dark, and what happens without a window."""

from io import BytesIO

import numpy as np
import pytest
from gantry_dicom.errors import BadRequest
from gantry_imaging.attributes import ImageAttributes, image_attributes
from gantry_imaging.colour import coded_photometric
from gantry_imaging.decode import decode_frame
from gantry_imaging.functional_groups import frame_header
from gantry_imaging.geometry import Region, Viewport, pixel_ratio
from gantry_imaging.grayscale import LINEAR_EXACT, SIGMOID, Window, to_display
from gantry_imaging.picture_files import GIF, JP2, JPEG, JXL, PNG
from gantry_imaging.render import Frame, RenderOptions, render_frame
from gantry_testing import datapack
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

GRAY = ImageAttributes(64, 64, 1, 16, 12, False, "MONOCHROME2", 0)
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def gray(photometric):
    return ImageAttributes(64, 64, 1, 16, 12, False, photometric, 0)


def frame(samples, number=1, photometric="MONOCHROME2"):
    return Frame(samples, number, photometric)


def header(**values):
    data_set = Dataset()
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    return data_set


def test_a_window_over_the_whole_range_is_a_ramp_from_black_to_white():
    shown = to_display(RAMP, GRAY, header(WindowCenter=2048, WindowWidth=4096), None).reshape(-1)
    assert shown[0] == 0
    assert shown[-1] == 255
    assert (np.diff(shown.astype(int)) >= 0).all()


@pytest.mark.parametrize("shape", [None, "INVERSE", "IDENTITY"])
def test_monochrome1_is_inverted_exactly_once_whatever_the_presentation_lut_shape(shape):
    # Case O-22; the contradictory IDENTITY follows the photometric interpretation.
    values = {"WindowCenter": 2048, "WindowWidth": 4096}
    if shape:
        values["PresentationLUTShape"] = shape
    shown = to_display(RAMP, gray("MONOCHROME1"), header(**values), None).reshape(-1)
    assert shown[0] == 255
    assert shown[-1] == 0
    assert (np.diff(shown.astype(int)) <= 0).all()


def test_rescale_comes_before_the_window():
    values = header(RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=0, WindowWidth=2)
    shown = to_display(RAMP, GRAY, values, None).reshape(-1)
    assert shown[511] == 0
    assert shown[513] == 255


def test_a_requested_window_wins_over_the_stored_one():
    values = header(WindowCenter=2048, WindowWidth=4096)
    shown = to_display(RAMP, GRAY, values, Window(10, 4)).reshape(-1)
    assert shown[20] == 255


def test_a_stored_width_of_zero_falls_back_to_the_range_of_values():
    shown = to_display(RAMP, GRAY, header(WindowCenter=5, WindowWidth=0), None)
    assert shown.min() == 0
    assert shown.max() == 255


def test_without_a_window_padding_does_not_stretch_the_range():
    samples = np.full((64, 64), 63536, np.uint16)
    samples[10:20, 10:20] = np.arange(100, 200).reshape(10, 10)
    attributes = ImageAttributes(64, 64, 1, 16, 16, False, "MONOCHROME2", 0)
    shown = to_display(samples, attributes, header(PixelPaddingValue=63536), None)
    assert shown[10, 10] == 0
    assert shown[19, 19] == 255


def test_an_image_of_one_value_is_shown_without_an_error():
    samples = np.full((64, 64), 7, np.uint16)
    assert to_display(samples, GRAY, header(), None).shape == (64, 64)


def test_window_functions_differ_as_the_standard_says():
    x = np.array([[0.0, 50.0, 100.0]])
    attributes = ImageAttributes(1, 3, 1, 32, 32, False, "MONOCHROME2", 0, floating=True)
    exact = to_display(x, attributes, header(), Window(50, 100, LINEAR_EXACT))[0]
    sigmoid = to_display(x, attributes, header(), Window(50, 100, SIGMOID))[0]
    assert list(exact) == [0, 128, 255]
    assert sigmoid[1] == 128
    assert 0 < sigmoid[0] < sigmoid[1] < sigmoid[2] < 255


@pytest.mark.parametrize(
    ("width", "function"), [(0, "LINEAR"), (0.5, "LINEAR"), (0, "SIGMOID"), (1, "CURVED")]
)
def test_an_impossible_window_is_the_callers_error(width, function):
    with pytest.raises(BadRequest):
        Window(10, width, function)


def test_functional_groups_of_the_frame_apply():
    item = header(WindowCenter=7, WindowWidth=2)
    group = header(FrameVOILUTSequence=[item])
    data_set = header(PerFrameFunctionalGroupsSequence=[Dataset(), group])
    assert frame_header(data_set, 2).WindowCenter == 7
    assert "WindowCenter" not in frame_header(data_set, 1)


@pytest.mark.parametrize(
    ("media_type", "name"), [(JPEG, "JPEG"), (PNG, "PNG"), (GIF, "GIF"), (JP2, "JPEG2000")]
)
def test_each_media_type_is_what_it_says(media_type, name):
    data = render_frame(frame(RAMP), GRAY, header(), RenderOptions(media_type=media_type))
    assert Image.open(BytesIO(data)).format == name


def test_jpeg_xl_is_a_codestream_or_container_of_its_own():
    data = render_frame(frame(RAMP), GRAY, header(), RenderOptions(media_type=JXL, quality=100))
    assert data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL "))


def test_a_viewport_keeps_the_aspect_ratio_and_shows_the_part_asked_for():
    options = RenderOptions(media_type=PNG, viewport=Viewport(100, 50, Region(0, 32, 64, 32)))
    shown = Image.open(BytesIO(render_frame(frame(RAMP), GRAY, header(), options)))
    assert shown.size == (100, 50)
    assert min(shown.get_flattened_data()) > 100


VIDEO = "1.2.840.10008.1.2.4.10"


def images_of_the_pack():
    return [
        file
        for file in datapack.files("good")
        if file.entry.get("pixels") and not file.entry["transfer_syntax"].startswith(VIDEO)
    ]


@pytest.mark.parametrize("file", images_of_the_pack(), ids=lambda file: file.name)
def test_every_good_image_of_the_pack_renders(file):
    data_set = dcmread(file.path, force=True)
    attributes = image_attributes(data_set, floating="FloatPixelData" in data_set)
    coded = _first_frame(data_set)
    samples = decode_frame(coded, file.entry["transfer_syntax"], attributes)
    shown = Frame(samples, 1, coded_photometric(attributes, coded, file.entry["transfer_syntax"]))
    picture = render_frame(shown, attributes, data_set, RenderOptions(media_type=PNG))
    size = Image.open(BytesIO(picture)).size
    ratio = pixel_ratio(frame_header(data_set, 1))
    assert size[1] / size[0] == pytest.approx(attributes.rows * ratio / attributes.columns, rel=2 / min(size))
    assert max(size) >= max(attributes.columns, attributes.rows)


def _first_frame(data_set):
    for keyword in ("FloatPixelData", "DoubleFloatPixelData"):
        if keyword in data_set:
            return data_set.get(keyword)
    if not data_set["PixelData"].is_undefined_length:
        return data_set.PixelData
    count = int(data_set.get("NumberOfFrames", 1) or 1)
    return next(generate_frames(data_set.PixelData, number_of_frames=count))
