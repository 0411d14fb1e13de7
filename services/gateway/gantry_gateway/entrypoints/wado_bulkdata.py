"""WADO-RS: bulk data (PS3.18 10.4.1.1.5): what a BulkDataURI in the metadata names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from gantry_access.policy import Action
from gantry_dicom.bulk import BulkValue, find_bulk, parse_bulk_path
from gantry_dicom.errors import NotAcceptable, NotFound
from gantry_dicom.frames import FrameTable
from gantry_dicom.gate import header_of
from gantry_dicom.transfer_syntaxes import lookup
from gantry_index.records import StoredInstance
from gantry_objectstore.store import ObjectStore
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gantry_gateway.bulk_values import document_media_type, swapped
from gantry_gateway.entrypoints.context import authorise, components
from gantry_gateway.entrypoints.wado_frames import find_instance
from gantry_gateway.media_types import MediaType, matches, parse_accept
from gantry_gateway.multipart import closing, new_boundary, part_head
from gantry_gateway.representations import MULTIPART, OCTET_STREAM

# Larger values are streamed.
_WHOLE_BYTES = 4 << 20


async def retrieve_bulkdata(request: Request) -> Response:
    """Answer one value of an instance, as its own media type or as octets."""
    authorise(request, Action.RETRIEVE)
    path = request.path_params["path"]
    numbers = parse_bulk_path(path)
    ranges = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    instance = await find_instance(request)
    table = FrameTable.unpack(instance.frame_table)
    parts = components(request)
    if numbers == (table.pixel_data_tag,) and table.kind == "encapsulated":
        return await _encapsulated_pixels(request, instance, table, ranges)
    # Bulk data lies anywhere, also behind the pixels, and is asked for seldom: the whole object.
    header, _ = header_of(await parts.store.get(instance.object_key))
    value = find_bulk(header, path)
    media_type = document_media_type(header, value) if value.data is not None else OCTET_STREAM
    single, chosen = _choose(ranges, media_type)
    if value.data is not None:
        return _answer([value.data], chosen, single=single)
    if table.kind == "deflated" or value.swap_unit > 1 or value.length <= _WHOLE_BYTES:
        pixels = await _pixels(request, instance, table, value)
        return _answer([pixels], chosen, single=single)
    return _stream(parts.frames.store, instance, value, chosen, single=single)


async def _pixels(request: Request, instance: StoredInstance, table: FrameTable, value: BulkValue) -> bytes:
    parts = components(request)
    if table.kind == "deflated":
        data_set = await parts.frames.inflated(instance)
        return data_set[value.offset : value.offset + value.length]
    data = await parts.store.get_range(instance.object_key, value.offset, value.length)
    return swapped(data, value.swap_unit)


async def _encapsulated_pixels(
    request: Request, instance: StoredInstance, table: FrameTable, ranges: Sequence[MediaType]
) -> Response:
    """Answer compressed pixel data: one part a frame, or a video's stream."""
    syntax = lookup(instance.transfer_syntax_uid)
    media_type = OCTET_STREAM if syntax is None else syntax.media_type
    single, chosen = _choose(ranges, media_type)
    chosen = f"{chosen}; transfer-syntax={instance.transfer_syntax_uid}"
    frames = components(request).frames
    if single and table.count > 1:
        raise NotAcceptable("compressed frames are answered as multipart/related, one part a frame")
    if table.count == 0:
        raise NotFound("no frame of the pixel data can be told apart")
    pieces = [(await frames.stored(instance, table, number)).data for number in range(1, table.count + 1)]
    return _answer(pieces, chosen, single=single)


def _choose(ranges: Sequence[MediaType], media_type: str) -> tuple[bool, str]:
    """Return whether a single part is wished for, and the media type; raises ``NotAcceptable``."""
    for wanted in ranges:
        is_multipart = wanted.essence == MULTIPART
        inner = wanted.parameters.get("type", "*/*").lower() if is_multipart else wanted.essence
        for offered in (media_type, OCTET_STREAM):
            if matches(inner, offered):
                return not is_multipart and inner != "*/*", offered
    raise NotAcceptable(f"this bulk data is answered as {media_type} or {OCTET_STREAM}")


def _answer(pieces: Sequence[bytes], content_type: str, *, single: bool) -> Response:
    if single:
        return Response(pieces[0], headers={"Content-Type": content_type})
    boundary = new_boundary()
    body: list[bytes] = []
    for position, piece in enumerate(pieces):
        body += (part_head(boundary, {"Content-Type": content_type}, first=position == 0), piece)
    body.append(closing(boundary))
    return Response(b"".join(body), headers={"Content-Type": _multipart_type(content_type, boundary)})


def _stream(
    store: ObjectStore, instance: StoredInstance, value: BulkValue, content_type: str, *, single: bool
) -> Response:
    boundary = new_boundary()
    before = b"" if single else part_head(boundary, {"Content-Type": content_type}, first=True)
    after = b"" if single else closing(boundary)

    async def body() -> AsyncIterator[bytes]:
        yield before
        async for chunk in store.stream(instance.object_key, value.offset, value.length):
            yield chunk
        yield after

    headers = {
        "Content-Type": content_type if single else _multipart_type(content_type, boundary),
        "Content-Length": str(len(before) + value.length + len(after)),
    }
    return StreamingResponse(body(), headers=headers)


def _multipart_type(content_type: str, boundary: str) -> str:
    return f'{MULTIPART}; type="{content_type.partition(";")[0]}"; boundary={boundary}'
