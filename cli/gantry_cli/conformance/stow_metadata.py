"""The statements S35 to S39: instances as metadata and bulk data (PS3.18 10.5.2)."""

from __future__ import annotations

import io

from gantry_testing.web import DICOM_JSON, value
from PIL import Image

from gantry_cli.conformance.server import Server
from gantry_cli.conformance.statements import expect, statement
from gantry_cli.conformance.stow_samples import (
    DICOM_XML,
    json_part,
    metadata,
    native_pixels,
    store_related,
    stored_path,
    xml_part,
)

_OCTETS = "application/octet-stream"
_FRAME_OCTETS = f'multipart/related; type="{_OCTETS}"'
_WORDS = bytes(range(2 * 4 * 3))


def _expect_frame(server: Server, path: str, pixels: bytes) -> None:
    answer = server.get(f"{path}/frames/1", _FRAME_OCTETS)
    expect(answer.status_code == 200, f"the frame answered {answer.status_code}")
    expect(pixels in answer.content, "the frame holds other bytes than were sent")


def _expect_name(server: Server, path: str) -> None:
    [found] = server.get(path + "/metadata", DICOM_JSON).json()
    name = value(found, "00100010")
    expect(name == {"Alphabetic": "Förster^Ève"}, f"the name came back as {name}")


@statement("S35", "PS3.18 10.5.2")
def json_metadata_find_their_bulk_data_by_location(server: Server) -> None:
    """JSON metadata are one part, an array; their bulk data are the parts of that Content-Location."""
    first = metadata(server, "json one", **native_pixels("bulk/one", 4, 3, 16))
    second = metadata(server, "json two", **native_pixels("http://example.org/two", 4, 3, 16))
    parts = [
        json_part(first, second),
        (_OCTETS, "http://example.org/two", _WORDS[::-1]),
        (_OCTETS, "bulk/one", _WORDS),
    ]
    answer = store_related(server, parts, DICOM_JSON)
    expect(answer.status == 200, f"answered {answer.status}: {answer.document}")
    _expect_frame(server, stored_path(answer, first), _WORDS)
    _expect_frame(server, stored_path(answer, second), _WORDS[::-1])
    _expect_name(server, stored_path(answer, first))


@statement("S36", "PS3.18 10.5.2")
def xml_metadata_are_one_part_an_instance(server: Server) -> None:
    """XML metadata are one part for each instance."""
    first = metadata(server, "xml one", **native_pixels("bulk/x1", 4, 3, 16))
    second = metadata(server, "xml two", **native_pixels("bulk/x2", 4, 3, 16))
    parts = [
        xml_part(first),
        xml_part(second),
        (_OCTETS, "bulk/x1", _WORDS),
        (_OCTETS, "bulk/x2", _WORDS[::-1]),
    ]
    answer = store_related(server, parts, DICOM_XML)
    expect(answer.status == 200, f"answered {answer.status}: {answer.document}")
    _expect_frame(server, stored_path(answer, second), _WORDS[::-1])
    _expect_name(server, stored_path(answer, first))


@statement("S37", "PS3.18 10.5.2", choice=True)
def missing_bulk_data_fail_their_instance(server: Server) -> None:
    """An instance whose bulk data did not come fails with A922; the others are stored."""
    lacking = metadata(server, "lacking", **native_pixels("bulk/never", 4, 3, 16))
    whole = metadata(server, "whole", **native_pixels("bulk/here", 4, 3, 16))
    answer = store_related(server, [json_part(lacking, whole), (_OCTETS, "bulk/here", _WORDS)], DICOM_JSON)
    stored_path(answer, whole)
    expect(answer.failed == {lacking["00080018"]["Value"][0]: 0xA922}, f"answered {answer.document}")


@statement("S38", "PS3.18 Table 10.5.2-1")
def image_attributes_left_out_come_from_the_stream(server: Server) -> None:
    """For compressed bulk data the attributes of the image that are left out come from the stream."""
    sent = metadata(server, "jpeg", x7FE00010={"vr": "OB", "BulkDataURI": "bulk/jpeg"})
    picture = io.BytesIO()
    Image.new("RGB", (24, 16), (200, 40, 40)).save(picture, "JPEG")
    parts = [json_part(sent), ("image/jpeg", "bulk/jpeg", picture.getvalue())]
    answer = store_related(server, parts, DICOM_JSON)
    path = stored_path(answer, sent)
    [found] = server.get(path + "/metadata", DICOM_JSON).json()
    seen = [value(found, tag) for tag in ("00280010", "00280011", "00280002", "00280100", "00280101")]
    expect(seen == [16, 24, 3, 8, 8], f"rows, columns, samples and bits are {seen}")
    expect(str(value(found, "00280004")).startswith("YBR_FULL"), f"colour is {value(found, '00280004')}")
    frame = server.get(f"{path}/frames/1", 'multipart/related; type="image/jpeg"')
    expect(picture.getvalue() in frame.content, "the stream does not come back as it was sent")
    rendered = server.get(path + "/rendered", "image/png")
    expect(rendered.status_code == 200, f"rendered answered {rendered.status_code}")


@statement("S39", "PS3.18 10.5.2")
def native_bulk_data_are_little_endian(server: Server) -> None:
    """Uncompressed bulk data are taken as little endian."""
    sent = metadata(server, "endian", **native_pixels("bulk/le", 1, 2, 16))
    answer = store_related(server, [json_part(sent), (_OCTETS, "bulk/le", b"\1\0\0\2")], DICOM_JSON)
    path = stored_path(answer, sent)
    _expect_frame(server, path, b"\1\0\0\2")
    file = server.get(path, "application/dicom; transfer-syntax=1.2.840.10008.1.2.1").content
    expect(file.endswith(b"\1\0\0\2"), "the words are not in the order they were sent in")
