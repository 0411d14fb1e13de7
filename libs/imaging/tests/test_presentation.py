"""Presentation states on their images (PS3.4 N.2): the pack's test patterns and hand-made states."""

from io import BytesIO

import numpy as np
import pytest
from gantry_imaging.attributes import ImageAttributes, image_attributes, read_header
from gantry_imaging.decode import decode_frame
from gantry_imaging.picture_files import PNG
from gantry_imaging.render import Frame, RenderOptions, render_frame
from gantry_testing import datapack
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

UID = "1.2.3"
ATTRIBUTES = ImageAttributes(40, 60, 1, 8, 8, False, "MONOCHROME2", 0)
# Brightness says where a pixel is: rows in steps of 5, columns of 1.
SAMPLES = (np.arange(40)[:, None] * 5 + np.arange(60)).astype(np.uint8)
STATES = {
    "grayscale": "1.2.840.10008.5.1.4.1.1.11.1",
    "pseudo-colour": "1.2.840.10008.5.1.4.1.1.11.3",
}


def data_set(**values):
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def state(kind="grayscale", **values):
    return data_set(SOPClassUID=STATES[kind], PresentationLUTShape="IDENTITY", **values)


def shown(made, samples=SAMPLES, attributes=ATTRIBUTES, number=1, **header):
    picture = render_frame(
        Frame(samples, number, attributes.photometric_interpretation),
        attributes,
        data_set(SOPInstanceUID=UID, **header),
        RenderOptions(media_type=PNG),
        made,
    )
    return np.asarray(Image.open(BytesIO(picture)))


def pack(image, presentation):
    files = {file.name: file for file in datapack.files("good")}
    data = files[image].read()
    header = read_header(data)
    attributes = image_attributes(header)
    samples = decode_frame(
        dcmread(BytesIO(data)).PixelData, files[image].entry["transfer_syntax"], attributes
    )
    frame = Frame(samples, 1, attributes.photometric_interpretation)
    made = None if presentation is None else read_header(files[presentation].read())
    picture = render_frame(frame, attributes, header, RenderOptions(media_type=PNG), made)
    return np.asarray(Image.open(BytesIO(picture)))


def test_three_scrambled_tables_in_turn_unscramble_the_test_pattern():
    # Modality LUT, VOI LUT and presentation LUT of the state undo what was done to the image.
    picture = pack("weasis/imageForPrLUTs.dcm", "weasis/prLUTs.dcm").astype(int)
    upper = picture[:240]
    assert (np.diff(upper, axis=1) >= 0).all()
    assert (upper[:, 0].max(), upper[:, -1].min()) == (0, 255)
    assert len(np.unique(upper)) == 256


def test_overlays_of_the_image_and_of_the_state_are_shown_where_they_are_activated():
    # Lines of text: 1 and 2 lie in bits of the pixel data, 3 and 4 in the image, 5 and 6 in the state.
    lines = [
        slice(130, 148),
        slice(173, 190),
        slice(215, 232),
        slice(257, 274),
        slice(300, 316),
        slice(342, 358),
    ]
    own = pack("weasis/overlay.dcm", None)
    both = pack("weasis/overlay.dcm", "weasis/prOverlay.dcm")
    assert [bool((own[line] == 255).sum() > 200) for line in lines] == [True] * 4 + [False] * 2
    assert [bool((both[line] == 255).sum() > 200) for line in lines] == [True] * 6


@pytest.mark.parametrize(
    ("rotation", "flip", "expected"),
    [
        (0, "N", SAMPLES),
        (90, "N", np.rot90(SAMPLES, -1)),
        (180, "N", np.rot90(SAMPLES, 2)),
        (270, "N", np.rot90(SAMPLES, 1)),
        (0, "Y", SAMPLES[:, ::-1]),
        (90, "Y", np.rot90(SAMPLES, -1)[:, ::-1]),
    ],
)
def test_the_image_is_turned_clockwise_and_then_flipped(rotation, flip, expected):
    assert np.array_equal(shown(state(ImageRotation=rotation, ImageHorizontalFlip=flip)), expected)


