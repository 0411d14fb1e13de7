"""The statements R01 to R04 and R07 to R13: images as pictures (PS3.18 8.3.5, 8.7.4; PS3.4 N.2)."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from gantry_testing.synthetic.studies import make_series, stream_series
from gantry_testing.synthetic.values import Instance, Study
from gantry_testing.web import decode_multipart
from pydicom.dataset import Dataset

from gantry_cli.conformance.pictures import (
    GIF,
    JPEG,
    PNG,
    RAMP,
    SIDE,
    altered,
    expect_levels,
    gray,
    picture,
    ramp,
)
from gantry_cli.conformance.server import Server, path_of, series_path_of, study_path_of
from gantry_cli.conformance.statements import expect, statement

_WARNING = re.compile(r"299 ")
_SOF0 = b"\xff\xc0"
_ICC = {JPEG: b"ICC_PROFILE\0", PNG: b"iCCP"}


def _linear(values: np.ndarray, center: float, width: float) -> np.ndarray:
    return ((values - (center - 0.5)) / (width - 1) + 0.5) * 255


@statement("R01", "PS3.18 8.7.4")
def a_frame_is_jpeg_by_default_and_png_or_gif_when_asked_for(server: Server) -> None:
    """The default rendered type of a single frame is image/jpeg (baseline); PNG and GIF work too."""
    path = path_of(ramp(server)) + "/rendered"
    for accept, media_type, kind in (
        (None, JPEG, "JPEG"),
        ("*/*", JPEG, "JPEG"),
        ("image/*", JPEG, "JPEG"),
        (JPEG, JPEG, "JPEG"),
        (PNG, PNG, "PNG"),
        (GIF, GIF, "GIF"),
        (f"{PNG}; q=0.9, {JPEG}; q=0.1", PNG, "PNG"),
    ):
        answer = server.get(path, accept)
        found = answer.headers.get("content-type", "").partition(";")[0]
        shown = picture(answer)
        expect((found, shown.format) == (media_type, kind), f"{accept} gave {found} holding {shown.format}")
    expect(_SOF0 in server.get(path, JPEG).content, "the JPEG is not baseline")


@statement("R02", "PS3.18 8.7.4")
def pictures_have_eight_bits_a_channel(server: Server) -> None:
    """No channel of a rendered picture has more than 8 bits, whatever the image has."""
    path = path_of(ramp(server)) + "/rendered"
    jpeg, png = server.get(path, JPEG).content, server.get(path, PNG).content
    start = jpeg.find(_SOF0)
    expect(start >= 0 and jpeg[start + 4] == 8, "the JPEG does not have 8 bits a sample")
    expect(png[24] <= 8, f"the PNG has {png[24]} bits a sample")


@statement("R03", "PS3.18 8.7.4")
def a_rendered_type_has_no_transfer_syntax(server: Server) -> None:
    """A transfer-syntax parameter on a rendered media type is refused."""
    path = path_of(ramp(server)) + "/rendered"
    answer = server.get(path, f"{JPEG}; transfer-syntax=1.2.840.10008.1.2.4.50")
    expect(answer.status_code in {400, 406}, f"answered {answer.status_code}")


@statement("R04", "PS3.18 10.4.4")
def many_images_are_many_parts(server: Server) -> None:
    """A study or series is rendered in multipart, one part an image; single-part types alone are 406."""
    instances = server.kind("MR", instances=3)
    for path in (series_path_of(instances[0]), study_path_of(instances[0])):
        refused = server.get(path + "/rendered", JPEG)
        expect(refused.status_code == 406, f"{path}/rendered as {JPEG} answered {refused.status_code}")
        for media_type in (JPEG, PNG):
            answer = server.get(path + "/rendered", f'multipart/related; type="{media_type}"')
            expect(answer.status_code == 200, f"{path}/rendered answered {answer.status_code}")
            parts = decode_multipart(answer.headers["content-type"], answer.content)
            types = [part.headers.get("content-type", "").partition(";")[0] for part in parts]
            expect(types == [media_type] * 3, f"{path}/rendered gave {types} for 3 images")


@statement("R07", "PS3.18 8.3.5.1.2")
def quality_is_a_number_from_1_to_100(server: Server) -> None:
    """Quality is 1 to 100, anything else is 400; it changes JPEG and not PNG."""
    path = path_of(ramp(server)) + "/rendered"
    for wrong in ("0", "101", "-1", "best", "50.5", ""):
        answer = server.get(path, JPEG, [("quality", wrong)])
        expect(answer.status_code == 400, f"quality={wrong} answered {answer.status_code}")
    low, high = (server.get(path, JPEG, [("quality", text)]) for text in ("1", "100"))
    picture(low)
    expect(len(low.content) < len(picture(high).tobytes()), "quality=1 is not smaller")
    expect(len(low.content) < len(high.content), "quality=1 is no smaller than quality=100")
    png = [server.get(path, PNG, [("quality", text)]).content for text in ("1", "100")]
    expect(png[0] == png[1], "quality changes a PNG")


def _wide(study: Study) -> list[Instance]:
    return list(stream_series(make_series(study), "SC", size=(48, 96)))


@statement("R08", "PS3.18 8.3.5.1.3")
def the_viewport_scales_and_its_region_crops_first(server: Server) -> None:
    """A viewport keeps the aspect ratio; a source region is cut out first, and may be mirrored."""
    [wide] = server.sample("wide", _wide)
    path = path_of(wide) + "/rendered"
    for viewport, size in (("48,48", (48, 24)), ("192,200", (192, 96)), ("10,100,0,0,48,48", (10, 10))):
        fitted = picture(server.get(path, PNG, [("viewport", viewport)]))
        expect(fitted.size == size, f"viewport={viewport} of 96x48 gave {fitted.size}")
    path = path_of(ramp(server)) + "/rendered"
    window = ("window", "2048,4096,linear")
    whole = gray(server.get(path, PNG, [window]))
    for viewport, part in (
        (f"{SIDE},{SIDE // 2},0,32,64,32", whole[32:]),
        ("16,16,8,4,16,16", whole[4:20, 8:24]),
        ("16,16,8,4,-16,16", whole[4:20, 8:24][:, ::-1]),
        ("16,16,8,4,16,-16", whole[4:20, 8:24][::-1]),
        ("56,60,8,4,,", whole[4:, 8:]),
    ):
        shown = gray(server.get(path, PNG, [window, ("viewport", viewport)]))
        expect_levels(shown, part, f"viewport={viewport}")
    for wrong in ("", "0,10", "10", "10,10,1", "10,10,0,0,0,5", "a,b", "999999999,10", "10,10,900,900,5,5"):
        answer = server.get(path, PNG, [("viewport", wrong)])
        expect(answer.status_code == 400, f"viewport={wrong} answered {answer.status_code}")
    thumbnail = path_of(wide) + "/thumbnail"
    small = picture(server.get(thumbnail, JPEG, [("viewport", "32,32")]))
    expect(small.size == (32, 16), f"a thumbnail for 32,32 is {small.size}")
    refused = server.get(thumbnail, JPEG, [("viewport", "32,32,0,0,10,10")])
    expect(refused.status_code == 400, f"a thumbnail of a region answered {refused.status_code}")


@statement("R09", "PS3.18 8.3.5.1.4; PS3.3 C.11.2.1.2, C.11.2.1.3")
def a_window_is_centre_width_and_shape(server: Server) -> None:
    """Window takes centre, width and linear, linear-exact or sigmoid, computed as PS3.3 says."""
    path = path_of(ramp(server)) + "/rendered"
    values = RAMP.astype(float)
    for window, expected in (
        ("2000,1000,linear", _linear(values, 2000, 1000)),
        ("2000.5,333,linear", _linear(values, 2000.5, 333)),
        ("2000,1000,linear-exact", ((values - 2000) / 1000 + 0.5) * 255),
        ("2000,1000,sigmoid", 255 / (1 + np.exp(-4 * (values - 2000) / 1000))),
    ):
        shown = gray(server.get(path, PNG, [("window", window)]))
        expect_levels(shown, expected, f"window={window}")
    for wrong in (
        "40",
        "40,400",
        "40,400,curved",
        "a,b,linear",
        "40,0,linear",
        "nan,400,linear",
        "1,2,3,4",
        "",
    ):
        answer = server.get(path, PNG, [("window", wrong)])
        expect(answer.status_code == 400, f"window={wrong} answered {answer.status_code}")


@statement("R10", "PS3.4 N.2; PS3.3 C.11.1, C.11.2, C.7.6.3.1.2")
def without_a_window_the_image_says_how_it_is_shown(server: Server) -> None:
    """Modality LUT or rescale, then the image's VOI LUT or window; MONOCHROME1 is inverted once."""
    values = RAMP.astype(float)
    windowed = {"WindowCenter": 40, "WindowWidth": 400, "RescaleSlope": 2, "RescaleIntercept": -1024}
    expected = _linear(values * 2 - 1024, 40, 400)
    path = path_of(ramp(server, "rescaled ramp", **windowed)) + "/rendered"
    expect_levels(gray(server.get(path, PNG)), expected, "rescale and window")
    several = {
        "WindowCenter": [40, 2000],
        "WindowWidth": [400, 4000],
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
    }
    path = path_of(ramp(server, "ramp of two windows", **several)) + "/rendered"
    expect_levels(gray(server.get(path, PNG)), _linear(values, 40, 400), "the first of two windows")
    for shape in ({}, {"PresentationLUTShape": "INVERSE"}, {"PresentationLUTShape": "IDENTITY"}):
        attributes = {"PhotometricInterpretation": "MONOCHROME1", **windowed, **shape}
        path = path_of(ramp(server, f"inverse ramp {shape}", **attributes)) + "/rendered"
        shown = gray(server.get(path, PNG))
        expect_levels(shown, 255 - np.clip(expected, 0, 255), f"MONOCHROME1 with {shape}")
    curve = np.round(np.sqrt(np.arange(4096) / 4095) * 65535).astype("<u2")
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [4096, 0, 16], curve.tobytes()
    path = path_of(ramp(server, "ramp with a VOI LUT", VOILUTSequence=[lut])) + "/rendered"
    expect_levels(gray(server.get(path, PNG)), curve[RAMP] / 65535 * 255, "a VOI LUT")
    modality = Dataset()
    modality.LUTDescriptor, modality.ModalityLUTType = [4096, 0, 16], "US"
    modality.LUTData = (4095 - np.arange(4096)).astype("<u2").tobytes()
    attributes = {"ModalityLUTSequence": [modality], "WindowCenter": 2048, "WindowWidth": 4096}
    path = path_of(ramp(server, "ramp with a Modality LUT", **attributes)) + "/rendered"
    expect_levels(gray(server.get(path, PNG)), _linear(4095 - values, 2048, 4096), "a Modality LUT")


