"""A DICOMweb client for tests: STOW-RS, QIDO-RS and WADO-RS over httpx, strict about answers.

It shares no code with the gateway; the multipart reader refuses what RFC 2046 does not allow,
where a lenient one would hide a defect.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from types import TracebackType
from typing import Any, Self

import httpx
from gantry_dicom.errors import CannotProcess

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
ANY_TRANSFER_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
OCTETS = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'

Json = dict[str, Any]


class BadAnswer(CannotProcess):
    """The server's answer breaks the protocol."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart answer; names of headers in lower case."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class StowAnswer:
    """What a store request was answered: the sequences of PS3.18 10.5.3 by SOP Instance UID."""

    status: int
    stored: Mapping[str, Json]
    failed: Mapping[str, int]
    # Failure reasons of parts that could not be identified.
    other_failures: Sequence[int]
    document: Json
    headers: Mapping[str, str] = field(default_factory=dict)


def encode_multipart(
    parts: Iterable[bytes], media_type: str = DICOM, boundary: str | None = None
) -> tuple[str, bytes]:
    """Return Content-Type and body of a multipart/related message of ``parts``."""
    boundary = boundary or f"gantry-{secrets.token_hex(16)}"
    delimiter = f"--{boundary}\r\n".encode()
    head = delimiter + f"Content-Type: {media_type}\r\n\r\n".encode()
    body = b"".join(head + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()
    return f'multipart/related; type="{media_type}"; boundary={boundary}', body


def decode_multipart(content_type: str, body: bytes) -> list[Part]:
    """Return the parts of a multipart/related message (RFC 2046 5.1.1). Raises ``BadAnswer``."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/related" or not isinstance(boundary, str):
        raise BadAnswer(f"not multipart/related with a boundary: {content_type}")
    delimiter = b"\r\n--" + boundary.encode()
    # The first delimiter may stand at the very beginning.
    pieces = (b"\r\n" + body).split(delimiter)
    if len(pieces) < 3 or pieces[0].strip():
        raise BadAnswer("no parts, or text before the first of them")
    if pieces[-1] not in {b"--", b"--\r\n"}:
        raise BadAnswer("the closing delimiter is missing")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    if not piece.startswith(b"\r\n"):
        raise BadAnswer("a delimiter does not end its line: the boundary occurs in a part")
    head, separator, body = piece[2:].partition(b"\r\n\r\n")
    if not separator:
        raise BadAnswer("a part without an end of its headers")
    headers = {}
    for line in head.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon:
            raise BadAnswer(f"not a header: {line!r}")
        headers[name.strip().lower()] = value.strip()
    length = headers.get("content-length")
    if length is not None and int(length) != len(body):
        raise BadAnswer(f"Content-Length {length} of a part with {len(body)} bytes")
    return Part(headers, body)


class WebClient:
    """One DICOMweb service, by its base URL (the part before ``/studies``)."""

    def __init__(self, base_url: str, *, timeout: float = 60.0) -> None:
        self.base_url = base_url.rstrip("/")
        self.http = httpx.Client(timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def store(self, files: Sequence[bytes], study_uid: str | None = None) -> StowAnswer:
        """Store files by STOW-RS in one multipart request."""
        content_type, body = encode_multipart(files)
        return self.store_body(content_type, body, study_uid)

    def store_body(self, content_type: str, body: bytes, study_uid: str | None = None) -> StowAnswer:
        """Store a body as it is. Raises ``BadAnswer`` when the answer is no store response."""
        path = "/studies" if study_uid is None else f"/studies/{study_uid}"
        answer = self.http.post(
            self.base_url + path, content=body, headers={"Content-Type": content_type, "Accept": DICOM_JSON}
        )
        return stow_answer(answer)

    def search(self, path: str, **params: str | int | Sequence[str]) -> list[Json]:
        """Return the matches of a QIDO-RS search; ``path`` like ``/studies``. Raises ``BadAnswer``."""
        # An empty mapping would take away a query that is in the path.
        answer = self.http.get(self.base_url + path, params=params or None, headers={"Accept": DICOM_JSON})
        if answer.status_code == 204:
            return []
        found = self.checked(answer).json()
        if not isinstance(found, list):
            raise BadAnswer("a search is answered by an array (PS3.18 10.6.3)")
        return found

    def metadata(self, path: str) -> list[Json]:
        """Return the metadata below ``path`` (``/studies/...``). Raises ``BadAnswer``."""
        answer = self.http.get(f"{self.base_url}{path}/metadata", headers={"Accept": DICOM_JSON})
        found: list[Json] = self.checked(answer).json()
        return found

    def retrieve(self, path: str, accept: str = ANY_TRANSFER_SYNTAX) -> list[Part]:
        """Return the parts of a multipart answer. Raises ``BadAnswer``."""
        answer = self.checked(self.get(path, accept))
        return decode_multipart(answer.headers["content-type"], answer.content)

    def retrieve_instance(self, study_uid: str, series_uid: str, sop_uid: str) -> bytes:
        """Return one instance in the transfer syntax it is stored in. Raises ``BadAnswer``."""
        path = f"/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}"
        parts = self.retrieve(path)
        if len(parts) != 1:
            raise BadAnswer(f"{len(parts)} parts for one instance")
        return parts[0].body

    def frames(self, path: str, *numbers: int) -> list[bytes]:
        """Return frames as they are stored, without transcoding. Raises ``BadAnswer``."""
        parts = self.retrieve(f"{path}/frames/{','.join(map(str, numbers))}", OCTETS)
        if len(parts) != len(numbers):
            raise BadAnswer(f"{len(parts)} parts for {len(numbers)} frames")
        return [part.body for part in parts]

    def get(self, path: str, accept: str = "*/*") -> httpx.Response:
        """Return the answer to a GET below the base URL, whatever its status."""
        return self.http.get(self.base_url + path, headers={"Accept": accept})

    @staticmethod
    def checked(answer: httpx.Response) -> httpx.Response:
        """Return a 200 answer. Raises ``BadAnswer`` for any other."""
        if answer.status_code != 200:
            raise BadAnswer(f"{answer.request.url.path} answered {answer.status_code}: {answer.text[:300]}")
        return answer


def stow_answer(answer: httpx.Response) -> StowAnswer:
    """Read a store response. Raises ``BadAnswer`` when it is none."""
    if answer.headers.get("content-type", "").partition(";")[0] != DICOM_JSON:
        raise BadAnswer(f"store answered {answer.status_code}: {answer.text[:300]}")
    document: Json = answer.json()
    return StowAnswer(
        status=answer.status_code,
        stored={_text(item, "00081155"): item for item in items(document, "00081199")},
        failed={
            _text(item, "00081155"): int(item["00081197"]["Value"][0]) for item in items(document, "00081198")
        },
        other_failures=[int(item["00081197"]["Value"][0]) for item in items(document, "0008119A")],
        document=document,
        headers=dict(answer.headers),
    )


def items(document: Json, tag: str) -> list[Json]:
    """Return the items of a sequence of a DICOM JSON object."""
    found: list[Json] = document.get(tag, {}).get("Value", [])
    return found


def value(document: Json, tag: str) -> Any:  # noqa: ANN401 - whatever the VR makes of it
    """Return the first value of an attribute of a DICOM JSON object, or ``None``."""
    values = document.get(tag, {}).get("Value") or [None]
    return values[0]


def uids(documents: Iterable[Json], tag: str) -> list[str]:
    """Return the UIDs under ``tag`` of every object."""
    return [_text(document, tag) for document in documents]


def _text(document: Json, tag: str) -> str:
    found = value(document, tag)
    if not isinstance(found, str):
        raise BadAnswer(f"no value of {tag}")
    return found
