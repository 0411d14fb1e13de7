"""WADO-RS: metadata (PS3.18 10.4.1.1.2): joined bytes, never parsed."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence

from gantry.access.v1.access_pb2 import ACCESS_KIND_RETRIEVE
from gantry_access.policy import Action
from gantry_dicom.errors import NotFound
from gantry_dicom.facts import BASE_MARK
from gantry_index.reader import IndexReader
from isal import igzip
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.entrypoints.absent import absence
from gantry_gateway.entrypoints.context import authorise, base_url, components, partition_of, uid_of
from gantry_gateway.entrypoints.qido import DICOM_JSON, require_dicom_json
from gantry_gateway.entrypoints.recording import note_access

# zlib level 6 costs ten times as much and saves a third; the cache pays for neither twice.
_GZIP_LEVEL = 2
# Below this gzip gains nothing over the bytes it adds to the work.
_WORTH_COMPRESSING = 1 << 10
# Instances whose metadata are joined and compressed in less time than a thread takes to begin.
_JOINED_AT_ONCE = 100
_REFUSED = re.compile(r"q=0(\.0*)?")


async def retrieve_metadata(request: Request) -> Response:
    """Answer the metadata of a study, a series or an instance as DICOM JSON."""
    authorise(request, Action.RETRIEVE)
    require_dicom_json(request)
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
    gzip = accepts_gzip(request.headers.get("accept-encoding", ""))
    headers = {"ETag": _etag(version, base, gzip=gzip), "Vary": "Accept, Accept-Encoding"}
    if _names(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)

    async def make() -> bytes:
        return await _body(parts.index, place, base, gzip=gzip)

    body = await parts.metadata_cache.get((*place, version, base, gzip), make)
    if body[:2] == b"\x1f\x8b":
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers, media_type=DICOM_JSON)


async def _body(
    index: IndexReader, place: tuple[str, str, str | None, str | None], base: str, *, gzip: bool
) -> bytes:
    answer = await index.metadata(*place)
    if not answer.objects:
        raise NotFound("nothing is stored under these UIDs any more")
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


def _names(if_none_match: str, etag: str) -> bool:
    """Tell whether ``If-None-Match`` names the ETag, by weak comparison (RFC 9110 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]


def _etag(version: str, base: str, *, gzip: bool) -> str:
    # Strong: each coding and each public base is a representation of its own.
    return f'"{hashlib.sha256(f"{version} {base} {gzip}".encode()).hexdigest()[:32]}"'
