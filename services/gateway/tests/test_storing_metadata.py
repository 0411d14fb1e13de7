"""Instances as metadata and bulk data (PS3.18 10.5.2) against an application with nothing else up."""

import json
import random

import imagecodecs
import numpy as np
import pytest
from gantry_dicom.gate import admit
from gantry_dicom.refusals import Refusal
from gantry_testing.web import items

JSON = "application/dicom+json"
XML = "application/dicom+xml"
BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaa"><!ENTITY b "&a;&a;&a;">]><NativeDicomModel>&b;</NativeDicomModel>'


@pytest.fixture
async def gateway(world):
    async with world.gateway(policy="open", verdict_seconds=0.0, stow_metadata_bytes=100_000) as client:
        yield client


def metadata(number, **further):
    uids = {
        "00080016": "1.2.840.10008.5.1.4.1.1.7",
        "00080018": f"1.2.3.{number}",
        "0020000D": "1.2",
        "0020000E": "1.3",
    }
    found = {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}
    return found | {tag.lstrip("x"): attribute for tag, attribute in further.items()}


def multipart(*parts):
    pieces = [
        f"--B\r\nContent-Type: {media_type}\r\nContent-Location: {location}\r\n\r\n".encode() + data + b"\r\n"
        for media_type, location, data in parts
    ]
    return b"".join(pieces) + b"--B--\r\n"


async def send(gateway, body, root=JSON, path="/studies"):
    content_type = f'multipart/related; type="{root}"; boundary=B'
    return await gateway.post(f"/dicom-web{path}", content=body, headers={"Content-Type": content_type})


async def stored_objects(world):
    keys = [info.key async for info in world.store.list("o/")]
    return [admit(await world.store.get(key)) for key in sorted(keys)]


async def test_frames_as_parts_of_one_location_become_an_encapsulated_object(gateway, world):
    streams = [imagecodecs.jpegls_encode(np.full((16, 16), shade, np.uint8)) for shade in (1, 2, 3)]
    document = metadata(1, x7FE00010={"vr": "OB", "BulkDataURI": "pixels"})
    body = multipart(
        *(("image/jls", "pixels", stream) for stream in streams), (JSON, "", json.dumps([document]).encode())
    )
    answer = await send(gateway, body)
    assert answer.status_code == 200
    [admission] = await stored_objects(world)
    assert admission.transfer_syntax_uid == "1.2.840.10008.1.2.4.80"
    assert admission.warnings == ()


async def test_one_failing_document_does_not_sink_the_others(gateway):
    documents = [
        metadata(1),
        metadata(2, x7FE00010={"vr": "OW", "BulkDataURI": "never came"}),
        metadata(3, x00280010={"vr": "US", "Value": ["no number"]}),
        metadata(4, x0020000D={"vr": "UI", "Value": ["9.9"]}),
        "no object",
    ]
    answer = await send(gateway, multipart((JSON, "", json.dumps(documents).encode())), path="/studies/1.2")
    assert answer.status_code == 202
    document = answer.json()
    reasons = {
        item["00081155"]["Value"][0]: item["00081197"]["Value"][0] for item in items(document, "00081198")
    }
    assert reasons == {
        "1.2.3.2": Refusal.BULK_DATA_MISSING.failure_reason,
        "1.2.3.3": Refusal.METADATA_MALFORMED.failure_reason,
        "1.2.3.4": Refusal.STUDY_MISMATCH.failure_reason,
    }
    assert len(items(document, "0008119A")) == 1


async def test_metadata_without_bulk_data_may_be_the_whole_body(gateway, world):
    body = json.dumps([metadata(1), metadata(2)]).encode()
    answer = await gateway.post("/dicom-web/studies", content=body, headers={"Content-Type": JSON})
    assert answer.status_code == 200
    assert len(await stored_objects(world)) == 2


async def test_an_entity_bomb_fails_its_part(gateway):
    answer = await send(gateway, multipart((XML, "", BOMB)), XML)
    assert answer.status_code == 409
    [failure] = items(answer.json(), "0008119A")
    assert failure["00081197"]["Value"] == [Refusal.METADATA_MALFORMED.failure_reason]


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([(JSON, "", b"[{]")], 400),
        ([(JSON, "", b"[" * 90_000)], 400),
        ([("text/plain", "x", b"no metadata")], 400),
        ([("a b", "x", b"no media type")], 400),
        ([(JSON, "", b"[" + b" " * 100_001 + b"]")], 413),
    ],
)
async def test_metadata_that_cannot_be_read_fail_the_request(gateway, parts, status):
    answer = await send(gateway, multipart(*parts))
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_no_damaged_body_is_a_server_error(gateway):
    dice = random.Random(7)
    document = metadata(1, x7FE00010={"vr": "OB", "BulkDataURI": "p"}, x00081115={"vr": "SQ", "Value": [{}]})
    stream = imagecodecs.jpegls_encode(np.zeros((16, 16), np.uint8))
    whole = multipart((JSON, "", json.dumps([document]).encode()), ("image/jls", "p", stream))
    for _ in range(300):
        body = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(body))
            body[at : at + dice.randint(0, 6)] = dice.randbytes(dice.randint(0, 4))
        answer = await send(gateway, bytes(body), dice.choice([JSON, XML, "application/dicom"]))
        assert answer.status_code < 500, bytes(body)
