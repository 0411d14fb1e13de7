"""The statements W28 to W32 and W41: bulk data, pixel data, ranges (PS3.18 10.4.1.1.5, 10.4.1.1.6)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urljoin

import httpx
from gantry_dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, JPEG_BASELINE
from gantry_testing.synthetic import Instance, Study, make_series, stream_series
from gantry_testing.web import DICOM, Part
from pydicom.dataset import Dataset

from gantry_cli.conformance.server import Server, path_of, series_path_of, study_path_of
from gantry_cli.conformance.statements import expect, statement
from gantry_cli.conformance.wado_frames import NATIVE, cine
from gantry_cli.conformance.wado_metadata import Attributes, metadata_of
from gantry_cli.conformance.wado_objects import OCTETS, expect_identity, parts_of, small

# Larger than what servers give inline.
_OVERLAY = bytes(range(256)) * 32


def _with_nested_octets(data_set: Dataset) -> None:
    inner = Dataset()
    inner.add_new(0x00420011, "OB", _OVERLAY)
    middle = Dataset()
    middle.PurposeOfReferenceCodeSequence = [Dataset(), inner]
    data_set.ReferencedImageEvidenceSequence = [middle]
    block = data_set.private_block(0x0099, "CONFORMANCE", create=True)
    block.add_new(0x01, "OB", _OVERLAY[::-1])


def _nested(study: Study) -> list[Instance]:
    return list(stream_series(make_series(study), "CT", size=(64, 72), amend=_with_nested_octets))


def bulk_uris(attributes: Attributes, above: str = "") -> Iterator[tuple[str, str]]:
    """Yield the tag path and URI of every BulkDataURI, at any depth."""
    for tag, attribute in attributes.items():
        if "BulkDataURI" in attribute:
            yield above + tag, attribute["BulkDataURI"]
        if attribute.get("vr") == "SQ":
            for number, item in enumerate(attribute.get("Value", ()), 1):
                yield from bulk_uris(item, f"{above}{tag}/{number}/")


def _resolved(server: Server, instance: Instance, uri: str) -> str:
    return urljoin(f"{server.base_url.rstrip('/')}{path_of(instance)}/metadata", uri)


def _get(server: Server, url: str, accept: str, **headers: str) -> httpx.Response:
    return server.http.get(url, headers={"Accept": accept, **headers})


@statement("W28", "PS3.18 F.2.6")
def pixel_data_is_referred_to(server: Server) -> None:
    """Pixel Data appears in metadata, as a BulkDataURI."""
    for instance in (
        *small(server, "CT", EXPLICIT_VR_LITTLE_ENDIAN),
        cine(server, JPEG_BASELINE),
        cine(server, EXPLICIT_VR_LITTLE_ENDIAN, kind="PMAP"),
    ):
        [found] = metadata_of(server, path_of(instance))
        tag = "7FE00008" if "7FE00008" in found else "7FE00010"
        expect(bool(found.get(tag, {}).get("BulkDataURI")), f"pixel data is {found.get(tag)}")


@statement("W29", "PS3.18 10.4.3.3.5", choice=True)
def every_bulk_data_uri_resolves(server: Server) -> None:
    """Every BulkDataURI, absolute or relative, gives the value, from any depth of sequences."""
    [instance] = server.sample("nested", _nested)
    [found] = metadata_of(server, path_of(instance))
    uris = dict(bulk_uris(found))
    values = {"00991001": _OVERLAY[::-1], "00089092/1/0040A170/2/00420011": _OVERLAY}
    expect(set(values) <= set(uris), f"there are URIs for {sorted(uris)}")
    for path, uri in uris.items():
        answer = _get(server, _resolved(server, instance, uri), OCTETS)
        expect(answer.status_code == 200, f"{uri} answered {answer.status_code}")
        if path in values:
            expect(answer.content == values[path], f"{uri} gave other bytes")
    [report] = server.kind("PDF")
    [found] = metadata_of(server, path_of(report))
    for _, uri in bulk_uris(found):
        answer = _get(
            server,
            _resolved(server, report, uri),
            'multipart/related; type="application/pdf", multipart/related; type="application/octet-stream"',
        )
        [part] = parts_of(answer)
        expect(part.body.startswith(b"%PDF"), f"an encapsulated document begins {part.body[:8]!r}")


@statement("W30", "PS3.18 10.4.4", choice=True)
def bulk_data_is_single_or_multipart_as_asked(server: Server) -> None:
    """Bulk data is one part or multipart, as Accept says; a document may be had as its own type."""
    [instance] = small(server, "CT", EXPLICIT_VR_LITTLE_ENDIAN)
    url = f"{server.base_url.rstrip('/')}{path_of(instance)}/bulkdata/7FE00010"
    single = _get(server, url, OCTETS)
    label = single.headers.get("content-type", "")
    expect(single.status_code == 200 and label.startswith(OCTETS), f"{single.status_code} {label}")
    expect_identity(single.content, instance, "the single part")
    for accept in (NATIVE, f"multipart/related; type={OCTETS}", 'multipart/related; type="*/*"'):
        [part] = parts_of(_get(server, url, accept))
        expect(part.body == single.content, f"{accept} gave other bytes")
    [document] = server.kind("PDF")
    url = f"{server.base_url.rstrip('/')}{path_of(document)}/bulkdata/00420011"
    answer = _get(server, url, "application/pdf")
    expect(answer.headers.get("content-type") == "application/pdf", f"a PDF came as {answer.headers}")


@statement("W31", "PS3.18 10.4.3.3.5")
def parts_say_where_they_are_from(server: Server) -> None:
    """The Content-Location of a part is the URI that the metadata have."""
    [instance] = server.sample("nested", _nested)
    [found] = metadata_of(server, path_of(instance))
    for _, uri in bulk_uris(found):
        url = _resolved(server, instance, uri)
        [part] = parts_of(_get(server, url, NATIVE))
        location = part.headers.get("content-location", "")
        expect(bool(location) and urljoin(url, location) == url, f"Content-Location of {uri} is {location}")


@statement("W32", "PS3.18 Annex H; CP-2040")
def bulk_data_and_pixel_data_are_had_at_every_level(server: Server) -> None:
    """/bulkdata and /pixeldata answer for a study, a series and an instance."""
    instances = small(server, "CT", EXPLICIT_VR_LITTLE_ENDIAN, instances=3)
    for path, expected in (
        (study_path_of(instances[0]), instances),
        (series_path_of(instances[0]), instances),
        (path_of(instances[0]), instances[:1]),
    ):
        for below in ("/pixeldata", "/bulkdata"):
            parts = _pixels(parts_of(server.get(path + below, NATIVE)))
            expect(len(parts) == len(expected), f"{below} has {len(parts)} images of {len(expected)}")
            for part, instance in zip(parts, expected, strict=True):
                expect_identity(part.body, instance, f"{path}{below}")
    nested = server.sample("nested", _nested)
    locations = {
        part.headers.get("content-location")
        for part in parts_of(server.get(study_path_of(nested[0]) + "/bulkdata", NATIVE))
    }
    [found] = metadata_of(server, path_of(nested[0]))
    uris = {_resolved(server, nested[0], uri) for _, uri in bulk_uris(found)}
    expect(locations == uris, f"/bulkdata gives {locations}")
    [report] = server.kind("SR")
    answer = server.get(path_of(report) + "/pixeldata", NATIVE)
    expect(answer.status_code == 404, f"pixel data of a report answered {answer.status_code}")


def _pixels(parts: list[Part]) -> list[Part]:
    return [part for part in parts if part.headers.get("content-location", "7FE00010").endswith("7FE00010")]


@statement("W41", "RFC 9110 14", choice=True)
def ranges_of_single_parts(server: Server) -> None:
    """A Range of a single-part object or value is 206 with Content-Range; of multipart it is ignored."""
    [instance] = small(server, "CT", EXPLICIT_VR_LITTLE_ENDIAN)
    base = f"{server.base_url.rstrip('/')}{path_of(instance)}"
    whole = instance.data
    pixels = whole[-2 * 64 * 72 :]
    for url, accept, data in (
        (base, f"{DICOM}; transfer-syntax=*", whole),
        (f"{base}/bulkdata/7FE00010", OCTETS, pixels),
    ):
        for asked, first, last in (("bytes=10-99", 10, 99), ("bytes=-5", len(data) - 5, len(data) - 1)):
            answer = _get(server, url, accept, Range=asked)
            expect(answer.status_code == 206, f"{asked} of {url} answered {answer.status_code}")
            expect(answer.content == data[first : last + 1], f"{asked} gave other bytes")
            told = answer.headers.get("content-range")
            expect(told == f"bytes {first}-{last}/{len(data)}", f"Content-Range is {told}")
        beyond = _get(server, url, accept, Range=f"bytes={len(data)}-")
        expect(beyond.status_code == 416, f"a range past the end answered {beyond.status_code}")
        etag = _get(server, url, accept).headers.get("etag", "")
        again = _get(server, url, accept, **{"If-None-Match": etag})
        expect(bool(etag) and again.status_code == 304, f"If-None-Match answered {again.status_code}")
    several = _get(server, base, f'multipart/related; type="{DICOM}"', Range="bytes=10-99")
    expect(several.status_code == 200, f"a range of a multipart answered {several.status_code}")
    parts_of(several)
