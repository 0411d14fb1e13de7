"""WADO-RS over HTTP against the whole archive (PS3.18 10.4; cases O-15 to O-22)."""

import gzip
import io
import re
import socket
import struct
import zlib
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import pytest
from gantry_testing import raw, strict_json
from gantry_testing.synthetic import (
    Layout,
    generate_study,
    make_series,
    make_study,
    make_uid,
    native_frame,
    read_identity,
    stream_series,
)
from gantry_testing.waiting import wait_for
from gantry_testing.web import DICOM_JSON, decode_multipart, value
from PIL import Image
from pydicom import dcmread

EXPLICIT, IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED, JPEG, JPEG_2000 = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"
NATIVE_FRAMES = 'multipart/related; type="application/octet-stream"'
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
SIZE = (64, 72)


def path_of(instance):
    return f"/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_uid}"


def stored(web, *instances):
    assert web.store([instance.data for instance in instances]).status == 200
    return instances[0] if len(instances) == 1 else list(instances)


def made(number, kind="CT", **options):
    # Every way to make one has a study of its own.
    seed = zlib.crc32(repr((number, kind, options)).encode()) % 10**6
    (instance,) = stream_series(make_series(make_study(seed)), kind, **options)
    return instance


def built(name, pixel_data, transfer_syntax=EXPLICIT, study_uid="", **options):
    """Return (path below the base, file) of a hand-made image whose UIDs follow from ``name``."""
    uid = make_uid("retrieving", name)
    study_uid = study_uid or uid
    data_set = raw.image(pixel_data, **options)
    for number, known in ((b"1.2.3.4\0", uid), (b"1.2.3.1\0", study_uid), (b"1.2.3.2\0", uid)):
        old, new = (b"UI" + struct.pack("<H", len(text)) + text for text in (number, known.encode()))
        assert old in data_set
        data_set = data_set.replace(old, new, 1)
    path = f"/studies/{study_uid}/series/{uid}/instances/{uid}"
    return path, raw.part10(data_set, transfer_syntax, sop_instance=uid)


def store_built(web, *args, **options):
    path, data = built(*args, **options)
    assert web.store([data]).status in (200, 202)
    return path


# -- whole objects


def test_study_series_and_instance_come_back_as_stored(web):
    instances = generate_study(7101, "CT", series=2, instances=3, size=SIZE)
    stored(web, *instances)
    study, series, instance = path_of(instances[0]).split("/series")[0], None, path_of(instances[0])
    series = instance.split("/instances")[0]
    for path, expected in ((study, instances), (series, instances[:3]), (instance, instances[:1])):
        answer = web.checked(web.get(path, AS_STORED))
        assert int(answer.headers["content-length"]) == len(answer.content)
        parts = decode_multipart(answer.headers["content-type"], answer.content)
        assert [part.body for part in parts] == [one.data for one in expected]
        assert {part.headers["content-type"] for part in parts} == {
            f"application/dicom; transfer-syntax={EXPLICIT}"
        }


def test_the_boundary_differs_from_answer_to_answer(web):
    instance = stored(web, made(102, size=SIZE))
    boundaries = {web.get(path_of(instance)).headers["content-type"] for _ in range(5)}
    assert len(boundaries) == 5


@pytest.mark.parametrize(
    ("syntax", "sent"),
    [
        (IMPLICIT, EXPLICIT),
        (BIG_ENDIAN, EXPLICIT),
        (DEFLATED, EXPLICIT),
        (RLE, EXPLICIT),
        (JPEG_2000, EXPLICIT),
        (JPEG, JPEG),
    ],
)
def test_without_a_wish_explicit_little_endian_is_sent_unless_only_lossy_data_exist(web, syntax, sent):
    instance = stored(web, made(110, "SC", transfer_syntax=syntax, size=SIZE))
    (part,) = web.retrieve(path_of(instance), 'multipart/related; type="application/dicom"')
    found = dcmread(io.BytesIO(part.body))
    assert found.file_meta.TransferSyntaxUID == sent
    assert part.headers["content-type"] == f"application/dicom; transfer-syntax={sent}"
    if sent == EXPLICIT:
        frame = native_frame(found.PixelData[: SIZE[0] * SIZE[1]], instance.plan)
        assert read_identity(frame) == instance.identity(1)


