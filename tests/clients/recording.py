"""What a client asked and was answered, as entries of ``recorded/*.json``.

Studies are named by what they are, so that the requests can be sent again about other ones.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

# Request headers that an answer may depend on.
KEPT = (
    *("Accept", "Accept-Charset", "Accept-Encoding", "Content-Type", "Transfer-Encoding", "Range"),
    *("If-None-Match", "Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"),
)
# Stand for what differs between two runs.
ORIGIN, ETAG, ADDRESS = "https://viewer.example", "{etag}", "{address}"
_ONE_FRAME = re.compile(r"/frames/[0-9]+(?=/|$)")
_PART_HEAD = re.compile(rb"\r?\n--[^\r\n]{8,70}\r\n((?:[A-Za-z-]+:[^\r\n]*\r\n)+)\r\n")
# (0008,0018) of a data set with explicit VR, or with implicit VR.
_SOP_INSTANCE_UID = re.compile(rb"\x08\x00\x18\x00(?:UI..|..\x00\x00)([0-9.]{8,64})", re.DOTALL)


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as they were on the wire; ``path`` is below the service's base."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    answer_headers: Mapping[str, str]
    content: bytes


def names_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return placeholders by UID for the data that the clients' scripts make."""
    names: dict[str, str] = {}
    for kind, made in manifest.items():
        # A segmentation lies in the study of its images, which comes first.
        names.setdefault(made["study"], f"{{{kind}.study}}")
        names.setdefault(made["series"], f"{{{kind}.series}}")
        names |= dict.fromkeys(made["instances"], f"{{{kind}.instance}}")
    return names


def entries_of(exchanges: Iterable[Exchange], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the distinct requests among ``exchanges``, in the order in which they came first."""
    entries = (entry_of(exchange, names) for exchange in exchanges)
    return list({json.dumps(entry, sort_keys=True): entry for entry in entries}.values())


def write_recording(file: Path, client: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write what ``client`` asks and is answered."""
    file.parent.mkdir(exist_ok=True)
    document = {"client": client, "requests": entries}
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def entry_of(exchange: Exchange, names: Mapping[str, str]) -> dict[str, Any]:
    """Return an exchange without what is of this run and these studies only."""
    lower = {name.lower(): value for name, value in exchange.headers.items()}
    headers = {name: lower[name.lower()] for name in KEPT if name.lower() in lower}
    for name, stand_in in (("Origin", ORIGIN), ("If-None-Match", ETAG)):
        if name in headers:
            headers[name] = stand_in
    if ":" not in lower.get("host", ":"):
        headers["Host"] = ADDRESS
    path = _named(exchange.path, names)
    entry = {
        "method": exchange.method,
        # One of the many frames that a viewer fetches.
        "path": _ONE_FRAME.sub("/frames/1", path) if exchange.status == 200 else path,
        "query": _named(exchange.query, names),
        "headers": headers,
        "answer": answer_of(exchange),
    }
    if exchange.body:
        found = (uid.decode() for uid in _SOP_INSTANCE_UID.findall(exchange.body))
        entry["stores"] = [names[uid].strip("{}").partition(".")[0] for uid in found if uid in names]
    return entry


def answer_of(exchange: Exchange) -> dict[str, Any]:
    """Return what another server's answer to the same request must share with this one."""
    headers = {name.lower(): value for name, value in exchange.answer_headers.items()}
    answer: dict[str, Any] = {"status": exchange.status}
    if exchange.content and "content-type" in headers:
        answer["type"] = without_boundary(headers["content-type"])
    if answer.get("type", "").startswith("multipart/"):
        answer["parts"] = part_types(exchange.content)
    elif exchange.method == "GET" and answer.get("type") == "application/dicom+json":
        zipped = headers.get("content-encoding") == "gzip"
        content = gzip.decompress(exchange.content) if zipped else exchange.content
        answer["found"] = json.loads(content) != []
    if "access-control-allow-origin" in headers:
        answer["allowed"] = True
    return answer


def without_boundary(content_type: str) -> str:
    """Return a media type with every parameter but the boundary, which is another each time."""
    message = Message()
    message["Content-Type"] = content_type
    message.del_param("boundary")
    return str(message["Content-Type"])


def part_types(body: bytes) -> Sequence[str]:
    """Return the distinct media types of the parts of a multipart body."""
    found = set()
    for head in _PART_HEAD.findall(b"\r\n" + body):
        for line in head.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(":")
            if name.lower() == "content-type":
                found.add(value.strip())
    return sorted(found)


def _named(text: str, names: Mapping[str, str]) -> str:
    for uid, name in names.items():
        text = text.replace(uid, name)
    return text
