"""Accept and Content-Type, as real viewers send them (cases O-14, O-16; statements C01 to C07)."""

import contextlib

import pytest
from gantry_dicom.errors import BadRequest
from gantry_gateway.media_types import choose, parse_accept, parse_media_type
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "text",
    [
        'multipart/related; type="application/dicom"; boundary=b',
        "multipart/related; type=application/dicom; boundary=b",
        "Multipart/Related; TYPE=application/dicom; Boundary=b",
        'multipart/related;type="application/dicom";boundary="b"',
        "multipart/related; type=application/dicom; boundary=b; charset=utf-8;",
    ],
)
def test_quoted_bare_and_mixed_case_parameters_are_alike(text):
    media_type = parse_media_type(text)
    assert media_type.essence == "multipart/related"
    assert media_type.parameters["type"] == "application/dicom"
    assert media_type.parameters["boundary"] == "b"


def test_a_boundary_keeps_its_case_and_its_special_characters():
    assert parse_media_type('multipart/related; boundary="aB\'()+_,-./:=?"').parameters["boundary"] == (
        "aB'()+_,-./:=?"
    )


@pytest.mark.parametrize("text", ["", "text", "text/", "/plain", "a/b; c", "a/b; =c", "a b/c"])
def test_what_is_no_media_type_is_refused(text):
    with pytest.raises(BadRequest):
        parse_media_type(text)


def test_a_parameter_given_twice_is_refused():
    with pytest.raises(BadRequest):
        parse_media_type("application/dicom; transfer-syntax=1; transfer-syntax=2")
    with pytest.raises(BadRequest):
        parse_accept("application/dicom; transfer-syntax=1; transfer-syntax=2", None)


def test_ranges_are_split_outside_quotes_and_sorted_by_quality():
    ranges = parse_accept('a/b;q=0.1, multipart/related; type="x,y"; q=0.9, c/d', None)
    assert [item.essence for item in ranges] == ["c/d", "multipart/related", "a/b"]
    assert ranges[1].parameters["type"] == "x,y"


def test_equal_qualities_keep_the_callers_order():
    assert [item.essence for item in parse_accept("a/b, c/d, e/f", None)] == ["a/b", "c/d", "e/f"]


def test_a_quality_of_zero_is_never_chosen():
    assert choose(parse_accept("application/json;q=0, image/png", None), ["application/json"]) is None


def test_a_range_that_is_not_understood_is_skipped():
    assert [item.essence for item in parse_accept("nonsense, a/b", None)] == ["a/b"]


def test_the_accept_parameter_wins_over_the_header():
    assert [item.essence for item in parse_accept("image/png", "image/jpeg")] == ["image/jpeg"]


@pytest.mark.parametrize("header", [None, "", "  "])
def test_no_accept_means_anything(header):
    assert [item.essence for item in parse_accept(header, None)] == ["*/*"]


def test_the_best_range_decides_and_wildcards_match():
    offered = ["application/dicom+json", "application/json"]
    assert choose(parse_accept("application/json, */*;q=0.5", None), offered) == "application/json"
    assert choose(parse_accept("application/*", None), offered) == "application/dicom+json"
    assert choose(parse_accept("image/tiff", None), offered) is None


@given(st.text(max_size=80))
def test_no_header_crashes_the_parser(text):
    with contextlib.suppress(BadRequest):
        parse_accept(text, None)


@pytest.mark.parametrize("weight", ["nan", "inf", "-1", "1e-3", "0_1", "", "0.5.5", "\u0661"])
def test_a_weight_is_a_decimal_number(weight):
    with pytest.raises(BadRequest):
        parse_media_type(f"image/png; q={weight}")


TOKENS = st.from_regex(r"[A-Za-z0-9!#$&^_.+-]{1,12}", fullmatch=True)
# What a parameter may hold in quotes: also what parts ranges and parameters outside of them.
QUOTED = st.text("abcXYZ019.;,=/ *+-", min_size=1, max_size=20).filter(lambda text: text == text.strip())


@st.composite
def media_ranges(draw):
    """A media range as text, with what it must be read as."""
    kind, subtype = draw(TOKENS).lower(), draw(TOKENS).lower()
    names = draw(st.lists(TOKENS.map(str.lower).filter(lambda name: name != "q"), max_size=3, unique=True))
    values = {name: draw(QUOTED) for name in names}
    quality = draw(st.integers(1, 1000)) / 1000
    space = draw(st.sampled_from(["", " ", "  "]))
    written = "".join(f'{space};{space}{name}="{value}"' for name, value in values.items())
    return f"{kind}/{subtype}{written}{space};{space}q={quality:g}", (f"{kind}/{subtype}", values, quality)


@given(st.lists(media_ranges(), min_size=1, max_size=5))
def test_ranges_are_read_as_they_were_written_whatever_is_in_quotes(ranges):
    found = parse_accept(" , ".join(text for text, _ in ranges), None)
    assert [(one.essence, dict(one.parameters), one.quality) for one in found] == sorted(
        (meant for _, meant in ranges), key=lambda meant: -meant[2]
    )
