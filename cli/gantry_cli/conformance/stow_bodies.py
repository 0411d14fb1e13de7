"""The statements S07 to S16, S41 and S42: how a store request's body may look (PS3.18 10.5.1, RFC 2046)."""

from __future__ import annotations

from collections.abc import Iterator

from gantry_testing import raw
from gantry_testing.synthetic.values import make_uid
from gantry_testing.web import DICOM, encode_multipart, stow_answer

from gantry_cli.conformance.server import Server, path_of
from gantry_cli.conformance.statements import NotTestable, expect, statement
from gantry_cli.conformance.stow_samples import fresh, post, related

_STORED_AS_SENT = "application/dicom; transfer-syntax=*"
_HALF = 'multipart/related; type="application/dicom"'


def _expect_status(server: Server, content_type: str, body: bytes, status: int) -> None:
    answer = post(server, content_type, body)
    expect(answer.status_code == status, f"{content_type} was answered {answer.status_code}, not {status}")


@statement("S07", "PS3.18 Table 10.5.3-1")
def a_body_that_cannot_be_parsed_is_400(server: Server) -> None:
    """A body that is not what its Content-Type says, without parts or with broken JSON, is answered 400."""
    [instance] = fresh(server, "broken bodies")
    for body in (b"", b"--B--\r\n", b"no part at all", b"--C\r\n\r\n" + instance.data + b"\r\n--C--\r\n"):
        _expect_status(server, f"{_HALF}; boundary=B", body, 400)
    content_type, body = related([("application/dicom+json", "", b'[{"00080018":')], "application/dicom+json")
    _expect_status(server, content_type, body, 400)


@statement("S08", "PS3.18 Table 10.5.3-1")
def an_unknown_content_type_is_415(server: Server) -> None:
    """A body of a type that is not stored is answered 415."""
    for content_type in ("text/plain", "multipart/form-data; boundary=B", "application/pdf"):
        _expect_status(server, content_type, b"--B\r\n\r\nx\r\n--B--\r\n", 415)


@statement("S09", "PS3.18 8.7.3.5.1")
def multipart_without_boundary_is_400(server: Server) -> None:
    """A multipart body whose Content-Type names no boundary is answered 400."""
    [instance] = fresh(server, "no boundary")
    _expect_status(server, _HALF, encode_multipart([instance.data], boundary="B")[1], 400)


@statement("S10", "PS3.18 8.7.3.5.1", choice=True)
def multipart_without_type_is_400(server: Server) -> None:
    """A multipart body whose Content-Type names no type is answered 400."""
    [instance] = fresh(server, "no type")
    _expect_status(
        server, "multipart/related; boundary=B", encode_multipart([instance.data], boundary="B")[1], 400
    )


@statement("S11", "RFC 2046 5.1.1")
def every_legal_boundary_works(server: Server) -> None:
    """A boundary may be quoted or bare and hold any legal character; preamble and epilogue are ignored."""
    [instance] = fresh(server, "boundaries")
    every = "a'()+_,-./:=?b"
    for boundary, written in (
        ("B", "B"),
        ("B", '"B"'),
        (every, f'"{every}"'),
        ("x" * 70, "x" * 70),
        ("--", '"--"'),
    ):
        _, body = encode_multipart([instance.data], boundary=boundary)
        body = b"a preamble\r\n" + body + b"an epilogue"
        _expect_status(server, f"{_HALF}; boundary={written}", body, 200)


def _expect_returned(server: Server, uid: str, sent: bytes) -> None:
    path = f"/studies/{uid}/series/{uid}/instances/{uid}"
    expect(server.get(path, _STORED_AS_SENT).content == sent, "other bytes came back than were sent")