@statement("R11", "PS3.18 8.3.5.1.1")
def nothing_is_written_on_a_picture_unless_asked_for(server: Server) -> None:
    """Annotations are burned in only on request; an unknown keyword is left out with a warning."""
    path = path_of(ramp(server)) + "/rendered"
    large = ("viewport", "512,512")
    plain = server.get(path, PNG, [large])
    for keyword in ("patient", "technique"):
        written = server.get(path, PNG, [large, ("annotation", keyword)])
        expect(bool((gray(written) != gray(plain)).any()), f"annotation={keyword} writes nothing")
        expect("warning" not in written.headers, f"annotation={keyword} is warned of")
    unknown = server.get(path, PNG, [large, ("annotation", "horoscope")])
    expect(bool(_WARNING.match(unknown.headers.get("warning", ""))), "an unknown annotation is not warned of")
    expect(bool((gray(unknown) == gray(plain)).all()), "an unknown annotation changes the picture")


@statement("R12", "PS3.18 8.3.5.1.5")
def the_icc_profile_is_the_one_asked_for(server: Server) -> None:
    """Iccprofile is no, yes, srgb, adobergb or rommrgb; others are 400; all but no embed a profile."""
    [instance] = server.kind("SC_COLOUR")
    path = path_of(instance) + "/rendered"
    for media_type, mark in _ICC.items():
        none = server.get(path, media_type, [("iccprofile", "no")])
        picture(none)
        expect(mark not in none.content, f"iccprofile=no embeds one in {media_type}")
        profiles = set()
        for name in ("yes", "srgb", "adobergb", "rommrgb"):
            profile = picture(server.get(path, media_type, [("iccprofile", name)])).info.get("icc_profile")
            expect(bool(profile), f"iccprofile={name} embeds none in {media_type}")
            profiles.add(profile)
        expect(len(profiles) >= 3, "spaces of different names have the same profile")
    answer = server.get(path, PNG, [("iccprofile", "cmyk")])
    expect(answer.status_code == 400, f"iccprofile=cmyk answered {answer.status_code}")