def test_a_damaged_codestream_goes_as_stored_and_does_not_tear_the_study(web):
    good = made(120, "SC", transfer_syntax=JPEG_2000, size=SIZE)
    path, damaged = built(
        "torn", raw.encapsulated(b"\xff\x4f\xff\x51" + bytes(40)), JPEG_2000, good.study_uid
    )
    assert web.store([good.data, damaged]).status == 200
    parts = web.retrieve(f"/studies/{good.study_uid}", 'multipart/related; type="application/dicom"')
    assert {part.headers["content-type"].rpartition("=")[2] for part in parts} == {EXPLICIT, JPEG_2000}
    wish = f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT}'
    alone = web.get(path, wish)
    assert (alone.status_code, alone.headers["content-type"]) == (406, "application/problem+json")


@pytest.mark.parametrize(
    ("below", "accept", "status"),
    [
        ("", "application/dicom", 200),
        ("", "*/*", 200),
        ("", "image/tiff", 406),
        ("", f"application/dicom; transfer-syntax={JPEG}", 406),
        ("", 'multipart/related; type="application/dicom"; transfer-syntax=a; transfer-syntax=b', 400),
        ("/metadata", "application/dicom+json, multipart/related; type=application/octet-stream", 200),
        ("/metadata", "application/dicom+xml;q=0.1, application/dicom+json;q=0.9", 200),
        ("/metadata", "text/html", 406),
        ("/frames/1", "multipart/related; type=application/octet-stream; transfer-syntax=*", 200),
        ("/frames/1", 'multipart/related; type="application/octet-stream"; transfer-syntax="*"', 200),
        ("/frames/1", 'multipart/related; type="*/*"', 200),
        ("/frames/1", "image/tiff", 406),
        ("/frames/0", "*/*", 400),
        ("/frames/x", "*/*", 400),
        ("/frames/1_0", "*/*", 400),
        ("/frames/2", "*/*", 404),
        ("/frames/1,2", "*/*", 404),
        ("/thumbnail", "application/json", 406),
        ("/rendered?quality=" + "9" * 5000, "*/*", 400),
        ("/rendered?viewport=nan,inf", "*/*", 400),
        ("/rendered?viewport=10,10,9999,9999,5,5", "*/*", 400),
        ("/rendered?window=1,0,linear", "*/*", 400),
        ("/rendered?window=40%2C80%2Clinear", "image/png", 200),
        ("/bulkdata/7FE00010", "*/*", 200),
        ("/bulkdata/00100010", "text/html", 406),
        ("/bulkdata/nonsense", "*/*", 400),
        ("/bulkdata/00420011", "*/*", 404),
        ("/nothing", "*/*", 404),
    ],
)
def test_what_cannot_be_given_is_said_in_problem_details(web, below, accept, status):
    instance = stored(web, made(130, size=SIZE))
    answer = web.get(path_of(instance) + below, accept)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
        head = web.http.head(web.base_url + path_of(instance) + below, headers={"Accept": accept})
        assert (head.status_code, head.content) == (status, b"")


def test_a_study_as_a_single_part_is_not_acceptable(web):
    instance = stored(web, made(131, size=SIZE))
    assert web.get(f"/studies/{instance.study_uid}", "application/dicom").status_code == 406


def test_the_accept_parameter_wins_over_the_header(web):
    instance = stored(web, made(132, size=SIZE))
    answer = web.get(f"{path_of(instance)}/thumbnail?accept=image%2Fjpeg", NATIVE_FRAMES)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")


@pytest.mark.parametrize(
    "path",
    ["/studies/1.2.3", "/studies/1.2.3/series/1.2", "/studies/1.2.3/series/1.2/instances/1/frames/1",
     "/studies/1.2.3/metadata", "/studies/1.2.3/thumbnail", "/studies/1.2.3/rendered"],
)  # fmt: skip
def test_what_was_never_stored_is_not_found_and_what_is_no_uid_is_a_bad_request(web, path):
    assert web.get(path).status_code == 404
    assert web.get(path.replace("1.2.3", "1.x.3")).status_code == 400


def test_an_instance_under_another_study_or_series_is_not_found(web):
    first, second = stored(web, made(133, size=SIZE), made(134, size=SIZE))
    assert web.get(path_of(first).replace(first.study_uid, second.study_uid)).status_code == 404
    assert web.get(path_of(first).replace(first.series_uid, second.series_uid)).status_code == 404


