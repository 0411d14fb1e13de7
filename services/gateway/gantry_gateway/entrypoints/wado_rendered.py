"""WADO-RS: rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4)."""

from __future__ import annotations

from collections.abc import Sequence

from gantry.access.v1.access_pb2 import ACCESS_KIND_RETRIEVE
from gantry_access.policy import Action
from gantry_dicom.errors import CannotProcess, NotAcceptable, NotFound
from gantry_dicom.frames import FrameTable
from gantry_imaging.geometry import Viewport
from gantry_imaging.icons import icon
from gantry_imaging.picture_files import RENDERED_TYPES
from gantry_imaging.render import RenderOptions
from gantry_index.records import StoredInstance
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.byte_ranges import names_etag
from gantry_gateway.entrypoints.absent import absence
from gantry_gateway.entrypoints.context import authorise, components, partition_of, uid_of
from gantry_gateway.entrypoints.recording import note_access
from gantry_gateway.entrypoints.rendered_parts import icon_of, parts_of, picture_or_animation, read_state
from gantry_gateway.entrypoints.wado_frames import find_instance
from gantry_gateway.entrypoints.wado_instances import find_instances
from gantry_gateway.frames import parse_frame_list
from gantry_gateway.media_types import MediaType, choose, parse_accept
from gantry_gateway.outgoing import Part, respond
from gantry_gateway.pictures import State, picture_etag
from gantry_gateway.render_parameters import RenderRequest, parse_render_request, parse_thumbnail_viewport
from gantry_gateway.rendered_kinds import (
    Kind,
    choose_rendered,
    kind_of,
    media_types_of,
    not_acceptable,
    refuse_transfer_syntax,
)
from gantry_gateway.report_pages import PAGE_POLICY
from gantry_gateway.slide_thumbnails import WHOLE_SLIDE, slide_to_show

_THUMBNAIL = Viewport(128, 128)
# Of a slide with more instances than this the metadata are not looked through.
_SLIDE_INSTANCES = 200


async def retrieve_rendered(request: Request) -> Response:
    """Answer an instance, or frames of it, as what people look at.

    Alone it is one picture, the first frame, or all frames as an animated GIF; in multipart each
    frame is a part. What is stored and cannot be shown has no acceptable form (406): the fault is
    not this server's.
    """
    authorise(request, Action.RETRIEVE)
    try:
        return await _rendered(request)
    except CannotProcess as error:
        raise NotAcceptable(error.detail) from error


async def _rendered(request: Request) -> Response:
    asked = parse_render_request(request.query_params)
    ranges = _ranges(request)
    numbers = parse_frame_list(request.path_params["frames"]) if "frames" in request.path_params else None
    instance = await find_instance(request)
    table = FrameTable.unpack(instance.frame_table)
    kind = kind_of(instance, table)
    offered = media_types_of(instance, kind)
    choice = choose_rendered(ranges, offered, single_allowed=True)
    if choice is None or (numbers and kind is not Kind.IMAGE):
        raise not_acceptable(offered)
    state = await _state(request)
    if kind is not Kind.IMAGE or not choice.single_part:
        parts = await parts_of(request, instance, choice, asked, numbers, state)
        return await _respond(request, parts[:1] if choice.single_part else parts, choice.single_part, asked)
    options = asked.options(choice.media_type)
    if numbers and len(numbers) > 1:
        raise NotAcceptable("several frames are rendered as multipart/related, one part a frame")
    etag = picture_etag([instance], (numbers, options, state and state.key))
    if _is_known(request, etag):
        return Response(status_code=304, headers={"ETag": etag, "Vary": "Accept"})
    picture = await picture_or_animation(
        components(request).pictures, instance, table, numbers, options, state
    )
    components(request).study_traces.first_frame(partition_of(request), instance.study_uid)
    headers = {"Content-Type": options.media_type, "Vary": "Accept", "ETag": etag}
    return _with_warnings(Response(picture, headers=headers), asked)


async def retrieve_all_rendered(request: Request) -> Response:
    """Answer the instances of a study or a series, one part a picture or document.

    What has no rendered form that is accepted is left out, and said so; presentation states are
    not repeated beside their images.
    """
    authorise(request, Action.RETRIEVE)
    asked = parse_render_request(request.query_params)
    ranges = _ranges(request)
    parts: list[Part] = []
    offered: list[str] = []
    for instance in await find_instances(request):
        kind = kind_of(instance, FrameTable.unpack(instance.frame_table))
        types = () if kind is Kind.STATE else media_types_of(instance, kind)
        offered += types
        choice = choose_rendered(ranges, types, single_allowed=False)
        if choice is not None:
            parts += await parts_of(request, instance, choice, asked, None)
    if not parts:
        multiparts = [f'multipart/related; type="{media_type}"' for media_type in dict.fromkeys(offered)]
        raise not_acceptable(multiparts)
    return await _respond(request, parts, False, asked)


