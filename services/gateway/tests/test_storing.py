"""STOW-RS over HTTP against the whole archive (PS3.18 10.5; cases O-13, O-14)."""

import hashlib
import secrets
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest
from gantry_dicom.refusals import Refusal
from gantry_testing import raw, strict_json
from gantry_testing.memory import MemoryWatch
from gantry_testing.synthetic import generate_study, make_uid
from gantry_testing.waiting import wait_for
from gantry_testing.web import DICOM, encode_multipart, items, stow_answer, uids, value

BODY_BYTES = 300 << 20


def study(name, modality="SC", **options):
    return generate_study(int.from_bytes(hashlib.sha256(name.encode()).digest()[:2]), modality, **options)


def test_one_bad_part_does_not_sink_the_others_and_every_failure_is_named(web):
    good, bad_date = study("o13", instances=2)
    bad_date = bad_date.data.replace(good.series.study.study_date.encode(), b"2024AB99")
    (stranger,) = study("o13 stranger")
    answer = web.store([good.data, b"hello", b"", stranger.data, bad_date], study_uid=good.study_uid)
    assert answer.status == 202
    assert good.sop_uid in answer.stored
    assert answer.failed == {stranger.sop_uid: 0xC409}
    assert list(answer.other_failures) == [Refusal.NOT_DICOM.failure_reason] * 2
    assert len(answer.stored) == 2, "an odd date is no reason to refuse an instance"
    strict_json.read(httpx.Response(200, json=answer.document).content)
    assert web.retrieve_instance(good.study_uid, good.series_uid, good.sop_uid) == good.data


def test_nothing_but_unreadable_parts_is_a_conflict(web):
    answer = web.store([b"hello", b""])
    assert (answer.status, len(answer.other_failures)) == (409, 2)
    assert "00081199" not in answer.document


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/related; type=application/dicom; boundary=B",
        'multipart/related; type="application/dicom"; boundary=B',
        'Multipart/Related; Type="Application/DICOM"; Boundary=B',
        'multipart/related; boundary="B"; charset=utf-8; type="application/dicom"',
    ],
)
def test_the_content_type_may_be_quoted_bare_mixed_and_longer(web, content_type):
    (instance,) = study("o14")
    _, body = encode_multipart([instance.data], boundary="B")
    answer = web.store_body(content_type, b"a preamble\r\n" + body + b"an epilogue")
    assert answer.status == 200
    assert list(answer.stored) == [instance.sop_uid]
    assert web.retrieve_instance(instance.study_uid, instance.series_uid, instance.sop_uid) == instance.data


def test_a_boundary_may_hold_every_legal_character_and_stand_in_the_data(web):
    boundary = "a'()+_,-./:=?b"
    private = raw.element(0x00110010, "LO", b"GANTRY TESTING  ")
    private += raw.element(0x00111001, "OB", b"--" + boundary.encode() + b"--\r\n" + bytes(2))
    uid = make_uid("boundary")
    data_set = raw.instance((0x00110010, private), uids={0x00080018: uid, 0x0020000D: uid, 0x0020000E: uid})
    stored = raw.part10(data_set, sop_instance=uid)
    _, body = encode_multipart([stored], boundary=boundary)
    answer = web.store_body(f'multipart/related; type="application/dicom"; boundary="{boundary}"', body)
    assert list(answer.stored) == [uid]
    assert web.retrieve_instance(uid, uid, uid) == stored


