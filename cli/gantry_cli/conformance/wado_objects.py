"""The statements W01 to W10, W12 to W14 and W42: studies, series and instances as objects (PS3.18 10.4)."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass

import httpx
from gantry_dicom.part10 import TRANSFER_SYNTAX_UID, parse_meta
from gantry_dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    HTJ2K_LOSSLESS,
    IMPLICIT_VR_LITTLE_ENDIAN,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)
from gantry_testing.synthetic import Instance, Study, make_series, native_frame, read_identity, stream_series
from gantry_testing.web import DICOM, BadAnswer, Part, decode_multipart

from gantry_cli.conformance.server import Server, path_of, series_path_of, study_path_of
from gantry_cli.conformance.statements import Broken, expect, statement

PARTS = f'multipart/related; type="{DICOM}"'
OCTETS = "application/octet-stream"
_SYNTAX = re.compile(r'transfer-syntax="?([0-9.]+)"?', re.IGNORECASE)
# Some rows of one sample each: enough to carry a frame's identity.
_SIZE = (64, 72)


@dataclass(frozen=True, slots=True)
class Sent:
    """An object as it was answered: the label of its part, and what its own File Meta says."""

    label: str
    transfer_syntax_uid: str
    data: bytes


def parts_of(answer: httpx.Response) -> list[Part]:
    """Return the parts of a multipart answer with status 200 or 206; raises ``Broken``."""
    expect(answer.status_code in {200, 206}, f"answered {answer.status_code}: {answer.text[:200]}")
    try:
        return decode_multipart(answer.headers.get("content-type", ""), answer.content)
    except BadAnswer as error:
        raise Broken(error.detail) from error


def sent_of(part: Part) -> Sent:
    """Return what a part of type application/dicom holds."""
    content_type = part.headers.get("content-type", "")
    expect(content_type.lower().startswith(DICOM), f"a part of type {content_type}")
    label = _SYNTAX.search(content_type)
    inside = parse_meta(part.body).text(TRANSFER_SYNTAX_UID) or ""
    return Sent(label[1] if label else "", inside, part.body)


def retrieved(server: Server, path: str, accept: str) -> list[Sent]:
    """Return the objects below a path; raises ``Broken``."""
    return [sent_of(part) for part in parts_of(server.get(path, accept))]


def small(server: Server, kind: str, transfer_syntax: str, *, instances: int = 1) -> list[Instance]:
    """Return stored instances with few pixels, in a study of their own."""
    return server.sample(
        f"small {kind} {transfer_syntax} {instances}",
        lambda study: list(
            stream_series(
                make_series(study), kind, instances=instances, transfer_syntax=transfer_syntax, size=_SIZE
            )
        ),
    )


def expect_identity(pixels: bytes, instance: Instance, what: str, frame: int = 1) -> None:
    """Raise ``Broken`` unless the bytes are the native pixels of the instance's frame."""
    plan = instance.plan
    if plan is None:
        raise Broken(f"{what}: the sample has no pixels")
    try:
        found = read_identity(native_frame(pixels, plan))
    except (ValueError, BadAnswer) as error:
        raise Broken(f"{what}: {error}") from error
    expect(found == instance.identity(frame), f"{what}: the pixels are those of {found}")


@statement("W01", "PS3.18 8.7.3")
def explicit_little_endian_without_a_wish(server: Server) -> None:
    """Without transfer-syntax objects come in Explicit VR Little Endian, lossy ones as stored."""
    for syntax, expected in (
        (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN),
        (DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN),
        (RLE_LOSSLESS, EXPLICIT_VR_LITTLE_ENDIAN),
        (JPEG_LS_LOSSLESS, EXPLICIT_VR_LITTLE_ENDIAN),
        (JPEG_2000_LOSSLESS, EXPLICIT_VR_LITTLE_ENDIAN),
        (HTJ2K_LOSSLESS, EXPLICIT_VR_LITTLE_ENDIAN),
        (JPEG_BASELINE, JPEG_BASELINE),
    ):
        [instance] = small(server, "SC", syntax)
        [sent] = retrieved(server, path_of(instance), PARTS)
        expect(
            sent.transfer_syntax_uid == expected,
            f"{syntax} came in {sent.transfer_syntax_uid}, not in {expected}",
        )
        if expected == EXPLICIT_VR_LITTLE_ENDIAN:
            expect_identity(sent.data[-_SIZE[0] * _SIZE[1] :], instance, f"{syntax} decompressed")


@statement("W02", "PS3.18 8.7.3.5.2")
def an_asterisk_gives_what_is_stored(server: Server) -> None:
    """transfer-syntax=* gives the stored bytes."""
    for syntax in (EXPLICIT_VR_LITTLE_ENDIAN, RLE_LOSSLESS, JPEG_BASELINE, JPEG_2000_LOSSLESS):
        [instance] = small(server, "SC", syntax)
        for accept in (f"{PARTS}; transfer-syntax=*", f'{PARTS}; transfer-syntax="*"'):
            [sent] = retrieved(server, path_of(instance), accept)
            expect(sent.data == instance.data, f"{syntax} did not come as stored for {accept}")


