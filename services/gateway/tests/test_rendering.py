"""Rendered resources over HTTP against the whole archive (PS3.18 10.4.1.1.3, 10.4.1.1.4)."""

import io
from dataclasses import replace

import httpx
import numpy as np
import pytest
from gantry_testing import datapack
from gantry_testing.synthetic import generate_study, make_series, make_study, stream_series
from gantry_testing.web import decode_multipart
from PIL import Image
from pydicom import dcmread

SIZE = (48, 64)
JPEG_2000 = "1.2.840.10008.1.2.4.90"
JPEG, PNG, GIF = "image/jpeg", "image/png", "image/gif"


def path_of(instance):
    return f"/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_uid}"


def stored(web, *instances):
    assert web.store([instance.data for instance in instances]).status == 200
    return path_of(instances[0])


def from_pack(web, *names):
    """Store files of the pack; return their paths in the order of ``names``."""
    files = {file.name: file for file in datapack.files()}
    assert web.store([files[name].read() for name in names]).status in {200, 202}
    entries = [files[name].entry for name in names]
    return [
        f"/studies/{entry['study_uid']}/series/{entry['series_uid']}/instances/{entry['sop_uid']}"
        for entry in entries
    ]


def shown(answer):
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def test_a_cine_is_a_moving_gif_and_a_named_frame_a_still_one(web):
    path = stored(web, *generate_study(8100, "US_CINE", frames=5, size=SIZE))
    movie = shown(web.get(f"{path}/rendered", GIF))
    assert (movie.n_frames, movie.size) == (5, SIZE[::-1])
    assert getattr(shown(web.get(f"{path}/frames/3/rendered", GIF)), "n_frames", 1) == 1
    assert shown(web.get(f"{path}/rendered", JPEG)).size == SIZE[::-1]
    small = shown(web.get(f"{path}/rendered?viewport=16,16", GIF))
    assert (small.n_frames, small.size) == (5, (16, 12))
    (part,) = web.retrieve(f"{path}/rendered", f'multipart/related; type="{GIF}"')
    assert Image.open(io.BytesIO(part.body)).n_frames == 5


def test_frames_by_list_are_parts_and_not_one_picture(web):
    path = stored(web, *generate_study(8101, "XA", frames=4, size=SIZE))
    parts = web.retrieve(f"{path}/frames/4,2/rendered", f'multipart/related; type="{PNG}"')
    wanted = [web.get(f"{path}/frames/{number}/rendered", PNG).content for number in (4, 2)]
    assert [part.body for part in parts] == wanted
    assert web.get(f"{path}/frames/4,2/rendered", PNG).status_code == 406
    assert web.get(f"{path}/frames/5/rendered", PNG).status_code == 404
    assert len(web.retrieve(f"{path}/rendered", f'multipart/related; type="{PNG}"')) == 4


@pytest.mark.parametrize("name", ["made/good/video_h264.dcm", "made/good/video_mpeg2.dcm"])
def test_a_video_is_given_as_it_is(web, name):
    (path,) = from_pack(web, name)
    kind = "video/mpeg" if "mpeg2" in name else "video/mp4"
    stream = web.retrieve(f"{path}/frames/1", f'multipart/related; type="{kind}"; transfer-syntax=*')[0].body
    for accept in ("*/*", kind):
        answer = web.checked(web.get(f"{path}/rendered", accept))
        assert answer.headers["content-type"] == kind
        assert answer.content == stream
    part = httpx.get(f"{web.base_url}{path}/rendered", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, stream[10:20])
    assert web.get(f"{path}/rendered", JPEG).status_code == 406
    assert shown(web.get(f"{path}/thumbnail")).size == (128, 128)


@pytest.mark.parametrize(
    ("name", "kind", "start"),
    [
        ("made/good/encapsulated_pdf.dcm", "application/pdf", b"%PDF-"),
        ("made/good/encapsulated_cda.dcm", "text/xml", b"<"),
        ("made/good/encapsulated_stl.dcm", "model/stl", b""),
    ],
)
def test_an_encapsulated_document_is_given_as_it_is(web, name, kind, start):
    (path,) = from_pack(web, name)
    answer = web.checked(web.get(f"{path}/rendered", f"text/html, {kind}"))
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.content.startswith(start)
    if kind == "text/xml":
        assert not answer.content.endswith(b"\0")
    refused = web.get(f"{path}/rendered", JPEG)
    assert refused.status_code == 406
    assert kind in refused.json()["detail"]
    assert shown(web.get(f"{path}/thumbnail")).size == (128, 128)