async def retrieve_thumbnail(request: Request) -> Response:
    """Answer a small picture that stands for a study, a series, an instance or a frame.

    Of several instances the middle one of those with frames is shown, of its frames the
    middle one: the ends of a stack show little. A slide is shown by its thumbnail or overview.
    What has no picture is shown as an icon.
    """
    authorise(request, Action.RETRIEVE)
    media_type = choose(_ranges(request), RENDERED_TYPES)
    if media_type is None:
        raise not_acceptable(RENDERED_TYPES)
    viewport = parse_thumbnail_viewport(request.query_params.get("viewport"), _THUMBNAIL)
    options = RenderOptions(media_type=media_type, viewport=viewport)
    if "instance" in request.path_params:
        found = [await find_instance(request)]
        etag = picture_etag(found, (request.path_params.get("frames"), options))
    else:
        found = []
        etag = picture_etag([], (await _version(request), request.url.path, options))
    headers = {"Content-Type": media_type, "Vary": "Accept", "ETag": etag}
    if _is_known(request, etag):
        return Response(status_code=304, headers=headers)

    async def make() -> bytes:
        return await _thumbnail(request, found or await _instances(request), options)

    try:
        picture = await components(request).thumbnails.get(etag, make)
    except CannotProcess:
        # Not kept: the next caller may find a worker with more time.
        picture = icon("IMAGE", viewport.width, viewport.height, media_type)
    return Response(picture, headers=headers)


async def _state(request: Request) -> State | None:
    """Return the presentation state that WADO-URI's parameters name (PS3.18 9.1.2.2.2)."""
    asked = request.query_params
    series_uid, sop_uid = asked.get("presentationSeriesUID"), asked.get("presentationUID")
    if series_uid is None or sop_uid is None:
        return None
    instance = await components(request).index.instance(
        partition_of(request), uid_of(request, "study") or "", series_uid, sop_uid
    )
    if instance is None:
        raise NotFound("the presentation state is not stored in the image's study")
    return await read_state(request, instance)


async def _version(request: Request) -> str:
    """Return the version of a study or series, and note that something of it is given."""
    place = (partition_of(request), uid_of(request, "study") or "", uid_of(request, "series"))
    version = await components(request).index.metadata_version(*place)
    if not version:
        raise await absence(request)
    note_access(request, components(request), ACCESS_KIND_RETRIEVE, partition=place[0], study_uid=place[1])
    return version


async def _instances(request: Request) -> list[StoredInstance]:
    place = (partition_of(request), uid_of(request, "study") or "", uid_of(request, "series"))
    instances = await components(request).index.instances(*place)
    if not instances:
        raise await absence(request)
    return instances


async def _thumbnail(request: Request, instances: Sequence[StoredInstance], options: RenderOptions) -> bytes:
    frames = request.path_params.get("frames")
    tables = [FrameTable.unpack(instance.frame_table) for instance in instances]
    shown = [
        (instance, table)
        for instance, table in zip(instances, tables, strict=True)
        if table.count and kind_of(instance, table) is Kind.IMAGE
    ]
    if not shown:
        if frames is not None:
            raise NotFound("the instance has no frame that can be shown")
        return icon_of(instances[0], tables[0], options)
    instance, table = shown[len(shown) // 2]
    if 1 < len(shown) <= _SLIDE_INSTANCES and instance.sop_class_uid == WHOLE_SLIDE:
        place = (partition_of(request), instance.study_uid, uid_of(request, "series"))
        instance, table = slide_to_show(shown, (await components(request).index.metadata(*place)).objects)
    number = (table.count + 1) // 2
    if frames is not None:
        numbers = parse_frame_list(frames)
        if len(numbers) != 1:
            raise NotAcceptable("a thumbnail shows one frame")
        number = numbers[0]
    return await components(request).pictures.picture(instance, table, number, options)


async def _respond(request: Request, parts: Sequence[Part], single: bool, asked: RenderRequest) -> Response:
    answer = await respond(request, parts, single=single)
    answer.headers["Vary"] = "Accept"
    if parts[0].content_type.startswith("text/html"):
        answer.headers["Content-Security-Policy"] = PAGE_POLICY
    return _with_warnings(answer, asked)


def _with_warnings(answer: Response, asked: RenderRequest) -> Response:
    for warning in asked.warnings:
        answer.headers.append("Warning", f'299 gantry "{warning}"')
    return answer


def _ranges(request: Request) -> Sequence[MediaType]:
    ranges = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    refuse_transfer_syntax(ranges)
    return ranges


def _is_known(request: Request, etag: str) -> bool:
    return names_etag(request.headers.get("if-none-match", ""), etag)
