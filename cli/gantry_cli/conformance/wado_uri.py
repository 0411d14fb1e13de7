"""The statements R17 to R20: WADO-URI (PS3.18 chapter 9)."""

from __future__ import annotations

import io

import httpx
from gantry_testing.synthetic.values import Instance
from PIL import Image
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from gantry_cli.conformance.server import Server, path_of
from gantry_cli.conformance.statements import NotTestable, expect, statement

DICOM = "application/dicom"
_JPEG = "image/jpeg"


def _get(
    server: Server, instance: Instance, accept: str | None = "*/*", **parameters: str | None
) -> httpx.Response:
    """Ask for an object; a parameter that is ``None`` is left out."""
    asked: dict[str, str | None] = {
        "requestType": "WADO",
        "studyUID": instance.study_uid,
        "seriesUID": instance.series_uid,
        "objectUID": instance.sop_uid,
    }
    asked |= parameters
    pairs = [(name, value) for name, value in asked.items() if value is not None]
    return server.get("/wado", accept, params=pairs)


def _image(server: Server) -> Instance:
    [instance] = server.kind("CT")
    if _get(server, instance, contentType=DICOM).status_code == 404:
        raise NotTestable("there is no WADO-URI at <base>/wado")
    return instance


def _expect_status(answer: httpx.Response, status: int, what: str) -> None:
    expect(answer.status_code == status, f"{what} answered {answer.status_code}, not {status}")


def _expect_type(answer: httpx.Response, essence: str, what: str) -> None:
    _expect_status(answer, 200, what)
    found = answer.headers["content-type"].partition(";")[0]
    expect(found == essence, f"{what} answered {found}, not {essence}")


@statement("R17", "PS3.18 9.3")
def without_a_content_type_an_image_is_a_jpeg(server: Server) -> None:
    """Without contentType and with Accept */* an image is answered as image/jpeg; contentType chooses."""
    instance = _image(server)
    answer = _get(server, instance)
    _expect_type(answer, _JPEG, "no contentType")
    expect(Image.open(io.BytesIO(answer.content)).format == "JPEG", "the bytes are no JPEG")
    _expect_type(_get(server, instance, contentType="image/png"), "image/png", "contentType=image/png")
    _expect_type(
        _get(server, instance, contentType="image/x-none,image/png"), "image/png", "a list of contentType"
    )
    small = _get(server, instance, rows="64", columns="64")
    expect(Image.open(io.BytesIO(small.content)).size == (64, 64), "rows and columns are not obeyed")
    part = _get(server, instance, region="0,0,0.5,0.25", contentType="image/png")
    whole = instance.plan
    expect(
        whole is not None
        and Image.open(io.BytesIO(part.content)).size == (whole.columns // 2, whole.rows // 4),
        "region is not obeyed",
    )
    bright = _get(server, instance, windowCenter="-500", windowWidth="2", contentType="image/png")
    expect(bright.content != _get(server, instance, contentType="image/png").content, "window is not obeyed")


@statement("R18", "PS3.18 9.1.2.1")
def what_is_wrongly_asked_is_400_and_what_is_not_there_404(server: Server) -> None:
    """A requestType other than WADO or a missing UID is 400, unknown 404, deleted 410."""
    instance = _image(server)
    for changed in (
        {"requestType": "wado"},
        {"requestType": None},
        {"studyUID": None},
        {"seriesUID": None},
        {"objectUID": None},
        {"objectUID": "x.y"},
    ):
        _expect_status(_get(server, instance, **changed), 400, str(changed))
    for changed in ({"objectUID": "2.25.1"}, {"seriesUID": "2.25.1"}, {"studyUID": "2.25.1"}):
        _expect_status(_get(server, instance, **changed), 404, str(changed))
    [gone] = server.kind("SC_COLOUR")
    if server.send("DELETE", path_of(gone)).status_code in {200, 202, 204}:
        _expect_status(_get(server, gone), 410, "a deleted object")


@statement("R19", "PS3.18 9.1.2.2; 8.7.3.5.2")
def an_object_is_given_in_the_transfer_syntax_asked_for(server: Server) -> None:
    """An object obeys transferSyntax; the same as a parameter of the media type is forbidden."""
    [stored] = server.kind("CT", transfer_syntax=RLELossless)
    for wanted, syntax in ((None, ExplicitVRLittleEndian), (str(RLELossless), RLELossless)):
        answer = _get(server, stored, contentType=DICOM, transferSyntax=wanted)
        _expect_type(answer, DICOM, f"transferSyntax={wanted}")
        found = dcmread(io.BytesIO(answer.content)).file_meta.TransferSyntaxUID
        expect(found == syntax, f"transferSyntax={wanted} answered {found}")
    forbidden = _get(server, stored, contentType=f"{DICOM}; transfer-syntax={RLELossless}")
    _expect_status(forbidden, 400, "transfer-syntax in the media type")


@statement("R20", "PS3.18 9.1.2.2.2")
def frames_are_counted_from_one_and_only_of_pictures(server: Server) -> None:
    """FrameNumber begins at 1 and is refused with application/dicom."""
    [cine] = server.kind("XA")
    first, second = (_get(server, cine, frameNumber=str(number)) for number in (1, 2))
    _expect_type(first, _JPEG, "frameNumber=1")
    expect(first.content != second.content, "two frames are one picture")
    _expect_status(_get(server, cine, frameNumber="0"), 400, "frameNumber=0")
    _expect_status(_get(server, cine, frameNumber=str(cine.frames + 1)), 404, "a frame past the end")
    _expect_status(_get(server, cine, frameNumber="1", contentType=DICOM), 400, "frameNumber of an object")
