"""The query parameters of rendered resources, and what kind of thing an instance is rendered as."""

from contextlib import suppress

import pytest
from gantry_dicom.errors import BadRequest
from gantry_gateway.media_types import parse_accept
from gantry_gateway.render_parameters import parse_render_request, parse_thumbnail_viewport
from gantry_gateway.rendered_kinds import RenderedChoice, choose_rendered, refuse_transfer_syntax
from gantry_imaging.geometry import Region, Viewport
from gantry_imaging.grayscale import Window
from gantry_imaging.picture_files import GIF, JPEG, PNG, RENDERED_TYPES
from hypothesis import given
from hypothesis import strategies as st

THUMBNAIL = Viewport(128, 128)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"quality": "1"}, {"quality": 1}),
        ({"quality": "100"}, {"quality": 100}),
        ({"window": "40,400,linear"}, {"window": Window(40, 400, "LINEAR")}),
        ({"window": "-6e2,1600.5,LINEAR-EXACT"}, {"window": Window(-600, 1600.5, "LINEAR_EXACT")}),
        ({"window": "1,2,sigmoid"}, {"window": Window(1, 2, "SIGMOID")}),
        ({"viewport": "100,50"}, {"viewport": Viewport(100, 50)}),
        ({"viewport": "9,8,1,2,-3,4.5"}, {"viewport": Viewport(9, 8, Region(1, 2, -3, 4.5))}),
        ({"viewport": "9,8,,,3,"}, {"viewport": Viewport(9, 8, Region(0, 0, 3, None))}),
        ({"iccprofile": "sRGB"}, {"icc_profile": "srgb"}),
        ({"annotation": "technique,patient"}, {"annotations": ("patient", "technique")}),
        ({"colour": "mauve"}, {"warnings": ()}),
    ],
)
def test_a_parameter_means_what_the_standard_says(parameters, expected):
    asked = parse_render_request(parameters)
    assert {name: getattr(asked, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("quality", text) for text in ("", "0", "101", "1.5", "9" * 5000, "+1", "\u0661")),
        *(("window", text) for text in ("", "1,2", "1,2,3", "1,0,linear", "inf,1,linear", "1,2,linear,3")),
        *(
            ("viewport", text)
            for text in (
                "",
                "1",
                "0,1",
                "1,2,3",
                "nan,1",
                "8193,1",
                "8192,8192",
                "1,1,0,0,0,1",
                "1,1,-1,0,1,1",
                ",1",
            )
        ),
        *(("iccprofile", text) for text in ("", "cmyk", "yes,no")),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(name, text):
    with pytest.raises(BadRequest):
        parse_render_request({name: text})


@given(st.sampled_from(["quality", "window", "viewport", "iccprofile", "annotation"]), st.text(max_size=30))
def test_any_text_is_read_or_refused(name, text):
    with suppress(BadRequest):
        assert parse_render_request({name: text}).quality in range(1, 101)


def test_an_unknown_annotation_is_left_out_and_said_so():
    asked = parse_render_request({"annotation": "patient,horoscope"})
    assert asked.annotations == ("patient",)
    assert len(asked.warnings) == 1


def test_a_type_without_profiles_refuses_one():
    asked = parse_render_request({"iccprofile": "srgb"})
    assert asked.options(PNG).icc_profile == "srgb"
    with pytest.raises(BadRequest):
        asked.options(GIF)


def test_a_thumbnail_has_a_size_and_no_region():
    assert parse_thumbnail_viewport(None, THUMBNAIL) == THUMBNAIL
    assert parse_thumbnail_viewport("32,16", THUMBNAIL) == Viewport(32, 16)
    with pytest.raises(BadRequest):
        parse_thumbnail_viewport("32,16,0,0,1,1", THUMBNAIL)


@pytest.mark.parametrize(
    ("accept", "single", "many"),
    [
        ("*/*", (JPEG, True), (JPEG, False)),
        ("image/*", (JPEG, True), None),
        (PNG, (PNG, True), None),
        (f'multipart/related; type="{PNG}"', (PNG, False), (PNG, False)),
        ("multipart/related", (JPEG, False), (JPEG, False)),
        (f"{PNG};q=0.5, {GIF}", (GIF, True), None),
        ("application/json", None, None),
        ('multipart/related; type="application/dicom"', None, None),
        (f'image/tiff, multipart/related; type="{GIF}"', (GIF, False), (GIF, False)),
    ],
)
def test_the_best_range_decides_the_type_and_whether_it_comes_alone(accept, single, many):
    ranges = parse_accept(accept, None)
    for single_allowed, expected in ((True, single), (False, many)):
        choice = choose_rendered(ranges, RENDERED_TYPES, single_allowed=single_allowed)
        assert choice == (None if expected is None else RenderedChoice(*expected))


def test_a_transfer_syntax_is_refused_wherever_it_stands():
    refuse_transfer_syntax(parse_accept("image/jpeg, */*", None))
    with pytest.raises(BadRequest):
        refuse_transfer_syntax(parse_accept("image/png, image/jpeg; transfer-syntax=*", None))