def test_head_gives_the_headers_of_get_and_another_method_is_not_allowed(web):
    instance = stored(web, made(135, size=SIZE))
    for below in ("", "/frames/1", "/metadata", "/bulkdata/7FE00010", "/rendered"):
        url = web.base_url + path_of(instance) + below
        got, head = web.http.get(url), web.http.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers.get("content-length") == got.headers.get("content-length")
    refused = web.http.put(web.base_url + path_of(instance))
    assert (refused.status_code, refused.headers["content-type"]) == (405, "application/problem+json")
    assert set(refused.headers["allow"].split(", ")) == {"DELETE", "GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("size", [SIZE, (1600, 1500)], ids=["whole", "streamed"])
def test_an_object_lost_behind_the_server_is_never_a_200(web, path_of_object, size):
    number = size[0]
    lost, kept = (made(number + at, size=size) for at in (0, 1))
    kept_path = path_of(kept)
    stored(web, lost, kept)
    path_of_object(lost.sop_uid).unlink()
    for below in ("", "/frames/1", "/rendered", "/bulkdata/7FE00010"):
        answer = web.get(path_of(lost) + below)
        assert answer.status_code in (404, 500, 503), below
        assert answer.headers["content-type"] == "application/problem+json"
    assert web.get(kept_path).status_code == 200
    assert len(web.metadata(path_of(lost))) == 1


def test_an_object_lost_in_the_middle_of_a_study_breaks_the_answer_off(web, path_of_object):
    instances = generate_study(7140, "CT", instances=12, size=(900, 900))
    stored(web, *instances[:6])
    stored(web, *instances[6:])
    path_of_object(instances[-1].sop_uid).unlink()
    with pytest.raises(Exception, match=r"(?i)peer closed|disconnected|incomplete|reset"):
        web.get(f"/studies/{instances[0].study_uid}", AS_STORED)


def test_a_client_that_hangs_up_in_the_middle_of_a_study_leaves_nothing_running(stack, web):
    instances = generate_study(7150, "CT", instances=40, size=(700, 700))
    for at in range(0, 40, 10):
        stored(web, *instances[at : at + 10])
    url = urlsplit(web.base_url)
    for _ in range(5):
        with socket.create_connection((url.hostname, url.port)) as connection:
            path = f"{url.path}/studies/{instances[0].study_uid}"
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    metrics = stack.health_url("gateway") + "/metrics"
    # The request that asks is the one that is left.
    wait_for(lambda: re.search(r"gantry_http_requests_in_flight\S* 1\.0", web.http.get(metrics).text), "rest")
    assert "unexpected_error" not in stack.log_text()


# -- frames


def test_a_list_of_frames_comes_in_its_order(web):
    instance = stored(web, made(200, "US_CINE", transfer_syntax=JPEG, frames=5, size=SIZE))
    parts = web.retrieve(f"{path_of(instance)}/frames/3,1", "multipart/related; type=image/jpeg")
    for part, number in zip(parts, (3, 1), strict=True):
        assert part.headers["content-type"] == f"image/jpeg; transfer-syntax={JPEG}"
        pixels = np.asarray(Image.open(io.BytesIO(part.body)))
        assert pixels.shape == (*SIZE, 3)
        assert part.body == web.frames(path_of(instance), number)[0]
    assert len(web.retrieve(f"{path_of(instance)}/frames/{','.join(['1'] * 200)}", NATIVE_FRAMES)) == 200


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        *((kind, BIG_ENDIAN) for kind in ("US_CINE_PLANAR", "SEG", "ENHANCED_MR", "RTDOSE", "PMAP")),
        ("SEG", EXPLICIT),
        ("SEG", DEFLATED),
        ("ENHANCED_MR", IMPLICIT),
        ("ENHANCED_MR", JPEG_2000),
        ("US_CINE_PLANAR", RLE),
    ],
)
def test_every_kind_of_frame_comes_as_native_little_endian(web, kind, syntax):
    instance = stored(web, made(210, kind, transfer_syntax=syntax, frames=3))
    # What is decompressed comes colour by pixel.
    plan = replace(instance.plan, planar=0) if syntax == RLE else instance.plan
    for number, part in enumerate(web.retrieve(f"{path_of(instance)}/frames/1,2,3", NATIVE_FRAMES), 1):
        assert read_identity(native_frame(part.body, plan)) == instance.identity(number)
        assert part.headers["content-type"] == f"application/octet-stream; transfer-syntax={EXPLICIT}"


@pytest.mark.parametrize("planar", [0, 1])
def test_odd_colour_frames_are_cut_exactly(web, planar):
    pixels = bytes(range(90))
    path = store_built(
        web,
        f"colour {planar}",
        raw.element(0x7FE00010, "OB", pixels),
        rows=5,
        columns=3,
        samples=3,
        frames="2 ",
        photometric="RGB ",
        extra=[(0x00280006, raw.us(0x00280006, planar))],
    )
    assert web.frames(path, 1, 2) == [pixels[:45], pixels[45:]]
    assert web.get(f"{path}/frames/2/rendered", "image/png").status_code == 200