@pytest.mark.parametrize(
    "name", ["dcmqi/sr.dcm", "highdicom/sr_document.dcm", "pydicom/test-SR.dcm", "pydicom/reportsi.dcm"]
)
def test_every_text_and_number_of_a_real_report_is_on_its_page(web, name):
    (path,) = from_pack(web, name)
    page = web.checked(web.get(f"{path}/rendered")).text
    plain = web.checked(web.get(f"{path}/rendered", "text/plain")).text
    (file,) = [file for file in datapack.files() if file.name == name]
    found = list(texts(dcmread(file.path)))
    assert found
    for text in found:
        assert " ".join(text.split()) in " ".join(plain.split())
    assert page.count("</section>") == page.count("<section ")
    assert web.get(f"{path}/rendered").headers["content-security-policy"].startswith("default-src 'none'")


def texts(item):
    if item.get("ValueType") == "TEXT" and item.get("TextValue"):
        yield item.TextValue
    if item.get("ValueType") == "NUM" and item.get("MeasuredValueSequence"):
        yield str(item.MeasuredValueSequence[0].NumericValue.original_string)
    for child in item.get("ContentSequence") or []:
        yield from texts(child)


def test_a_state_of_the_pack_is_rendered_as_its_image(web):
    image, state = from_pack(web, "weasis/imageForPrLUTs.dcm", "weasis/prLUTs.dcm")
    ramp = np.asarray(shown(web.get(f"{state}/rendered", PNG))).astype(int)[:240]
    assert (np.diff(ramp, axis=1) >= 0).all()
    scrambled = np.asarray(shown(web.get(f"{image}/rendered", PNG))).astype(int)[:240]
    assert (np.diff(scrambled, axis=1) < 0).any()
    (part,) = web.retrieve(f"{state}/rendered", f'multipart/related; type="{PNG}"')
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(part.body)))[:240], ramp)
    assert web.get(f"{state}/frames/1/rendered", PNG).status_code == 406


def test_wado_uri_names_a_state_for_an_image(web):
    image, state = from_pack(web, "weasis/imageForPrLUTs.dcm", "weasis/prLUTs.dcm")
    by_state = web.checked(web.get(f"{state}/rendered", PNG)).content
    series, sop = state.split("/")[4::2]
    parameters = f"presentationSeriesUID={series}&presentationUID={sop}"
    answer = web.checked(web.get(f"{image}/rendered?{parameters}", PNG))
    assert answer.content == by_state
    assert answer.headers["etag"] != web.get(f"{image}/rendered", PNG).headers["etag"]
    series, sop = image.split("/")[4::2]
    itself = f"presentationSeriesUID={series}&presentationUID={sop}"
    assert web.get(f"{image}/rendered?{itself}", PNG).status_code == 406
    unknown = f"presentationSeriesUID={series}&presentationUID=1.2.3"
    assert web.get(f"{image}/rendered?{unknown}", PNG).status_code == 404


def test_overlays_of_a_state_are_shown_on_its_image(web):
    image, state = from_pack(web, "weasis/overlay.dcm", "weasis/prOverlay.dcm")
    own, both = (np.asarray(shown(web.get(f"{path}/rendered", PNG))) for path in (image, state))
    assert (both == 255).sum() > (own == 255).sum() + 1000


def test_a_state_whose_images_are_not_here_says_so(web):
    path = stored(web, *generate_study(8105, "PR"))
    assert web.get(f"{path}/rendered", JPEG).status_code == 404
    assert shown(web.get(f"{path}/thumbnail")).size == (128, 128)


def test_a_study_of_all_sorts_gives_what_is_accepted_of_it(web):
    study = make_study(8106)
    for number, kind in enumerate(("CT", "SR", "PDF", "RTPLAN"), 1):
        stored(web, *stream_series(make_series(study, number), kind))
    base = f"/studies/{study.study_uid}/rendered"

    def types(accept):
        answer = web.checked(web.get(base, accept))
        parts = decode_multipart(answer.headers["content-type"], answer.content)
        return [part.headers["content-type"].partition(";")[0] for part in parts]

    assert types("*/*") == [JPEG, "text/html", "application/pdf"]
    assert types(f'multipart/related; type="{PNG}"') == [PNG]
    assert types('multipart/related; type="text/plain"') == ["text/plain"]
    refused = web.get(base, 'multipart/related; type="video/mp4"')
    assert refused.status_code == 406
    assert 'multipart/related; type="image/jpeg"' in refused.json()["detail"]


