"""A STOW-RS client (PS3.18 10.5): requests of several files, answers as lists of refusals."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
from gantry_dicom.errors import Unavailable

from gantry_cli.problems import detail_of

READ_CHUNK = 1 << 20
ATTEMPTS = 5
# Statuses whose body is a Store Instances Response (PS3.18 Table 10.5.3-1).
ANSWERED = (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT)

FAILED_SEQUENCE, OTHER_FAILURES, REFERENCED_SEQUENCE = "00081198", "0008119A", "00081199"
FAILURE_REASON, WARNING_REASON, SOP_INSTANCE_UID = "00081197", "00081196", "00081155"


@dataclass(frozen=True, slots=True)
class Part:
    """One instance to send: a Part 10 file on disc or in memory; ``label`` names it to the user.

    A ``temporary`` file is removed when it has been sent.
    """

    label: str
    content: Path | bytes
    temporary: bool = False

    @property
    def size(self) -> int:
        """Bytes of the instance."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)

    def discard(self) -> None:
        """Remove a temporary file."""
        if self.temporary and isinstance(self.content, Path):
            self.content.unlink()

    def chunks(self) -> Iterator[bytes]:
        """Yield the content."""
        if isinstance(self.content, bytes):
            yield self.content
            return
        with self.content.open("rb") as stream:
            while chunk := stream.read(READ_CHUNK):
                yield chunk


@dataclass(frozen=True, slots=True)
class Answer:
    """What the archive said to one request.

    ``refused`` pairs SOP Instance UIDs with Failure Reasons (0008,1197); ``unnamed`` holds the reasons of
    parts it could not identify; ``problem`` is set when the request as a whole was refused.
    """

    warned: int = 0
    refused: tuple[tuple[str, int], ...] = ()
    unnamed: tuple[int, ...] = ()
    problem: str = ""


def send(client: httpx.Client, url: str, parts: Sequence[Part]) -> Answer:
    """Store ``parts`` in one request to ``url`` (``.../studies``).

    A busy archive (503) and a lost connection are tried again for a while; then ``Unavailable`` is raised.
    """
    pause = 0.5
    for attempt in range(1, ATTEMPTS + 1):
        boundary = secrets.token_hex(16)
        try:
            response = client.post(
                url,
                content=_body(parts, boundary),
                headers={
                    "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                    "Content-Length": str(_length(parts, boundary)),
                    "Accept": "application/dicom+json",
                },
            )
        except httpx.TransportError as error:
            if attempt == ATTEMPTS:
                raise Unavailable(f"{url} does not answer: {error}") from error
        else:
            if response.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                return _answer(response)
            if attempt == ATTEMPTS:
                raise Unavailable(f"{url} is busy: {detail_of(response)}")
        time.sleep(pause)
        pause *= 2
    raise AssertionError("unreachable")


def _head(boundary: str) -> bytes:
    return f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()


def _body(parts: Iterable[Part], boundary: str) -> Iterator[bytes]:
    for part in parts:
        yield _head(boundary)
        yield from part.chunks()
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _length(parts: Iterable[Part], boundary: str) -> int:
    around = len(_head(boundary)) + 2
    return sum(part.size + around for part in parts) + len(boundary) + 6


def _answer(response: httpx.Response) -> Answer:
    if response.status_code not in ANSWERED:
        return Answer(problem=f"HTTP {response.status_code}: {detail_of(response)}")
    try:
        document = response.json()
    except ValueError:
        return Answer(problem=f"HTTP {response.status_code} without a readable body")
    return Answer(
        warned=sum(
            _value(item, WARNING_REASON) is not None for item in _items(document, REFERENCED_SEQUENCE)
        ),
        refused=tuple(
            (str(_value(item, SOP_INSTANCE_UID)), int(_value(item, FAILURE_REASON) or 0))
            for item in _items(document, FAILED_SEQUENCE)
        ),
        unnamed=tuple(int(_value(item, FAILURE_REASON) or 0) for item in _items(document, OTHER_FAILURES)),
    )


def _items(document: dict[str, Any], sequence: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = document.get(sequence, {}).get("Value", [])
    return items


def _value(item: dict[str, Any], tag: str) -> Any:  # noqa: ANN401 - a JSON value
    values = item.get(tag, {}).get("Value") or [None]
    return values[0]