def area(left, top, right, bottom, **more):
    item = data_set(
        DisplayedAreaTopLeftHandCorner=[left, top],
        DisplayedAreaBottomRightHandCorner=[right, bottom],
        PresentationSizeMode="SCALE TO FIT",
        **more,
    )
    return state(DisplayedAreaSelectionSequence=[item])


def test_the_displayed_area_is_cut_out_whichever_corner_is_which():
    assert np.array_equal(shown(area(11, 6, 30, 25)), SAMPLES[5:25, 10:30])
    assert np.array_equal(shown(area(30, 25, 11, 6)), SAMPLES[5:25, 10:30])


def test_an_area_beyond_the_image_is_black_there():
    picture = shown(area(-4, 1, 60, 40))
    assert picture.shape == (40, 65)
    assert not picture[:, :5].any()
    assert np.array_equal(picture[:, 5:], SAMPLES)


def test_an_absurd_area_shows_the_whole_image():
    assert np.array_equal(shown(area(-2_000_000_000, 1, 2_000_000_000, 40)), SAMPLES)


def test_a_magnification_is_bounded():
    item = area(1, 1, 60, 40).DisplayedAreaSelectionSequence[0]
    item.PresentationSizeMode, item.PresentationPixelMagnificationRatio = "MAGNIFY", 2.0
    assert shown(state(DisplayedAreaSelectionSequence=[item])).shape == (80, 120)
    item.PresentationPixelMagnificationRatio = 1e9
    assert max(shown(state(DisplayedAreaSelectionSequence=[item])).shape) == 8192


def test_what_the_state_leaves_out_is_the_identity_whatever_the_image_has():
    # PS3.4 N.2 and N.2.1.4: neither the image's rescale and window nor its polarity count.
    inverse = ImageAttributes(40, 60, 1, 8, 8, False, "MONOCHROME1", 0)
    header = {"WindowCenter": 5, "WindowWidth": 2, "RescaleSlope": 3, "RescaleIntercept": 7}
    assert np.array_equal(shown(state(), attributes=inverse, **header), SAMPLES)
    picture = shown(data_set(SOPClassUID=STATES["grayscale"], PresentationLUTShape="INVERSE"))
    assert np.array_equal(picture, 255 - SAMPLES)


def test_a_softcopy_window_applies_to_the_frames_that_it_names():
    reference = data_set(ReferencedSOPInstanceUID=UID, ReferencedFrameNumber=[2, 3])
    window = data_set(ReferencedImageSequence=[reference], WindowCenter=100, WindowWidth=1)
    made = state(SoftcopyVOILUTSequence=[window])
    assert np.array_equal(shown(made, number=1), SAMPLES)
    assert set(np.unique(shown(made, number=2))) == {0, 255}
    reference.ReferencedSOPInstanceUID = "1.2.4"
    assert np.array_equal(shown(made, number=2), SAMPLES)


def test_pseudo_colour_is_a_palette_over_the_grayscale_result():
    ramp = np.arange(256, dtype=np.uint16) * 257
    made = state(
        "pseudo-colour",
        **{f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in ("Red", "Green", "Blue")},
        RedPaletteColorLookupTableData=ramp.tobytes(),
        GreenPaletteColorLookupTableData=(65535 - ramp).tobytes(),
        BluePaletteColorLookupTableData=bytes(512),
    )
    picture = shown(made)
    assert np.array_equal(picture, np.stack([SAMPLES, 255 - SAMPLES, 0 * SAMPLES], axis=2))


def test_shutters_cover_what_lies_outside():
    made = state(
        ShutterShape=["RECTANGULAR", "CIRCULAR"],
        ShutterLeftVerticalEdge=11,
        ShutterRightVerticalEdge=50,
        ShutterUpperHorizontalEdge=1,
        ShutterLowerHorizontalEdge=40,
        CenterOfCircularShutter=[20, 30],
        RadiusOfCircularShutter=15,
        ShutterPresentationValue=0xFFFF,
    )
    picture = shown(made)
    rows, columns = np.mgrid[1:41, 1:61]
    inside = (columns >= 11) & (columns <= 50) & ((rows - 20) ** 2 + (columns - 30) ** 2 <= 15**2)
    assert np.array_equal(picture, np.where(inside, SAMPLES, 255))


