"""Whole objects and frames in another transfer syntax, over HTTP against the whole archive (W01 to W26)."""

import io
import struct
from dataclasses import replace

import pytest
from gantry_testing import raw
from gantry_testing.synthetic import (
    make_series,
    make_study,
    make_uid,
    native_frame,
    read_identity,
    stream_series,
)
from gantry_testing.synthetic.codecs import decode_frame
from pydicom import dcmread
from pydicom.encaps import generate_frames

EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
JPEG_LOSSLESS, JPEG_LS, JPEG_2000 = (f"1.2.840.10008.1.2.4.{number}" for number in (70, 80, 90))
HTJ2K, RLE, DEFLATED_FRAMES = "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1"


def path_of(instance):
    return f"/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_uid}"


def stored(web, number, kind, **options):
    [instance] = stream_series(make_series(make_study(number)), kind, **options)
    assert web.store([instance.data]).status == 200
    return instance


def retrieved(web, instance, syntax):
    answer = web.checked(web.get(path_of(instance), f"application/dicom; transfer-syntax={syntax}"))
    assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={syntax}"
    found = dcmread(io.BytesIO(answer.content))
    assert found.file_meta.TransferSyntaxUID == syntax
    assert found.SOPInstanceUID == instance.sop_uid
    return found


def native_frames(data_set, instance):
    plan = replace(instance.plan, planar=0) if instance.transfer_syntax_uid == RLE else instance.plan
    size = (plan.frame_bits + 7) // 8
    for number in range(instance.frames):
        yield native_frame(data_set.PixelData[number * size : (number + 1) * size], plan)


@pytest.fixture(scope="module")
def large(web):
    return stored(web, 8101, "US_CINE", transfer_syntax=RLE, frames=4, size=(1300, 1200))


@pytest.mark.parametrize("target", [EXPLICIT, JPEG_LS])
def test_an_object_too_large_to_hold_is_transcoded_as_it_goes(web, large, target):
    instance = large
    found = retrieved(web, instance, target)
    if target == JPEG_LS:
        frames = [
            decode_frame(frame, instance.plan, target)
            for frame in generate_frames(found.PixelData, number_of_frames=4)
        ]
    else:
        frames = list(native_frames(found, instance))
    assert [read_identity(frame) for frame in frames] == [instance.identity(number) for number in range(1, 5)]


def test_a_large_object_whose_first_frame_is_damaged_goes_as_stored(web):
    uid = make_uid("transcoding", "damaged")
    data_set = raw.image(
        raw.encapsulated(b"\xff\x4f\xff\x51" + bytes(60)), rows=5000, columns=5000, photometric="MONOCHROME2 "
    )
    for old in (b"1.2.3.4\0", b"1.2.3.1\0", b"1.2.3.2\0"):
        was, becomes = (b"UI" + struct.pack("<H", len(text)) + text for text in (old, uid.encode()))
        data_set = data_set.replace(was, becomes, 1)
    data = raw.part10(data_set, JPEG_2000, sop_instance=uid)
    assert web.store([data]).status in (200, 202)
    path = f"/studies/{uid}/series/{uid}/instances/{uid}"
    assert web.checked(web.get(path, "application/dicom")).content == data
    assert web.get(path, f"application/dicom; transfer-syntax={EXPLICIT}").status_code == 406


SOURCES = [IMPLICIT, BIG_ENDIAN, DEFLATED, HTJ2K, RLE]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", [EXPLICIT, JPEG_LOSSLESS, JPEG_2000, RLE])
def test_every_source_is_had_in_every_target(web, source, target):
    number = 8110 + SOURCES.index(source)
    instance = stored(web, number, "ENHANCED_MR", transfer_syntax=source, frames=2, size=(64, 72))
    found = retrieved(web, instance, target)
    if target == EXPLICIT:
        frames = list(native_frames(found, instance))
    else:
        frames = [
            decode_frame(frame, instance.plan, target)
            for frame in generate_frames(found.PixelData, number_of_frames=2)
        ]
    assert [read_identity(frame) for frame in frames] == [instance.identity(1), instance.identity(2)]


def test_single_bit_frames_survive_being_deflated_one_by_one_and_back(web):
    instance = stored(web, 8103, "SEG", frames=3)
    deflated = retrieved(web, instance, DEFLATED_FRAMES)
    assert len(list(generate_frames(deflated.PixelData, number_of_frames=3))) == 3
    uid = make_uid("transcoding", "one bit")
    deflated.SOPInstanceUID = deflated.file_meta.MediaStorageSOPInstanceUID = uid
    out = io.BytesIO()
    deflated.save_as(out)
    assert web.store([out.getvalue()]).status in (200, 202)
    path = path_of(instance).replace(instance.sop_uid, uid)
    again = dcmread(io.BytesIO(web.checked(web.get(path, "application/dicom")).content))
    original = dcmread(io.BytesIO(instance.data))
    assert again.PixelData == original.PixelData


def test_validators_and_ranges_of_frames(web):
    instance = stored(web, 8104, "CT", size=(64, 72))
    url = f"{web.base_url}{path_of(instance)}/frames/1"
    octets = {"Accept": "application/octet-stream"}
    whole = web.http.get(url, headers=octets)
    assert whole.headers["accept-ranges"] == "bytes"
    part = web.http.get(url, headers=octets | {"Range": "bytes=2-9", "If-Range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, whole.content[2:10])
    assert part.headers["content-range"] == f"bytes 2-9/{len(whole.content)}"
    multipart = web.http.get(url)
    assert multipart.headers["etag"].startswith('W/"')
    for headers, etag in ((octets, whole.headers["etag"]), ({}, multipart.headers["etag"])):
        again = web.http.get(url, headers=headers | {"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")
