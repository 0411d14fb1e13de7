"""The statements R05, R06 and R14 to R16: what is no image, rendered or as an icon (PS3.18 8.7.4, 10.4)."""

from __future__ import annotations

from collections.abc import Sequence

from gantry_testing.synthetic.studies import make_series, stream_series
from gantry_testing.synthetic.values import Instance, Study
from gantry_testing.web import decode_multipart
from pydicom.dataset import Dataset

from gantry_cli.conformance.pictures import JPEG, PNG, altered, picture, ramp
from gantry_cli.conformance.rendered_images import quarter_turn
from gantry_cli.conformance.server import Server, path_of, series_path_of, study_path_of
from gantry_cli.conformance.statements import expect, statement

_NO_PIXELS = ("SR", "KO", "PDF", "ECG", "RTPLAN", "RTSTRUCT")
_HOSTILE = '<script>alert("1")</script> & more'


def _report(study: Study) -> Sequence[Instance]:
    def change(data_set: Dataset) -> None:
        data_set.ContentSequence[0].TextValue = _HOSTILE
        data_set.ContentSequence[1].TextValue = "Größe unverändert, 山田"

    return [altered(instance, change) for instance in stream_series(make_series(study), "SR")]


@statement("R05", "PS3.18 8.7.4")
def a_report_is_html_by_default_and_plain_text_when_asked_for(server: Server) -> None:
    """A report is text/html by default, text/plain on request: whole, escaped, in its characters."""
    [report] = server.sample("report", _report)
    path = path_of(report) + "/rendered"
    for accept, media_type in ((None, "text/html"), ("text/html", "text/html"), ("text/plain", "text/plain")):
        answer = server.get(path, accept)
        found = answer.headers.get("content-type", "").partition(";")[0]
        expect((answer.status_code, found) == (200, media_type), f"{accept}: {answer.status_code} {found}")
        for text in ("Größe unverändert, 山田", "Finding 12: structure 12", "12.5 mm"):
            expect(text in answer.text, f"{media_type} does not hold {text!r}")
    page = server.get(path, "text/html").text
    expect("<script>alert" not in page, "text of the report is not escaped")
    expect("&lt;script&gt;alert" in page, "text of the report is missing from the page")
    expect(
        _HOSTILE in server.get(path, "text/plain").text, "text of the report is missing from the plain text"
    )


@statement("R06", "PS3.18 8.7.4")
def an_encapsulated_document_is_given_as_it_is(server: Server) -> None:
    """An encapsulated PDF is rendered as the application/pdf that it holds."""
    [document] = server.kind("PDF")
    for accept in (None, "application/pdf", "*/*"):
        answer = server.get(path_of(document) + "/rendered", accept)
        found = answer.headers.get("content-type", "").partition(";")[0]
        expect((answer.status_code, found) == (200, "application/pdf"), f"{answer.status_code} {found}")
        expect(answer.content.startswith(b"%PDF-"), "the answer is no PDF")


@statement("R14", "PS3.18 10.4.1; PS3.4 N.2")
def a_presentation_state_is_rendered_as_its_images(server: Server) -> None:
    """The rendered form of a presentation state is the images it refers to, with it applied."""
    image = ramp(server)
    [state] = server.sample("quarter turn", lambda study: [quarter_turn(image, study)])
    path = path_of(state) + "/rendered"
    shown = picture(server.get(path, JPEG))
    plain = picture(server.get(path_of(image) + "/rendered", JPEG))
    expect(shown.size == plain.size, f"the picture of the state is {shown.size}")
    expect(shown.tobytes() != plain.tobytes(), "the state changes nothing")
    answer = server.get(path, f'multipart/related; type="{PNG}"')
    expect(answer.status_code == 200, f"in multipart it answered {answer.status_code}")
    parts = decode_multipart(answer.headers["content-type"], answer.content)
    expect(len(parts) == 1, f"{len(parts)} parts for one image")


@statement("R15", "PS3.18 10.4.1.1.4", choice=True)
def everything_has_a_thumbnail(server: Server) -> None:
    """A thumbnail is answered for images and for what has no pixels, at every level."""
    for kind in (*_NO_PIXELS, "CT", "US_CINE", "SEG", "PMAP", "PR", "RTDOSE"):
        [instance] = server.kind(kind)
        for path in (path_of(instance), series_path_of(instance), study_path_of(instance)):
            shown = picture(server.get(path + "/thumbnail", JPEG))
            expect(max(shown.size) <= 1024, f"the thumbnail of {kind} is {shown.size}")
    [image] = server.kind("US_CINE")
    picture(server.get(path_of(image) + "/frames/2/thumbnail", JPEG))


@statement("R16", "RFC 9110 15.5.7", choice=True)
def what_is_no_image_is_no_jpeg(server: Server) -> None:
    """What cannot be a picture, asked for as one, is answered 406 or an icon, never 500."""
    for kind in _NO_PIXELS:
        [instance] = server.kind(kind)
        for accept in (JPEG, PNG, f'multipart/related; type="{JPEG}"'):
            answer = server.get(path_of(instance) + "/rendered", accept)
            expect(answer.status_code in {200, 406}, f"{kind} as {accept} answered {answer.status_code}")
