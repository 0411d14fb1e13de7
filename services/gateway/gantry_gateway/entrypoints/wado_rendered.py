"""WADO-RS: rendered images and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from gantry_access.policy import Action
from gantry_dicom.errors import BadRequest, NotAcceptable, NotFound
from gantry_dicom.frames import FrameTable
from gantry_imaging.grayscale import FUNCTIONS, Window
from gantry_imaging.render import RENDERED_TYPES, RenderOptions, Viewport
from gantry_index.records import StoredInstance
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.entrypoints.context import authorise, components
from gantry_gateway.entrypoints.wado_frames import find_instance
from gantry_gateway.entrypoints.wado_instances import find_instances
from gantry_gateway.frames import parse_frame_list
from gantry_gateway.media_types import MediaType, choose, parse_accept
from gantry_gateway.outgoing import respond
from gantry_gateway.representations import MULTIPART

_THUMBNAIL = Viewport(128, 128)
_MAXIMUM_VIEWPORT = 8192
_QUALITY = re.compile(r"[1-9][0-9]?|100")


async def retrieve_rendered(request: Request) -> Response:
    """Answer one frame of an instance as a picture: the first, or the one in the path."""
    authorise(request, Action.RETRIEVE)
    options = _render_options(request, _ranges(request))
    instance = await find_instance(request)
    return await _picture(request, instance, _only_frame(request), options)


async def retrieve_all_rendered(request: Request) -> Response:
    """Answer the frames of a study or a series as pictures, one part each; what is no image is left out."""
    authorise(request, Action.RETRIEVE)
    options = _render_options(request, [_of_parts(wanted) for wanted in _ranges(request)])
    frames = components(request).frames
    parts = [
        frames.picture_part(instance, table, number, options)
        for instance, table in await _images(request)
        for number in range(1, table.count + 1)
    ]
    return await respond(request, parts)


async def retrieve_thumbnail(request: Request) -> Response:
    """Answer a small picture that stands for a study, a series, an instance or a frame.

    Of several instances the middle one of those with frames is shown, of its frames the
    middle one: the ends of a stack show little.
    """
    authorise(request, Action.RETRIEVE)
    options = RenderOptions(
        media_type=_media_type(_ranges(request)),
        viewport=_viewport(request.query_params.get("viewport")) or _THUMBNAIL,
    )
    shown = await _images(request)
    instance, table = shown[len(shown) // 2]
    number = _only_frame(request) if "frames" in request.path_params else (table.count + 1) // 2
    return await _picture(request, instance, number, options)


async def _images(request: Request) -> list[tuple[StoredInstance, FrameTable]]:
    """Return what the path names and has frames; raises ``NotFound`` when that is nothing."""
    instances = await find_instances(request)
    tables = [FrameTable.unpack(instance.frame_table) for instance in instances]
    shown = [(instance, table) for instance, table in zip(instances, tables, strict=True) if table.count]
    if not shown:
        raise NotFound("there is no image to show")
    return shown


async def _picture(
    request: Request, instance: StoredInstance, number: int, options: RenderOptions
) -> Response:
    table = FrameTable.unpack(instance.frame_table)
    if table.kind == "none":
        raise NotAcceptable("the instance has no image to render")
    picture = await components(request).frames.picture(instance, table, number, options)
    return Response(picture, headers={"Content-Type": options.media_type, "Vary": "Accept"})


def _only_frame(request: Request) -> int:
    if "frames" not in request.path_params:
        return 1
    numbers = parse_frame_list(request.path_params["frames"])
    if len(numbers) != 1:
        raise NotAcceptable("one frame at a time is rendered")
    return numbers[0]


def _render_options(request: Request, ranges: Sequence[MediaType]) -> RenderOptions:
    return RenderOptions(
        media_type=_media_type(ranges),
        quality=_quality(request.query_params.get("quality")),
        window=_window(request.query_params.get("window")),
        viewport=_viewport(request.query_params.get("viewport")),
    )


def _ranges(request: Request) -> Sequence[MediaType]:
    return parse_accept(request.headers.get("accept"), request.query_params.get("accept"))


def _of_parts(wanted: MediaType) -> MediaType:
    """Return the range that a multipart range asks its parts to be in; others as they are."""
    if wanted.essence != MULTIPART:
        return wanted
    inner, _, subtype = wanted.parameters.get("type", "*/*").lower().partition("/")
    return MediaType(inner, subtype, wanted.parameters, wanted.quality)


def _media_type(ranges: Sequence[MediaType]) -> str:
    if any("transfer-syntax" in wanted.parameters for wanted in ranges):
        raise BadRequest("a rendered image has no transfer syntax")
    chosen = choose(ranges, RENDERED_TYPES)
    if chosen is None:
        raise NotAcceptable(f"rendered images are answered as {', '.join(RENDERED_TYPES)}")
    return chosen


def _quality(text: str | None) -> int:
    if text is None:
        return RenderOptions().quality
    if _QUALITY.fullmatch(text) is None:
        raise BadRequest("quality is a number from 1 to 100")
    return int(text)


def _window(text: str | None) -> Window | None:
    if text is None:
        return None
    try:
        center, width, function = text.split(",")
        return Window(float(center), float(width), _FUNCTION_NAMES[function.strip().lower()])
    except (ValueError, KeyError) as error:
        raise BadRequest("window is centre, width and linear, linear-exact or sigmoid") from error


def _viewport(text: str | None) -> Viewport | None:
    if text is None:
        return None
    try:
        numbers = [float(item) if item.strip() else None for item in text.split(",")]
    except ValueError as error:
        raise BadRequest("viewport is a list of numbers") from error
    if not all(math.isfinite(number) for number in numbers if number is not None):
        raise BadRequest("viewport is a list of finite numbers")
    if len(numbers) not in (2, 6) or None in numbers[:2]:
        raise BadRequest("viewport is width, height and optionally x, y, width and height of the source")
    width, height = (int(number or 0) for number in numbers[:2])
    if not (1 <= width <= _MAXIMUM_VIEWPORT and 1 <= height <= _MAXIMUM_VIEWPORT):
        raise BadRequest("the viewport is too small or too large")
    source = numbers[2:]
    if not source:
        return Viewport(width, height)
    if None in source[2:]:
        raise BadRequest("the source region of the viewport needs a width and a height")
    x, y, source_width, source_height = (number or 0.0 for number in source)
    return Viewport(width, height, (x, y, source_width, source_height))


# PS3.18 8.3.5.1.4: the names in a query, and the defined terms of VOI LUT Function.
_FUNCTION_NAMES = {function.lower().replace("_", "-"): function for function in FUNCTIONS}