@statement("R13", "PS3.18 8.3.5.1; PS3.4 N.2")
def the_state_comes_first_then_the_region_then_the_viewport(server: Server) -> None:
    """A presentation state is applied, then the source region is cut out of that, then it is scaled."""
    image = ramp(server)
    [state] = server.sample("quarter turn", lambda study: [quarter_turn(image, study)])
    window = ("window", "2048,4096,linear")
    turned = np.rot90(_linear(RAMP.astype(float), 2048, 4096), -1)
    path = path_of(state) + "/rendered"
    expect_levels(gray(server.get(path, PNG, [window])), turned, "a picture turned by a state")
    shown = gray(server.get(path, PNG, [window, ("viewport", "32,16,0,0,32,16")]))
    expect_levels(shown, turned[:16, :32], "a region of a picture turned by a state")


def quarter_turn(image: Instance, study: Study) -> Instance:
    """Return a presentation state, in the image's study, that turns it a quarter clockwise."""
    [template] = stream_series(make_series(study), "PR")

    def change(data_set: Dataset) -> None:
        data_set.StudyInstanceUID = image.study_uid
        for keyword in (
            "GraphicAnnotationSequence",
            "GraphicLayerSequence",
            "DisplayedAreaSelectionSequence",
            "SoftcopyVOILUTSequence",
            "RescaleIntercept",
            "RescaleSlope",
            "RescaleType",
        ):
            delattr(data_set, keyword)
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = (
            image.sop_class_uid,
            image.sop_uid,
        )
        [series] = data_set.ReferencedSeriesSequence
        series.SeriesInstanceUID, series.ReferencedImageSequence = image.series_uid, [reference]
        data_set.ImageRotation, data_set.ImageHorizontalFlip = 90, "N"

    made = altered(template, change)
    return replace(made, series=replace(made.series, study=image.series.study))
