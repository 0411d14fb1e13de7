"""WADO-RS: bulk data (PS3.18 10.4.1.1.5, 10.4.1.1.6): what a BulkDataURI in the metadata names."""

from __future__ import annotations

from collections.abc import Sequence

from gantry_access.policy import Action
from gantry_dicom.bulk import parse_bulk_path
from gantry_dicom.errors import NotAcceptable
from gantry_dicom.frames import FrameTable
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.bulk_values import BulkReader
from gantry_gateway.byte_ranges import strong_etag
from gantry_gateway.entrypoints.bulk_answers import respond_with_bulk_data
from gantry_gateway.entrypoints.context import authorise, base_url, components
from gantry_gateway.entrypoints.wado_frames import find_instance
from gantry_gateway.entrypoints.wado_instances import find_instances
from gantry_gateway.media_types import MediaType, matches, parse_accept
from gantry_gateway.outgoing import Part, respond
from gantry_gateway.pixel_parts import pixel_parts
from gantry_gateway.representations import MULTIPART, OCTET_STREAM


async def retrieve_bulkdata(request: Request) -> Response:
    """Answer one value of an instance, as its own media type or as octets."""
    authorise(request, Action.RETRIEVE)
    path = request.path_params["path"]
    numbers = parse_bulk_path(path)
    ranges = _ranges(request)
    instance = await find_instance(request)
    table = FrameTable.unpack(instance.frame_table)
    frames = components(request).frames
    location = (
        f"{base_url(request)}/studies/{instance.study_uid}/series/{instance.series_uid}"
        f"/instances/{instance.sop_uid}/bulkdata/{path}"
    )
    parts: Sequence[Part]
    if numbers == (table.pixel_data_tag,) and (table.count or table.kind == "encapsulated"):
        pixels = pixel_parts(frames, instance, table, ranges, location, single_allowed=True)
        single, content_type, parts = pixels.choice.single_part, pixels.choice.content_type, pixels.parts
    else:
        value = await BulkReader(frames).find(instance, table, path)
        single, content_type = _choose(ranges, value.media_type)
        parts = [value.part(content_type, location)]
    etag = strong_etag("bulk data", instance.store_id, instance.object_key, path, content_type, location)
    return await respond(request, parts, single=single, etag=etag)


async def retrieve_all_bulkdata(request: Request) -> Response:
    """Answer all bulk data of a study, a series or an instance."""
    authorise(request, Action.RETRIEVE)
    return await respond_with_bulk_data(request, await find_instances(request), _ranges(request))


async def retrieve_pixeldata(request: Request) -> Response:
    """Answer all pixel data of a study, a series or an instance."""
    authorise(request, Action.RETRIEVE)
    instances = await find_instances(request)
    return await respond_with_bulk_data(request, instances, _ranges(request), pixels_only=True)


def _ranges(request: Request) -> Sequence[MediaType]:
    return parse_accept(request.headers.get("accept"), request.query_params.get("accept"))


def _choose(ranges: Sequence[MediaType], media_type: str) -> tuple[bool, str]:
    """Return whether a single part is wished for, and the media type; raises ``NotAcceptable``."""
    for wanted in ranges:
        is_multipart = wanted.essence == MULTIPART
        inner = wanted.parameters.get("type", "*/*").lower() if is_multipart else wanted.essence
        for offered in (media_type, OCTET_STREAM):
            if matches(inner, offered):
                return not is_multipart and inner != "*/*", offered
    raise NotAcceptable(f"this bulk data is answered as {media_type} or {OCTET_STREAM}")