@statement("W03", "PS3.18 8.7.3")
def implicit_and_big_endian_are_never_sent(server: Server) -> None:
    """Implicit VR and big endian are never sent: with * they become Explicit Little Endian."""
    for syntax in (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN):
        [instance] = small(server, "MR", syntax)
        for accept in (PARTS, f"{PARTS}; transfer-syntax=*", f"{DICOM}; transfer-syntax=*"):
            answer = server.get(path_of(instance), accept)
            body = parts_of(answer)[0].body if accept.startswith("multipart") else answer.content
            found = parse_meta(body).text(TRANSFER_SYNTAX_UID)
            expect(found == EXPLICIT_VR_LITTLE_ENDIAN, f"{syntax} was sent in {found} for {accept}")
            expect_identity(body[-2 * _SIZE[0] * _SIZE[1] :], instance, f"{syntax} re-encoded")
        refused = server.get(path_of(instance), f"{PARTS}; transfer-syntax={syntax}")
        expect(refused.status_code == 406, f"a wish for {syntax} was answered {refused.status_code}")


@statement("W04", "PS3.18 8.7.3.5.1, 8.7.9; RFC 2387")
def a_whole_answer_is_multipart_with_a_part_each(server: Server) -> None:
    """multipart/related with a quoted type, a boundary, and one labelled part an instance."""
    instances = small(server, "CT", EXPLICIT_VR_LITTLE_ENDIAN, instances=3)
    for path in (study_path_of(instances[0]), series_path_of(instances[0])):
        answer = server.get(path, PARTS)
        content_type = answer.headers.get("content-type", "")
        expect('type="application/dicom"' in content_type, f"the type is not quoted: {content_type}")
        sent = [sent_of(part) for part in parts_of(answer)]
        expect(len(sent) == len(instances), f"{len(sent)} parts for {len(instances)} instances")
        expect(
            {one.data for one in sent} == {instance.data for instance in instances},
            "the parts are not the instances",
        )


@statement("W05", "PS3.18 8.7.9")
def the_label_is_what_the_file_says(server: Server) -> None:
    """The transfer syntax in group 0002 is the one the part's Content-Type names."""
    for syntax in (IMPLICIT_VR_LITTLE_ENDIAN, RLE_LOSSLESS, JPEG_BASELINE):
        [instance] = small(server, "SC", syntax)
        for wish in ("", "; transfer-syntax=*", f"; transfer-syntax={JPEG_2000_LOSSLESS}"):
            [sent] = retrieved(server, path_of(instance), PARTS + wish)
            label = sent.label or EXPLICIT_VR_LITTLE_ENDIAN
            expect(label == sent.transfer_syntax_uid, f"labelled {label}, inside {sent.transfer_syntax_uid}")


@statement("W06", "RFC 2046 5.1.1")
def delimiters_are_well_formed(server: Server) -> None:
    """Parts end with CRLF, the last delimiter with --, and the boundary is nowhere in the data."""
    [instance] = small(server, "CT", EXPLICIT_VR_LITTLE_ENDIAN)
    boundaries = set()
    for _ in range(3):
        answer = server.get(path_of(instance), PARTS)
        boundary = answer.headers["content-type"].partition("boundary=")[2].strip('"').encode()
        expect(
            answer.content.startswith(b"--" + boundary + b"\r\n"), "something stands before the first part"
        )
        expect(answer.content.rstrip(b"\r\n").endswith(b"\r\n--" + boundary + b"--"), "no closing delimiter")
        expect(answer.content.count(boundary) == 2, "the boundary occurs in the data")
        parts_of(answer)
        boundaries.add(boundary)
    expect(len(boundaries) == 3, "the same boundary again and again")


@statement("W07", "PS3.18 10.4.4")
def an_instance_is_had_as_a_single_part(server: Server) -> None:
    """Accept: application/dicom on an instance gives the file itself."""
    [instance] = small(server, "CT", EXPLICIT_VR_LITTLE_ENDIAN)
    answer = server.get(path_of(instance), f"{DICOM}; transfer-syntax=*")
    found = answer.headers.get("content-type", "")
    expect(answer.status_code == 200 and found.startswith(DICOM), f"{answer.status_code} {found}")
    expect(answer.content == instance.data, "the body is not the file")


@statement("W08", "PS3.18 10.4.4")
def a_study_is_no_single_part(server: Server) -> None:
    """Only single-part types for a study or a series are answered 406."""
    [instance] = small(server, "CT", EXPLICIT_VR_LITTLE_ENDIAN)
    for path in (study_path_of(instance), series_path_of(instance)):
        answer = server.get(path, DICOM)
        expect(answer.status_code == 406, f"{path} answered {answer.status_code}")


@statement("W09", "PS3.18 10.4.4")
def octets_of_a_study_are_its_bulk_data(server: Server) -> None:
    """A study asked as multipart application/octet-stream gives what its /bulkdata gives."""
    instances = small(server, "CT", EXPLICIT_VR_LITTLE_ENDIAN, instances=3)
    accept = f'multipart/related; type="{OCTETS}"'
    path = study_path_of(instances[0])
    found, expected = (parts_of(server.get(one, accept)) for one in (path, path + "/bulkdata"))
    expect(len(found) >= len(instances), f"{len(found)} parts of octets for {len(instances)} images")
    expect(
        [(part.headers.get("content-location"), part.body) for part in found]
        == [(part.headers.get("content-location"), part.body) for part in expected],
        "the octets of the study are not its bulk data",
    )