def test_single_bit_frames_begin_on_a_byte(web):
    pixel_data = raw.element(0x7FE00010, "OB", bytes.fromhex("f52ac44c6603"))
    path = store_built(web, "bits", pixel_data, rows=3, columns=5, bits_allocated=1, frames="3 ")
    assert [frame.hex() for frame in web.frames(path, 1, 2, 3)] == ["f52a", "8819", "990d"]


def jpeg(number, length=40):
    return b"\xff\xd8\xff\xe0" + bytes([number]) * length + b"\xff\xd9"


@pytest.mark.parametrize(
    ("name", "frames", "fragments", "found"),
    [
        ("one each", "3 ", [jpeg(1), jpeg(2), jpeg(3)], [jpeg(1), jpeg(2), jpeg(3)]),
        (
            "two each",
            "3 ",
            [half for n in (1, 2, 3) for half in (jpeg(n)[:22], jpeg(n)[22:])],
            [jpeg(1), jpeg(2), jpeg(3)],
        ),
        ("five for one", "1 ", [jpeg(9)[at : at + 10] for at in range(0, 46, 10)], [jpeg(9)]),
        ("one too few", "3 ", [jpeg(1), jpeg(2)], [jpeg(1), jpeg(2)]),
    ],
)
def test_an_empty_offset_table_still_gives_the_right_frames(web, name, frames, fragments, found):
    path = store_built(web, name, raw.encapsulated(*fragments), JPEG, frames=frames)
    numbers = range(1, len(found) + 1)
    assert web.frames(path, *numbers) == found
    assert web.get(f"{path}/frames/{len(found) + 1}").status_code == 404


def test_an_extended_offset_table_gives_the_right_frames(web):
    instance = stored(
        web,
        made(220, "US_CINE", transfer_syntax=RLE, frames=4, size=SIZE, layout=Layout("extended", 1)),
    )
    for number, part in enumerate(web.retrieve(f"{path_of(instance)}/frames/1,2,3,4", NATIVE_FRAMES), 1):
        pixels = np.frombuffer(part.body, np.uint8).reshape(*SIZE, 3)
        assert read_identity(pixels) == instance.identity(number)


def test_a_frame_of_a_report_is_not_found(web):
    instance = stored(web, made(221, "SR"))
    assert web.get(f"{path_of(instance)}/frames/1").status_code == 404
    assert web.get(f"{path_of(instance)}/frames/1/thumbnail").status_code == 404
    assert web.get(f"{path_of(instance)}/rendered", "image/jpeg").status_code == 406


# -- metadata and bulk data


def test_metadata_is_json_with_links_to_bulk_data_that_resolve(web):
    ecg, pdf, compressed = stored(
        web, made(300, "ECG"), made(301, "PDF"), made(302, "SC", transfer_syntax=JPEG_2000, size=SIZE)
    )
    for instance in (ecg, pdf, compressed):
        answer = web.checked(web.get(path_of(instance) + "/metadata", DICOM_JSON))
        assert answer.headers["content-type"] == DICOM_JSON
        (document,) = strict_json.read(answer.content)
        assert value(document, "00080018") == instance.sop_uid
        assert not [tag for tag in document if tag.startswith("0002")]
    waveform = value(web.metadata(path_of(ecg))[0], "54000100")["54001010"]["BulkDataURI"]
    answer = web.http.get(waveform, headers={"Accept": NATIVE_FRAMES})
    (part,) = decode_multipart(answer.headers["content-type"], answer.content)
    assert part.body == dcmread(io.BytesIO(ecg.data)).WaveformSequence[0].WaveformData
    assert part.headers["content-location"] == waveform
    single = web.http.get(waveform, headers={"Accept": "application/octet-stream"})
    assert (single.content, single.headers["content-type"]) == (part.body, "application/octet-stream")
    pixels = web.metadata(path_of(compressed))[0]["7FE00010"]["BulkDataURI"]
    answer = web.http.get(pixels, headers={"Accept": "image/jp2"})
    assert (answer.content, answer.headers["content-type"]) == (
        web.frames(path_of(compressed), 1)[0],
        f"image/jp2; transfer-syntax={JPEG_2000}",
    )


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN, DEFLATED])
def test_pixel_data_as_bulk_data_is_little_endian(web, syntax):
    instance = stored(web, made(310, "RTDOSE", transfer_syntax=syntax, frames=2))
    answer = web.get(path_of(instance) + "/bulkdata/7FE00010", "application/octet-stream")
    half = len(answer.content) // 2
    for number, frame in enumerate((answer.content[:half], answer.content[half:]), 1):
        assert read_identity(native_frame(frame, instance.plan)) == instance.identity(number)


