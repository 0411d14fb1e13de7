"""Requests that real clients were seen to send, kept as JSON, and studies to send them about.

A file holds ``{"client": ..., "requests": [...]}``. Paths and queries have placeholders such as
``{ct.series}``; ``stores`` names the instances of a body; ``answer`` is what must come back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email.message import Message
from pathlib import Path
from typing import Any

import httpx
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from gantry_testing.synthetic import Instance, Patient, make_series, make_study, make_uid, stream_series
from gantry_testing.synthetic.values import EXPLICIT_LE
from gantry_testing.web import encode_multipart

IMPLICIT_LE = "1.2.840.10008.1.2"
ETAG, ADDRESS = "{etag}", "{address}"
_PLACEHOLDER = re.compile(r"\{(\w+)\.(study|series|instance)\}")
_SIZE = (64, 64)

Studies = Mapping[str, Sequence[Instance]]
"""Instances of one series by kind, such as ``ct_j2k``."""


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request; ``number`` is its place in the file of ``client``."""

    client: str
    number: int
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    stores: Sequence[str]
    answer: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.client}-{self.number}"


def read_recordings(folder: Path) -> list[RecordedRequest]:
    """Return the requests of every file in ``folder``."""
    return [request for file in sorted(folder.glob("*.json")) for request in _read(file)]


def _read(file: Path) -> Iterator[RecordedRequest]:
    document = json.loads(file.read_bytes())
    for number, entry in enumerate(document["requests"], 1):
        yield RecordedRequest(
            client=document["client"],
            number=number,
            method=entry["method"],
            path=entry["path"],
            query=entry.get("query", ""),
            headers=entry["headers"],
            stores=entry.get("stores", ()),
            answer=entry["answer"],
        )


def send(request: RecordedRequest, studies: Studies, base_url: str, http: httpx.Client) -> httpx.Response:
    """Send a request about ``studies`` to the service at ``base_url`` and return the answer."""
    url = base_url + _filled(request.path, studies)
    if request.query:
        url += "?" + _filled(request.query, studies)
    headers = {name: value for name, value in request.headers.items() if name != "Transfer-Encoding"}
    if headers.get("Host") == ADDRESS:
        headers["Host"] = httpx.URL(base_url).host
    if headers.get("If-None-Match") == ETAG:
        fresh = {name: value for name, value in headers.items() if name != "If-None-Match"}
        headers["If-None-Match"] = http.request(request.method, url, headers=fresh).headers["ETag"]
    content: bytes | Iterator[bytes] | None = None
    if request.stores:
        _, content = encode_multipart(_files(request, studies), boundary=_boundary(headers["Content-Type"]))
        if "Transfer-Encoding" in request.headers:
            # A body of unknown length: it goes in chunks.
            content = iter([content])
    return http.request(request.method, url, headers=headers, content=content)


def _filled(text: str, studies: Studies) -> str:
    def uid(found: re.Match[str]) -> str:
        instance = studies[found[1]][0]
        uids = {"study": instance.study_uid, "series": instance.series_uid, "instance": instance.sop_uid}
        return uids[found[2]]

    return _PLACEHOLDER.sub(uid, text)


def _files(request: RecordedRequest, studies: Studies) -> Iterator[bytes]:
    return (studies[kind][0].data for kind in dict.fromkeys(request.stores))


def _boundary(content_type: str) -> str:
    message = Message()
    message["Content-Type"] = content_type
    return str(message.get_param("boundary"))


def studies_to_ask_about() -> dict[str, list[Instance]]:
    """Return small studies of the kinds that the recorded requests name."""
    codec = ("Test^Codec", "GC-0002")
    studies = {
        "ct": _series("ct", "CT", "Test^Phantom", "GC-0001", instances=2, amend=_with_private_elements),
        "ct_rle": _series("ct_rle", "CT", *codec, transfer_syntax=RLELossless),
        "ct_jls": _series("ct_jls", "CT", *codec, transfer_syntax=JPEGLSLossless),
        "ct_j2k": _series("ct_j2k", "CT", *codec, transfer_syntax=JPEG2000Lossless),
        "ct_implicit": _series("ct_implicit", "CT", "Test^Implicit", "GC-0003", transfer_syntax=IMPLICIT_LE),
        "ct_names": _series("ct_names", "CT", "Yamada^Tarou=山田^太郎=やまだ^たろう", "GC-ÄÖ-4"),
        "us_mf": _series(
            "us_mf", "US_CINE", "Test^Phantom", "GC-0005", frames=8, transfer_syntax=JPEGBaseline8Bit
        ),
        "wsi": _series(
            "wsi",
            "WSI",
            "Test^Phantom",
            "GC-0006",
            instances=2,
            frames=16,
            transfer_syntax=JPEGBaseline8Bit,
            amend=_with_icc_profile,
        ),
        "pdf": _series("pdf", "PDF", "Test^Phantom", "GC-0007"),
    }
    segmentation = make_series(studies["ct"][0].series.study, 2)
    return studies | {"seg": list(stream_series(segmentation, "SEG", size=_SIZE))}


def _series(
    name: str,
    kind: str,
    patient_name: str,
    patient_id: str,
    *,
    transfer_syntax: str = EXPLICIT_LE,
    **options: Any,  # noqa: ANN401 - those of stream_series
) -> list[Instance]:
    patient = Patient(patient_id=patient_id, patient_name=patient_name)
    study = replace(make_study(0, 0, patient), study_uid=make_uid("asked about", name), study_date="20240229")
    size = None if kind == "PDF" else _SIZE
    return list(
        stream_series(make_series(study), kind, transfer_syntax=transfer_syntax, size=size, **options)
    )


def _with_private_elements(ds: Dataset) -> None:
    block = ds.private_block(0x0011, "GANTRY TEST", create=True)
    block.add_new(0x01, "LO", "private text")
    block.add_new(0x02, "OB", bytes(range(256)) * 16)


def _with_icc_profile(ds: Dataset) -> None:
    # Longer than what metadata hold in themselves.
    ds.OpticalPathSequence[0].ICCProfile = bytes(3144)