def test_a_polygonal_shutter_keeps_its_inside():
    made = state(ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=[10, 10, 10, 50, 30, 50, 30, 10])
    picture = shown(made)
    assert np.array_equal(picture[10:29, 10:49], SAMPLES[10:29, 10:49])
    assert not picture[:8].any()
    assert not picture[:, 52:].any()


def test_a_bitmap_shutter_is_an_overlay_that_covers():
    bits = np.zeros((40, 60), np.uint8)
    bits[:10] = 1
    made = state(ShutterShape="BITMAP", ShutterOverlayGroup=0x6000)
    for element, vr, value in (
        (0x10, "US", 40),
        (0x11, "US", 60),
        (0x40, "CS", "G"),
        (0x50, "SS", [1, 1]),
        (0x100, "US", 1),
        (0x102, "US", 0),
        (0x3000, "OB", np.packbits(bits.reshape(-1), bitorder="little").tobytes()),
    ):
        made.add_new((0x6000, element), vr, value)
    picture = shown(made)
    assert not picture[:10].any()
    assert np.array_equal(picture[10:], SAMPLES[10:])


def graphic(kind, data, units="PIXEL", filled="N"):
    item = data_set(
        GraphicAnnotationUnits=units,
        GraphicDimensions=2,
        NumberOfGraphicPoints=len(data) // 2,
        GraphicData=data,
        GraphicType=kind,
        GraphicFilled=filled,
    )
    return state(
        GraphicLayerSequence=[data_set(GraphicLayer="A", GraphicLayerOrder=1)],
        GraphicAnnotationSequence=[data_set(GraphicLayer="A", GraphicObjectSequence=[item])],
    )


def test_a_line_is_drawn_from_point_to_point_and_turns_with_the_image():
    made = graphic("POLYLINE", [10.0, 20.0, 30.0, 20.0])
    assert (shown(made)[20, 10:30] == 255).all()
    made.ImageRotation, made.ImageHorizontalFlip = 90, "N"
    assert (shown(made)[11:30, 20] == 255).all()


def test_display_units_are_fractions_of_the_area():
    assert (shown(graphic("POLYLINE", [0.0, 0.5, 1.0, 0.5], "DISPLAY"))[20] == 255).all()


def test_a_circle_is_round_its_centre_and_filled_when_it_says_so():
    picture = shown(graphic("CIRCLE", [30.0, 20.0, 40.0, 20.0], filled="Y"))
    assert picture[20, 30] == 255
    assert picture[20, 38] == 255
    assert picture[20, 45] == SAMPLES[20, 45]
    assert shown(graphic("CIRCLE", [30.0, 20.0, 40.0, 20.0]))[20, 30] == SAMPLES[20, 30]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("ELLIPSE", [10.0, 20.0, 50.0, 20.0, 30.0, 10.0, 30.0, 30.0]),
        ("INTERPOLATED", [10.0, 20.0, 20.0, 10.0, 30.0, 30.0, 50.0, 20.0]),
    ],
)
def test_curves_go_through_their_points(kind, data):
    picture = shown(graphic(kind, data))
    for x, y in zip(data[::2], data[1::2], strict=True):
        neighbourhood = picture[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2]
        assert (neighbourhood == 255).any()


def test_text_is_written_where_its_box_or_anchor_is():
    box = data_set(
        UnformattedTextValue="HERE",
        BoundingBoxAnnotationUnits="PIXEL",
        BoundingBoxTopLeftHandCorner=[2.0, 2.0],
        BoundingBoxBottomRightHandCorner=[40.0, 16.0],
        BoundingBoxTextHorizontalJustification="LEFT",
    )
    made = state(GraphicAnnotationSequence=[data_set(GraphicLayer="A", TextObjectSequence=[box])])
    picture = shown(made)
    assert (picture[2:18, 2:42] != SAMPLES[2:18, 2:42]).sum() > 50
    assert picture[2:18, 2:42].max() > 200
    assert np.array_equal(picture[25:], SAMPLES[25:])


@given(
    st.lists(st.floats(allow_nan=True, width=32), max_size=12),
    st.sampled_from(["POINT", "CIRCLE", "ELLIPSE"]),
)
def test_no_graphic_data_breaks_a_picture(data, kind):
    assert shown(graphic(kind, data)).shape == SAMPLES.shape