def test_a_single_instance_may_be_the_whole_body(web):
    (instance,) = study("single part")
    assert list(web.store_body(DICOM, instance.data).stored) == [instance.sop_uid]


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("multipart/related; type=application/dicom", b"", 400),
        ("multipart/related; boundary=B", b"--B--\r\n", 400),
        ("multipart/related; type=application/dicom; boundary=B", b"", 400),
        ("multipart/related; type=application/dicom; boundary=B", b"--C--\r\n", 400),
        ("multipart/related; type=application/dicom; boundary=" + "B" * 71, b"--B--\r\n", 400),
        ("text/plain", b"hello", 415),
        ("multipart/form-data; boundary=B", b"--B--\r\n", 415),
        ("multipart/related; type=application/pdf; boundary=B", b"--B--\r\n", 415),
        ("nonsense", b"", 400),
    ],
)
def test_a_body_that_is_none_is_refused_with_problem_details(web, content_type, body, status):
    answer = web.http.post(f"{web.base_url}/studies", content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status


def test_an_answer_in_another_type_than_json_and_xml_is_not_acceptable(web):
    headers = {"Content-Type": DICOM, "Accept": "text/html"}
    assert web.http.post(f"{web.base_url}/studies", content=b"x", headers=headers).status_code == 406


def test_a_partition_that_cannot_be_is_not_found(web):
    root = web.base_url.removesuffix("/dicom-web")
    for name in ("No%20Such", "%22", "a%2Fb", "UPPER"):
        assert web.http.get(f"{root}/partitions/{name}/dicom-web/studies").status_code == 404


def test_a_long_chunked_body_is_stored_and_sent_back_in_flat_memory(stack, web, record_property):
    uid = make_uid("long body")
    pixels = raw.element(0x7FE00010, "OW", length=BODY_BYTES)
    data_set = raw.instance(
        (0x00280002, raw.us(0x00280002, 1)),
        (0x00280004, raw.element(0x00280004, "CS", b"MONOCHROME2 ")),
        (0x00280008, raw.element(0x00280008, "IS", b"150 ")),
        (0x00280010, raw.us(0x00280010, 1024)),
        (0x00280011, raw.us(0x00280011, 1024)),
        (0x00280100, raw.us(0x00280100, 16)),
        (0x7FE00010, pixels),
        uids={0x00080018: uid, 0x0020000D: uid, 0x0020000E: uid},
    )
    head = raw.part10(data_set, sop_instance=uid)
    block = secrets.token_bytes(1 << 20)
    digest = hashlib.sha256(head)

    def body():
        yield b"--B\r\nContent-Type: application/dicom\r\n\r\n" + head
        for _ in range(BODY_BYTES // len(block)):
            digest.update(block)
            yield block
        yield b"\r\n--B--\r\n"

    (warm,) = study("warm the gateway up", "CT")
    web.store([warm.data])
    with MemoryWatch(stack.pid("gateway")) as memory:
        began = time.perf_counter()
        answer = stow_answer(
            web.http.post(
                f"{web.base_url}/studies",
                content=body(),
                headers={"Content-Type": "multipart/related; type=application/dicom; boundary=B"},
            )
        )
        stored_in = time.perf_counter() - began
    assert list(answer.stored) == [uid]
    received = hashlib.sha256()
    path = f"/studies/{uid}/series/{uid}/instances/{uid}"
    with (
        MemoryWatch(stack.pid("gateway")) as reading,
        web.http.stream(
            "GET", web.base_url + path, headers={"Accept": "application/dicom; transfer-syntax=*"}
        ) as sent,
    ):
        assert int(sent.headers["content-length"]) == len(head) + BODY_BYTES
        for chunk in sent.iter_bytes():
            received.update(chunk)
    record_property("stored_in_seconds", round(stored_in, 2))
    record_property("private_memory_growth_bytes", (memory.growth, reading.growth))
    assert received.digest() == digest.digest()
    assert memory.growth < 64 << 20
    assert reading.growth < 64 << 20


def test_a_body_over_the_limit_keeps_what_was_stored_and_says_so(stack, second_gateway):
    _, root = second_gateway
    first, second = study("limit", "CT", instances=2, size=(700, 700))
    big = [first.data, second.data] * 3
    content_type, body = encode_multipart(big)
    answer = httpx.post(
        f"{root}/dicom-web/studies", content=body, headers={"Content-Type": content_type}, timeout=30
    )
    found = stow_answer(answer)
    assert found.status == 202
    assert set(found.stored) == {first.sop_uid, second.sop_uid}
    assert list(found.other_failures) == [0xA700]
    stored = items(found.document, "00081199")[0]
    assert value(stored, "00081190").startswith("https://pacs.example/archive/dicom-web/studies/")
    # And a part over its own limit fails alone.
    (large,) = study("limit of a part", "CT", size=(1100, 1000))
    content_type, body = encode_multipart([large.data])
    alone = httpx.post(f"{root}/dicom-web/studies", content=body, headers={"Content-Type": content_type})
    assert (alone.status_code, list(stow_answer(alone).other_failures)) == (409, [0x0110])
    single = httpx.post(f"{root}/dicom-web/studies", content=large.data, headers={"Content-Type": DICOM})
    assert single.status_code == 413


def test_a_body_over_the_limit_with_nothing_stored_is_too_large(second_gateway):
    _, root = second_gateway
    answer = httpx.post(
        f"{root}/dicom-web/studies",
        content=b"--B\r\n\r\n" + bytes(4 << 20),
        headers={"Content-Type": "multipart/related; type=application/dicom; boundary=B"},
    )
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


def test_a_client_that_hangs_up_half_way_leaves_its_whole_parts_and_no_trouble(stack, web):
    whole, torn = study("hangs up", "CT", instances=2)
    content_type, body = encode_multipart([whole.data, torn.data])
    url = urlsplit(web.base_url)
    with socket.create_connection((url.hostname, url.port)) as connection:
        request = f"POST {url.path}/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n"
        connection.sendall(f"{request}Content-Length: {len(body)}\r\n\r\n".encode())
        connection.sendall(body[: len(body) - len(torn.data) // 2])
    found = wait_for(lambda: web.search(f"/studies/{whole.study_uid}/instances"), "the part that came whole")
    assert uids(found, "00080018") == [whole.sop_uid]
    assert web.store([torn.data]).status == 200
    assert "unexpected_error" not in stack.log_text()
