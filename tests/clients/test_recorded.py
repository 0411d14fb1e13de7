"""What real clients were seen to send is answered as when their users were content.

``make clients ARGS=--record`` writes ``recorded/`` anew, but for the files named ``described-``: those were
written by hand, from descriptions of clients that do not run here.
"""

from __future__ import annotations

import io
import json
from email.message import Message
from pathlib import Path

import pytest
from gantry_testing import strict_json
from gantry_testing.recorded_requests import read_recordings, send
from gantry_testing.web import decode_multipart
from PIL import Image
from pydicom import dcmread

REQUESTS = read_recordings(Path(__file__).parent / "recorded")
# What a client looks for at the beginning of a part.
BEGINS = {
    "image/jpeg": b"\xff\xd8",
    "image/jls": b"\xff\xd8\xff",
    "image/jp2": b"\xff\x4f\xff\x51",
    "application/pdf": b"%PDF-",
}


def media_type(header):
    """Return a media type and its parameters but the boundary."""
    message = Message()
    message["Content-Type"] = header
    parameters = dict(message.get_params()[1:])
    parameters.pop("boundary", None)
    return message.get_content_type(), parameters


@pytest.mark.parametrize("request_seen", REQUESTS, ids=str)
def test_a_request_seen_is_answered_as_it_was(request_seen, archive, http):
    base_url, studies = archive
    answer = send(request_seen, studies, base_url, http)
    expected = request_seen.answer
    assert answer.status_code == expected["status"], answer.text[:300]
    if "type" in expected:
        assert media_type(answer.headers["Content-Type"]) == media_type(expected["type"])
        check_content(answer, expected, base_url)
    else:
        assert not answer.content
    if expected.get("allowed"):
        allowed = answer.headers["Access-Control-Allow-Origin"]
        assert allowed in {"*", request_seen.headers["Origin"]}
    wanted = request_seen.headers.get("Access-Control-Request-Headers", "")
    allowed_headers = answer.headers.get("Access-Control-Allow-Headers", "").lower()
    assert all(name in allowed_headers for name in wanted.lower().split(",") if name)


def check_content(answer, expected, base_url):
    """Read an answer as a client does."""
    kind, parameters = media_type(answer.headers["Content-Type"])
    if kind == "multipart/related":
        parts = decode_multipart(answer.headers["Content-Type"], answer.content)
        found = [media_type(part.headers["content-type"]) for part in parts]
        wanted = [media_type(text) for text in expected["parts"]]
        assert all(one in wanted for one in found)
        assert all(one in found for one in wanted)
        for part, (inner, _) in zip(parts, found, strict=True):
            assert inner == parameters["type"]
            check_bytes(inner, part.body)
    elif kind == "application/dicom+json":
        document = strict_json.read(answer.content)
        if "found" in expected:
            assert (document != []) is expected["found"]
            assert all(uri.startswith(f"{base_url}/studies/") for uri in bulk_data_uris(document))
    elif kind.endswith("+json"):
        assert json.loads(answer.content)["status"] == answer.status_code
    else:
        check_bytes(kind, answer.content)


def check_bytes(kind, content):
    """Check that bytes are what their media type says."""
    assert content.startswith(BEGINS.get(kind, b""))
    if kind == "application/dicom":
        assert dcmread(io.BytesIO(content)).SOPInstanceUID
    elif kind in {"image/png", "image/jpeg", "image/gif"}:
        Image.open(io.BytesIO(content)).load()
    assert content


def bulk_data_uris(document):
    """Yield every BulkDataURI below a DICOM JSON object or array."""
    if isinstance(document, list):
        for item in document:
            yield from bulk_data_uris(item)
    elif isinstance(document, dict):
        for name, member in document.items():
            if name == "BulkDataURI":
                yield member
            else:
                yield from bulk_data_uris(member)