def _image_and_report(study: Study) -> list[Instance]:
    return [
        *stream_series(make_series(study), "CT", size=_SIZE),
        *stream_series(make_series(study, 2), "SR"),
    ]


@statement("W10", "PS3.2 N.7-92; PS3.18 10.4.3")
def some_as_asked_is_206_and_none_is_406(server: Server) -> None:
    """Some instances not in the form asked for: 206 and a Warning; none of them: 406."""
    instances = server.sample("image and report", _image_and_report)
    accept = f"{PARTS}; transfer-syntax={JPEG_2000_LOSSLESS}"
    answer = server.get(study_path_of(instances[0]), accept)
    expect(answer.status_code == 206, f"an image and a report as JPEG 2000 answered {answer.status_code}")
    expect("warning" in answer.headers, "206 without a Warning")
    expect(len(parts_of(answer)) == 1, "the image alone can be JPEG 2000")
    alone = server.get(path_of(instances[1]), accept)
    expect(alone.status_code == 406, f"a report as JPEG 2000 answered {alone.status_code}")


@statement("W12", "PS3.18 8.7.8")
def an_unknown_transfer_syntax_is_406(server: Server) -> None:
    """A transfer syntax nobody knows in the only range is answered 406."""
    [instance] = small(server, "CT", EXPLICIT_VR_LITTLE_ENDIAN)
    for wish in ("1.2.3.4.5", "nonsense"):
        for path in (path_of(instance), study_path_of(instance)):
            answer = server.get(path, f"{PARTS}; transfer-syntax={wish}")
            expect(answer.status_code == 406, f"{path} as {wish} answered {answer.status_code}")


@statement("W13", "PS3.18 10.4")
def the_wrong_parent_is_404(server: Server) -> None:
    """An instance under the UID of another study or series is not there."""
    [one] = small(server, "CT", EXPLICIT_VR_LITTLE_ENDIAN)
    [other] = small(server, "MR", EXPLICIT_VR_LITTLE_ENDIAN)
    for path in (
        path_of(one).replace(one.study_uid, other.study_uid),
        path_of(one).replace(one.series_uid, other.series_uid),
    ):
        for below in ("", "/metadata", "/frames/1", "/rendered"):
            answer = server.get(path + below)
            expect(answer.status_code == 404, f"{below or 'the instance'} answered {answer.status_code}")


@statement("W14", "PS3.18 8.7.8")
def the_best_of_several_ranges_is_given(server: Server) -> None:
    """Of several weighed ranges the best that can be made is given, whatever their order."""
    [instance] = small(server, "CT", EXPLICIT_VR_LITTLE_ENDIAN)
    for accept, expected in (
        (
            f"{PARTS}; transfer-syntax={RLE_LOSSLESS};q=.2, {PARTS}; transfer-syntax={JPEG_LS_LOSSLESS};q=.8",
            JPEG_LS_LOSSLESS,
        ),
        (
            f"{PARTS}; transfer-syntax=1.2.3.4.5, {PARTS}; transfer-syntax={JPEG_LOSSLESS_SV1};q=0.4",
            JPEG_LOSSLESS_SV1,
        ),
        (f"image/tiff, {PARTS}; transfer-syntax=*;q=0.1", EXPLICIT_VR_LITTLE_ENDIAN),
    ):
        [sent] = retrieved(server, path_of(instance), accept)
        expect(sent.transfer_syntax_uid == expected, f"{accept} gave {sent.transfer_syntax_uid}")


@statement("W42", "PS3.18 Supplement 211")
def a_study_is_had_as_a_zip(server: Server) -> None:
    """Accept: application/zip gives an archive of the files, the same names each time."""
    instances = small(server, "CT", RLE_LOSSLESS, instances=3)
    names = set()
    for accept, transfer_syntax in (
        ("application/zip; transfer-syntax=*", RLE_LOSSLESS),
        ("application/zip", EXPLICIT_VR_LITTLE_ENDIAN),
    ):
        answer = server.get(study_path_of(instances[0]), accept)
        expect(answer.status_code == 200, f"{accept} answered {answer.status_code}")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            expect(archive.testzip() is None, "a file of the archive is damaged")
            files = {name: archive.read(name) for name in archive.namelist() if name.endswith(".dcm")}
        expect(len(files) == len(instances), f"{len(files)} files for {len(instances)} instances")
        names.add(tuple(sorted(files)))
        for data in files.values():
            found = parse_meta(data).text(TRANSFER_SYNTAX_UID)
            expect(found == transfer_syntax, f"{accept} holds files in {found}")
        if transfer_syntax == RLE_LOSSLESS:
            stored = {instance.data for instance in instances}
            expect(set(files.values()) == stored, "the files are not those stored")
    expect(len(names) == 1, "the names differ from answer to answer")
