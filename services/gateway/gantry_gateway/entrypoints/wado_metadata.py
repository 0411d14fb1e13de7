"""WADO-RS: metadata (PS3.18 10.4.1.1.2): as JSON joined bytes, never parsed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from enum import Enum

from gantry.access.v1.access_pb2 import ACCESS_KIND_RETRIEVE
from gantry_access.policy import Action
from gantry_dicom.errors import NotAcceptable, NotFound
from gantry_dicom.facts import BASE_MARK
from gantry_dicom.xml_encoder import NATIVE_MODEL_TYPE, native_model_xml
from gantry_index.metadata import MetadataAnswer
from gantry_index.reader import IndexReader
from isal import igzip
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.byte_ranges import names_etag, strong_etag
from gantry_gateway.entrypoints.absent import absence
from gantry_gateway.entrypoints.context import authorise, base_url, components, partition_of, uid_of
from gantry_gateway.entrypoints.recording import note_access
from gantry_gateway.media_types import MediaType, matches, parse_accept
from gantry_gateway.outgoing import Made, WholePart, respond
from gantry_gateway.representations import MULTIPART, inner_type

DICOM_JSON = "application/dicom+json"
# zlib level 6 costs ten times as much and saves a third; the cache pays for neither twice.
_GZIP_LEVEL = 2
# Below this gzip gains nothing over the bytes it adds to the work.
_WORTH_COMPRESSING = 1 << 10
# Instances whose metadata are joined and compressed in less time than a thread takes to begin.
_JOINED_AT_ONCE = 100
_JSON_TYPES = (DICOM_JSON, "application/json")
_REFUSED = re.compile(r"q=0(\.0*)?")


_Place = tuple[str, str, str | None, str | None]
"""Partition, study, series and instance."""


class _Form(Enum):
    JSON = "json"
    XML = "xml"
    XML_PARTS = "xml-parts"


async def retrieve_metadata(request: Request) -> Response:
    """Answer the metadata of a study, a series or an instance as DICOM JSON or as Native DICOM Model."""
    authorise(request, Action.RETRIEVE)
    ranges = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    form = _choose(ranges, single_xml=uid_of(request, "instance") is not None)
    parts = components(request)
    study_uid = uid_of(request, "study")
    if study_uid is None:
        raise NotFound("the path names no study")
    place = (partition_of(request), study_uid, uid_of(request, "series"), uid_of(request, "instance"))
    base = base_url(request)
    version = await parts.index.metadata_version(*place)
    if not version:
        raise await absence(request)
    note_access(
        request,
        parts,
        ACCESS_KIND_RETRIEVE,
        partition=partition_of(request),
        study_uid=study_uid,
        sop_uids=[sop_uid] if (sop_uid := uid_of(request, "instance")) else [],
    )
    if form is not _Form.JSON:
        objects = (await _metadata(parts.index, place)).objects
        etag = strong_etag("xml", version, base)
        xml_parts = [_xml_part(document, base) for document in objects]
        return await respond(request, xml_parts, single=form is _Form.XML, etag=etag)
    gzip = accepts_gzip(request.headers.get("accept-encoding", ""))
    # Strong: each coding and each public base is a representation of its own.
    headers = {"ETag": strong_etag(version, base, gzip), "Vary": "Accept, Accept-Encoding"}
    if names_etag(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)

    async def make() -> bytes:
        return await _body(parts.index, place, base, gzip=gzip)

    body = await parts.metadata_cache.get((*place, version, base, gzip), make)
    if body[:2] == b"\x1f\x8b":
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers, media_type=DICOM_JSON)


def _choose(ranges: Sequence[MediaType], *, single_xml: bool) -> _Form:
    """Return how metadata are answered (PS3.18 8.7.3, 10.4.4); raises ``NotAcceptable``.

    The multipart range of OHIF for pixels beside the one for JSON is passed over (W43).
    """
    for wanted in ranges:
        if any(matches(wanted.essence, offered) for offered in _JSON_TYPES):
            return _Form.JSON
        if wanted.essence == MULTIPART and inner_type(wanted, "") == NATIVE_MODEL_TYPE:
            return _Form.XML_PARTS
        if single_xml and wanted.essence == NATIVE_MODEL_TYPE:
            return _Form.XML
    raise NotAcceptable(
        f'metadata are answered as {DICOM_JSON}, or as {MULTIPART}; type="{NATIVE_MODEL_TYPE}"'
    )


def _xml_part(document: bytes, base: str) -> WholePart:
    async def make() -> Made:
        whole = document.replace(BASE_MARK, base.encode())
        return Made(await asyncio.to_thread(native_model_xml, whole), NATIVE_MODEL_TYPE)

    return WholePart(NATIVE_MODEL_TYPE, make, weight=2 * len(document))


async def _metadata(index: IndexReader, place: _Place) -> MetadataAnswer:
    answer = await index.metadata(*place)
    if not answer.objects:
        raise NotFound("nothing is stored under these UIDs any more")
    return answer


async def _body(index: IndexReader, place: _Place, base: str, *, gzip: bool) -> bytes:
    answer = await _metadata(index, place)
    if len(answer.objects) <= _JOINED_AT_ONCE:
        return _joined(answer.objects, base, gzip=gzip)
    return await asyncio.to_thread(_joined, answer.objects, base, gzip=gzip)


def _joined(objects: Sequence[bytes], base: str, *, gzip: bool) -> bytes:
    body = (b"[" + b",".join(objects) + b"]").replace(BASE_MARK, base.encode())
    if gzip and len(body) >= _WORTH_COMPRESSING:
        return igzip.compress(body, _GZIP_LEVEL)
    return body


def accepts_gzip(header: str) -> bool:
    """Tell whether ``Accept-Encoding`` takes gzip (RFC 9110 12.5.3)."""
    qualities = {}
    for item in header.lower().split(","):
        name, _, parameter = item.partition(";")
        qualities[name.strip()] = parameter.replace(" ", "")
    quality = qualities.get("gzip", qualities.get("*", "q=0"))
    return _REFUSED.fullmatch(quality) is None