def test_a_damaged_frame_is_an_error_alone_and_an_icon_among_others(web):
    good, bad = generate_study(8107, "CT", instances=2, size=SIZE, transfer_syntax="1.2.840.10008.1.2.4.90")
    start = bad.data.find(b"\xff\x4f\xff\x51")
    damaged = replace(
        bad, data=bad.data[: start + 60] + bytes(len(bad.data) - start - 60 - 8) + bad.data[-8:]
    )
    stored(web, good, damaged)
    assert web.get(f"{path_of(damaged)}/rendered", PNG).status_code == 406
    assert shown(web.get(f"{path_of(damaged)}/thumbnail")).size == (128, 128)
    parts = web.retrieve(f"/studies/{good.study_uid}/rendered", f'multipart/related; type="{PNG}"')
    assert len(parts) == 2
    assert Image.open(io.BytesIO(parts[0].body)).size == SIZE[::-1]


@pytest.mark.parametrize(
    "below", ["/rendered", "/rendered?viewport=20,20", "/thumbnail", "/frames/1/rendered"]
)
def test_a_picture_that_is_known_is_not_sent_again(web, below):
    path = stored(web, *generate_study(8108, "MR", size=SIZE))
    url = f"{web.base_url}{path}{below}"
    etag = httpx.get(url, headers={"Accept": JPEG}).headers["etag"]
    again = httpx.get(url, headers={"Accept": JPEG, "If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = httpx.get(url, headers={"Accept": PNG, "If-None-Match": etag})
    assert other.status_code == 200
    assert other.headers["etag"] != etag


def test_a_thumbnail_of_a_series_shows_what_came_later(web):
    instances = generate_study(8109, "CT", instances=5, size=SIZE)
    stored(web, instances[0])
    series = path_of(instances[0]).partition("/instances")[0]
    first = web.checked(web.get(f"{series}/thumbnail", PNG))
    stored(web, *instances[1:])
    later = web.checked(web.get(f"{series}/thumbnail", PNG))
    assert first.headers["etag"] != later.headers["etag"]
    assert later.content == web.get(f"{path_of(instances[2])}/thumbnail", PNG).content


def test_a_slide_is_shown_by_its_thumbnail_and_never_by_its_label(web):
    instances = generate_study(8120, "WSI", instances=4, frames=4, size=SIZE)
    flavours = ("VOLUME", "LABEL", "THUMBNAIL", "VOLUME")
    named = [
        with_values(instance, ImageType=["ORIGINAL", "PRIMARY", flavour, "NONE"])
        for instance, flavour in zip(instances, flavours, strict=True)
    ]
    stored(web, *named[:2])
    series = path_of(named[0]).partition("/instances")[0]

    def same_as(instance):
        return (
            web.get(f"{series}/thumbnail", PNG).content
            == web.get(f"{path_of(instance)}/thumbnail", PNG).content
        )

    assert same_as(named[0])
    stored(web, *named[2:])
    assert same_as(named[2])


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
def test_a_picture_is_the_same_whatever_its_image_is_stored_in(web, syntax):
    seed = 8110 + len(syntax)
    other = stored(web, *generate_study(seed, "CT_SIGNED", size=SIZE, transfer_syntax=syntax))
    (explicit,) = generate_study(seed, "CT_SIGNED", size=SIZE)
    plain = stored(web, with_sop_uid(explicit, explicit.sop_uid[:-1] + "77"))
    assert web.get(f"{other}/rendered", PNG).content == web.get(f"{plain}/rendered", PNG).content


def with_sop_uid(instance, sop_uid):
    return replace(with_values(instance, SOPInstanceUID=sop_uid), sop_uid=sop_uid)


def with_values(instance, **values):
    data_set = dcmread(io.BytesIO(instance.data))
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    out = io.BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    return replace(instance, data=out.getvalue())
