"""WADO-RS: bulk data (PS3.18 10.4.1.1.5): what a BulkDataURI in the metadata names."""

from __future__ import annotations

from collections.abc import Sequence

from gantry_access.policy import Action
from gantry_dicom.bulk import parse_bulk_path
from gantry_dicom.errors import NotAcceptable, NotFound
from gantry_dicom.frames import FrameTable
from gantry_dicom.transfer_syntaxes import lookup
from gantry_index.records import StoredInstance
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.bulk_values import BulkReader
from gantry_gateway.entrypoints.context import authorise, base_url, components
from gantry_gateway.entrypoints.wado_frames import find_instance
from gantry_gateway.media_types import MediaType, matches, parse_accept
from gantry_gateway.outgoing import respond
from gantry_gateway.representations import MULTIPART, OCTET_STREAM, Delivery


async def retrieve_bulkdata(request: Request) -> Response:
    """Answer one value of an instance, as its own media type or as octets."""
    authorise(request, Action.RETRIEVE)
    path = request.path_params["path"]
    numbers = parse_bulk_path(path)
    ranges = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    instance = await find_instance(request)
    table = FrameTable.unpack(instance.frame_table)
    location = (
        f"{base_url(request)}/studies/{instance.study_uid}/series/{instance.series_uid}"
        f"/instances/{instance.sop_uid}/bulkdata/{path}"
    )
    if numbers == (table.pixel_data_tag,) and table.kind == "encapsulated":
        return await _encapsulated_pixels(request, instance, table, ranges, location)
    parts = components(request)
    value = await BulkReader(parts.store, parts.frames).find(instance, table, path)
    single, content_type = _choose(ranges, value.media_type)
    return await respond(request, [value.part(content_type, location)], single=single)


async def _encapsulated_pixels(
    request: Request,
    instance: StoredInstance,
    table: FrameTable,
    ranges: Sequence[MediaType],
    location: str,
) -> Response:
    """Answer compressed pixel data: one part a frame, or a video's stream."""
    syntax = lookup(instance.transfer_syntax_uid)
    single, media_type = _choose(ranges, OCTET_STREAM if syntax is None else syntax.media_type)
    content_type = f"{media_type}; transfer-syntax={instance.transfer_syntax_uid}"
    if table.count == 0:
        raise NotFound("no frame of the pixel data can be told apart")
    if single and table.count > 1:
        raise NotAcceptable("compressed frames are answered as multipart/related, one part a frame")
    frames = components(request).frames
    parts = [
        frames.part(instance, table, number, Delivery.AS_STORED, content_type, location)
        for number in range(1, table.count + 1)
    ]
    return await respond(request, parts, single=single)


def _choose(ranges: Sequence[MediaType], media_type: str) -> tuple[bool, str]:
    """Return whether a single part is wished for, and the media type; raises ``NotAcceptable``."""
    for wanted in ranges:
        is_multipart = wanted.essence == MULTIPART
        inner = wanted.parameters.get("type", "*/*").lower() if is_multipart else wanted.essence
        for offered in (media_type, OCTET_STREAM):
            if matches(inner, offered):
                return not is_multipart and inner != "*/*", offered
    raise NotAcceptable(f"this bulk data is answered as {media_type} or {OCTET_STREAM}")