def test_a_large_document_is_streamed_in_its_own_media_type(web):
    uid = make_uid("large document")
    document = b"%PDF-1.7 " + bytes(range(256)) * 40_000
    document += bytes(len(document) % 2)
    data_set = raw.instance(
        (0x00420011, raw.element(0x00420011, "OB", document)),
        (0x00420012, raw.element(0x00420012, "LO", b"application/pdf ")),
        uids={0x00080018: uid, 0x0020000D: uid, 0x0020000E: uid},
    )
    assert web.store([raw.part10(data_set, sop_instance=uid)]).status == 200
    path = f"/studies/{uid}/series/{uid}/instances/{uid}"
    accept = "multipart/related; type=application/pdf, multipart/related; type=application/octet-stream"
    (part,) = web.retrieve(f"{path}/bulkdata/00420011", accept)
    assert (part.body, part.headers["content-type"]) == (document, "application/pdf")


def test_metadata_is_conditional_and_compressed_on_request(web):
    first, second = generate_study(7320, "CT", instances=2, size=SIZE)
    stored(web, first)
    url = f"{web.base_url}/studies/{first.study_uid}/metadata"
    plain = web.http.get(url, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    strict_json.read(plain.content)
    with web.http.stream("GET", url, headers={"Accept-Encoding": "br, gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert gzip.decompress(b"".join(answer.iter_raw())) == plain.content
        assert answer.headers["etag"] != plain.headers["etag"]
    refused = web.http.get(url, headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers
    for tag in (plain.headers["etag"], f'"other", W/{plain.headers["etag"]}', "*"):
        again = web.http.get(url, headers={"Accept-Encoding": "identity", "If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", plain.headers["etag"])
    stored(web, second)
    changed = web.http.get(
        url, headers={"Accept-Encoding": "identity", "If-None-Match": plain.headers["etag"]}
    )
    assert changed.status_code == 200
    assert len(strict_json.read(changed.content)) == 2


# -- pictures


def ramp(name, *, shape):
    samples = np.arange(4096, dtype="<u2")
    extra = [
        (0x00280101, raw.us(0x00280101, 12)),
        (0x00281050, raw.element(0x00281050, "DS", b"2048")),
        (0x00281051, raw.element(0x00281051, "DS", b"4096")),
    ]
    if shape:
        extra.append((0x20500020, raw.element(0x20500020, "CS", shape)))
    pixels = raw.element(0x7FE00010, "OW", samples.tobytes())
    return built(
        name, pixels, rows=64, columns=64, bits_allocated=16, photometric="MONOCHROME1 ", extra=extra
    )


@pytest.mark.parametrize("shape", [b"", b"INVERSE ", b"IDENTITY"])
def test_monochrome1_is_inverted_once_whatever_the_presentation_lut_says(web, shape):
    path, data = ramp(f"ramp {shape!r}", shape=shape)
    assert web.store([data]).status == 200
    answer = web.checked(web.get(f"{path}/rendered", "image/png"))
    shown = np.asarray(Image.open(io.BytesIO(answer.content))).reshape(-1).astype(int)
    assert (shown[0], shown[-1]) == (255, 0)
    assert (np.diff(shown) <= 0).all()


def test_frames_and_thumbnails_are_rendered_in_the_type_asked_for(web):
    instances = generate_study(7400, "US_CINE", instances=2, frames=3, size=SIZE)
    stored(web, *instances)
    path = path_of(instances[0])
    for accept, kind in (("image/jpeg", "JPEG"), ("image/png", "PNG"), ("image/gif", "GIF"), ("*/*", "JPEG")):
        picture = Image.open(io.BytesIO(web.checked(web.get(f"{path}/frames/2/rendered", accept)).content))
        assert (picture.format, picture.size) == (kind, (SIZE[1], SIZE[0]))
    small = web.checked(web.get(f"{path}/rendered?viewport=36,32", "image/png"))
    assert Image.open(io.BytesIO(small.content)).size == (36, 32)
    series, study = path.split("/instances")[0], path.split("/series")[0]
    for above in (path, series, study):
        assert Image.open(io.BytesIO(web.checked(web.get(f"{above}/thumbnail")).content)).size == (128, 114)
    parts = web.retrieve(f"{series}/rendered", 'multipart/related; type="image/png"')
    assert [part.headers["content-type"] for part in parts] == ["image/png"] * 6
    assert len(web.retrieve(f"{study}/rendered", "*/*")) == 6