@statement("S12", "RFC 2046 5.1.1")
def a_boundary_inside_pixels_does_not_split(server: Server) -> None:
    """A boundary that occurs inside a part without CRLF and two hyphens before it does not end the part."""
    uid = make_uid(server.seed, "boundary inside")
    private = raw.element(0x00110010, "LO", b"GANTRY") + raw.element(
        0x00111001, "OB", b"--B--\r\nB \n--B\r\n-"
    )
    uids = {0x00080018: uid, 0x0020000D: uid, 0x0020000E: uid}
    sent = raw.part10(raw.instance((0x00110010, private), uids=uids), sop_instance=uid)
    _, body = encode_multipart([sent], boundary="B")
    _expect_status(server, f"{_HALF}; boundary=B", body, 200)
    _expect_returned(server, uid, sent)


@statement("S13", "PS3.18 8.7.3.5")
def an_extra_transfer_syntax_parameter_is_accepted(server: Server) -> None:
    """A Content-Type with a transfer-syntax parameter besides is accepted."""
    [instance] = fresh(server, "extra parameter")
    _, body = encode_multipart([instance.data], boundary="B")
    _expect_status(server, f"{_HALF}; transfer-syntax=1.2.840.10008.1.2.1; boundary=B", body, 200)


@statement("S14", "PS3.18 8.7.9")
def the_file_meta_decides_the_transfer_syntax(server: Server) -> None:
    """Where part header and File Meta Information name different transfer syntaxes, the latter counts."""
    [instance] = fresh(server, "two syntaxes")
    header = f"{DICOM}; transfer-syntax=1.2.840.10008.1.2.4.50"
    answer = stow_answer(post(server, *related([(header, "", instance.data)])))
    expect(set(answer.stored) == {instance.sop_uid}, f"answered {answer.document}")
    found = server.get(path_of(instance), _STORED_AS_SENT)
    expect(found.content == instance.data, "other bytes came back than were sent")


@statement("S15", "PS3.18 10.5.1.3; RFC 9112 7.1")
def a_chunked_body_is_accepted(server: Server) -> None:
    """A body with Transfer-Encoding: chunked and no Content-Length is accepted."""
    [instance] = fresh(server, "chunked")
    content_type, body = encode_multipart([instance.data])

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    answer = server.http.post(
        f"{server.base_url.rstrip('/')}/studies", content=chunks(), headers={"Content-Type": content_type}
    )
    expect(answer.status_code == 200, f"answered {answer.status_code}")


@statement("S16", "PS3.18 8.5")
def a_body_over_the_limit_is_413(_server: Server) -> None:
    """A body over the server's limit is answered 413, and nothing of it is half stored."""
    raise NotTestable("the limit cannot be known from outside")


@statement("S41", "PS3.10 7.5", choice=True)
def the_preamble_is_kept_or_cleared(server: Server) -> None:
    """The 128 bytes before a file's prefix come back as they were sent, or as zeros."""
    uid = make_uid(server.seed, "preamble")
    uids = {0x00080018: uid, 0x0020000D: uid, 0x0020000E: uid}
    preamble = b"II*\0" + b"\1" * 124
    sent = raw.part10(raw.instance(uids=uids), sop_instance=uid, preamble=preamble + b"DICM")
    content_type, body = encode_multipart([sent])
    _expect_status(server, content_type, body, 200)
    path = f"/studies/{uid}/series/{uid}/instances/{uid}"
    found = server.get(path, _STORED_AS_SENT).content
    expect(found[:128] in (preamble, bytes(128)), "the preamble is neither kept nor cleared")
    expect(found[128:] == sent[128:], "the rest is not what was sent")


@statement("S42", "PS3.18 10.5.1.2")
def query_parameters_have_no_effect(server: Server) -> None:
    """Query parameters do not change what a store does."""
    [instance] = fresh(server, "query parameters")
    content_type, body = encode_multipart([instance.data])
    answer = post(server, content_type, body, params=[("PatientID", "other"), ("limit", "0")])
    expect(answer.status_code == 200, f"answered {answer.status_code}")
    found = server.get(path_of(instance), _STORED_AS_SENT).content
    expect(found == instance.data, "other bytes came back than were sent")
