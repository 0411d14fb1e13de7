"""What the S statements send: fresh instances, multipart bodies, metadata in JSON and XML."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import httpx
from gantry_testing.synthetic.studies import make_series, stream_series
from gantry_testing.synthetic.values import Instance, make_uid
from gantry_testing.web import DICOM, DICOM_JSON, StowAnswer, items, stow_answer

from gantry_cli.conformance.server import Server

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
DICOM_XML = "application/dicom+xml"
# Media type, Content-Location, bytes.
BodyPart = tuple[str, str, bytes]


def fresh(server: Server, name: str, instances: int = 1, kind: str = "SC") -> list[Instance]:
    """Return instances of a study of their own that are not stored yet."""
    return list(stream_series(make_series(server.new_study(name)), kind, instances=instances))


def post(
    server: Server,
    content_type: str,
    content: bytes,
    *,
    path: str = "/studies",
    accept: str = DICOM_JSON,
    params: list[tuple[str, str]] | None = None,
) -> httpx.Response:
    """Return the answer to a store request."""
    headers = {"Content-Type": content_type}
    return server.send("POST", path, accept=accept, headers=headers, content=content, params=params)


def related(parts: Sequence[BodyPart], root: str = DICOM, boundary: str = "") -> tuple[str, bytes]:
    """Return Content-Type and body of parts in the order given."""
    boundary = boundary or secrets.token_hex(12)
    pieces = []
    for media_type, location, data in parts:
        head = f"--{boundary}\r\nContent-Type: {media_type}\r\n"
        if location:
            head += f"Content-Location: {location}\r\n"
        pieces.append(head.encode() + b"\r\n" + data + b"\r\n")
    body = b"".join(pieces) + f"--{boundary}--\r\n".encode()
    return f'multipart/related; type="{root}"; boundary="{boundary}"', body


def store_related(server: Server, parts: Sequence[BodyPart], root: str) -> StowAnswer:
    """Store a multipart body and read the answer. Raises ``BadAnswer``."""
    return stow_answer(post(server, *related(parts, root)))


def metadata(server: Server, name: str, **attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a Secondary Capture instance of its own study, without pixels.

    Further attributes are given as ``x00280010={"vr": ...}``.
    """
    uids = {level: make_uid(level, server.seed, name) for level in ("study", "series", "instance")}
    found: dict[str, Any] = {
        "00080016": {"vr": "UI", "Value": [SECONDARY_CAPTURE]},
        "00080018": {"vr": "UI", "Value": [uids["instance"]]},
        "00080060": {"vr": "CS", "Value": ["OT"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Förster^Ève"}]},
        "00100020": {"vr": "LO", "Value": [f"CONF-{server.seed}"]},
        "0020000D": {"vr": "UI", "Value": [uids["study"]]},
        "0020000E": {"vr": "UI", "Value": [uids["series"]]},
    }
    return dict(sorted((found | {tag.lstrip("x"): value for tag, value in attributes.items()}).items()))


def native_pixels(uri: str, rows: int, columns: int, bits: int) -> dict[str, Any]:
    """Return the attributes of a native grey image whose bytes are at ``uri``."""
    numbers = {
        "00280002": 1,
        "00280010": rows,
        "00280011": columns,
        "00280100": bits,
        "00280101": bits,
        "00280102": bits - 1,
        "00280103": 0,
    }
    return {
        "x00280004": {"vr": "CS", "Value": ["MONOCHROME2"]},
        **{f"x{tag}": {"vr": "US", "Value": [number]} for tag, number in numbers.items()},
        "x7FE00010": {"vr": "OW" if bits > 8 else "OB", "BulkDataURI": uri},
    }


def json_part(*documents: Mapping[str, Any]) -> BodyPart:
    """Return the one metadata part of DICOM JSON."""
    return (DICOM_JSON, "", json.dumps(documents).encode())


def xml_part(document: Mapping[str, Any]) -> BodyPart:
    """Return a metadata part of the Native DICOM Model (PS3.19 A.1) for flat metadata."""
    rows = []
    for tag, attribute in document.items():
        content = "".join(
            f'<PersonName number="{number}">{_name(value["Alphabetic"])}</PersonName>'
            if isinstance(value, dict)
            else f'<Value number="{number}">{escape(str(value))}</Value>'
            for number, value in enumerate(attribute.get("Value", ()), 1)
        )
        if "BulkDataURI" in attribute:
            content = f'<BulkData uri="{escape(attribute["BulkDataURI"])}"/>'
        rows.append(f'<DicomAttribute tag="{tag}" vr="{attribute["vr"]}">{content}</DicomAttribute>')
    namespace = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
    text = f'<?xml version="1.0" encoding="UTF-8"?><NativeDicomModel xmlns="{namespace}">{"".join(rows)}'
    return (DICOM_XML, "", f"{text}</NativeDicomModel>".encode())


def _name(text: str) -> str:
    family, _, given = text.partition("^")
    components = f"<FamilyName>{escape(family)}</FamilyName><GivenName>{escape(given)}</GivenName>"
    return f"<Alphabetic>{components}</Alphabetic>"


def stored_path(answer: StowAnswer, document: Mapping[str, Any]) -> str:
    """Return the path of an instance by its metadata."""
    study, series, instance = (document[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
    if instance not in answer.stored:
        raise AssertionError(f"not stored: {answer.status} {answer.document}")
    return f"/studies/{study}/series/{series}/instances/{instance}"


def warnings_of(answer: StowAnswer) -> list[int]:
    """Return the Warning Reasons (0008,1196) of an answer."""
    return [
        int(item["00081196"]["Value"][0]) for item in items(answer.document, "00081199") if "00081196" in item
    ]
