"""An instance as parts of a rendered answer: pictures, pages, documents, videos."""

from __future__ import annotations

from collections.abc import Sequence

from gantry.access.v1.access_pb2 import ACCESS_KIND_RETRIEVE
from gantry_dicom.errors import CannotProcess, NotFound
from gantry_dicom.facts import BASE_MARK
from gantry_dicom.frames import FrameTable
from gantry_imaging.icons import icon
from gantry_imaging.render import RenderOptions
from gantry_index.records import StoredInstance
from starlette.requests import Request

from gantry_gateway.bulk_values import BulkReader
from gantry_gateway.entrypoints.context import base_url, components, partition_of
from gantry_gateway.entrypoints.recording import note_access
from gantry_gateway.outgoing import Made, Part, WholePart
from gantry_gateway.pictures import PictureMaker, State, is_animated
from gantry_gateway.presented_images import presented_images
from gantry_gateway.render_parameters import RenderRequest
from gantry_gateway.rendered_kinds import Kind, RenderedChoice, icon_label, kind_of
from gantry_gateway.report_pages import HTML, report_html, report_text
from gantry_gateway.structured_reports import read_report

_ENCAPSULATED_DOCUMENT = "00420011"
# A presentation state is a few kilobytes, with overlays a few megabytes.
_STATE_BYTES = 64 << 20
_ICON_SIDE = 256


async def parts_of(
    request: Request,
    instance: StoredInstance,
    choice: RenderedChoice,
    asked: RenderRequest,
    numbers: Sequence[int] | None,
    state: State | None = None,
) -> list[Part]:
    """Return an instance, or the frames of it that are named, in the media type chosen; never nothing.

    ``state`` is the presentation state that images are shown by.
    Raises ``NotFound``, ``CannotProcess`` and ``BadRequest``.
    """
    table = FrameTable.unpack(instance.frame_table)
    kind = kind_of(instance, table)
    if kind is Kind.STATE:
        return await _presented(request, instance, choice, asked)
    if kind is Kind.REPORT:
        return [await _report(request, instance, choice.media_type)]
    if kind is Kind.DOCUMENT:
        return [await _document(request, instance, table, choice.media_type)]
    frames = components(request).frames
    if kind is Kind.VIDEO:
        return [frames.part(instance, table, 1, instance.transfer_syntax_uid, choice.media_type)]
    options = asked.options(choice.media_type)
    if numbers is None and is_animated(table, options):
        return [_animation(components(request).pictures, instance, table, options, state)]
    return _pictures(request, instance, options, numbers or range(1, table.count + 1), state)


async def picture_or_animation(
    pictures: PictureMaker,
    instance: StoredInstance,
    table: FrameTable,
    numbers: Sequence[int] | None,
    options: RenderOptions,
    state: State | None = None,
) -> bytes:
    """Return the one picture that stands for an instance or for the frame named of it."""
    if numbers is None and is_animated(table, options):
        return await pictures.animation(instance, table, options, state)
    return await pictures.picture(instance, table, numbers[0] if numbers else 1, options, state)


def icon_of(instance: StoredInstance, table: FrameTable, options: RenderOptions) -> bytes:
    """Return the icon of an instance in the size of the viewport."""
    width, height = (
        (_ICON_SIDE, _ICON_SIDE)
        if options.viewport is None
        else (options.viewport.width, options.viewport.height)
    )
    return icon(icon_label(instance, kind_of(instance, table)), width, height, options.media_type)


async def read_state(request: Request, instance: StoredInstance) -> State:
    """Return a presentation state to show images by; raises ``CannotProcess`` when it is none."""
    if kind_of(instance, FrameTable.unpack(instance.frame_table)) is not Kind.STATE:
        raise CannotProcess("what is named as a presentation state is none")
    if instance.size > _STATE_BYTES:
        raise CannotProcess("the presentation state is larger than this server applies")
    return State(instance.object_key, await components(request).store.get(instance.object_key))


def _pictures(
    request: Request,
    instance: StoredInstance,
    options: RenderOptions,
    numbers: Sequence[int],
    state: State | None = None,
) -> list[Part]:
    table = FrameTable.unpack(instance.frame_table)
    for number in numbers:
        table.ranges(number)
    pictures = components(request).pictures
    return [
        pictures.part(instance, table, number, options, lambda: icon_of(instance, table, options), state)
        for number in numbers
    ]


async def _presented(
    request: Request, instance: StoredInstance, choice: RenderedChoice, asked: RenderRequest
) -> list[Part]:
    """Return the images that a presentation state refers to, as it shows them.

    Only those of its own study, for which the caller's rights have been looked at.
    """
    parts = components(request)
    images = presented_images(await _document_of(request, instance))
    uids = [image.sop_instance_uid for image in images]
    stored = await parts.index.instances_by_sop_uid(partition_of(request), uids)
    by_uid = {one.sop_uid: one for one in stored if one.study_uid == instance.study_uid}
    state = await read_state(request, instance)
    options = asked.options(choice.media_type)
    shown: list[Part] = []
    for image in images:
        found = by_uid.get(image.sop_instance_uid)
        table = None if found is None else FrameTable.unpack(found.frame_table)
        if found is None or table is None or kind_of(found, table) is not Kind.IMAGE:
            continue
        if not image.frames and is_animated(table, options):
            shown.append(_animation(parts.pictures, found, table, options, state))
        else:
            numbers = image.frames or range(1, table.count + 1)
            shown += _pictures(request, found, options, numbers, state)
    if not shown:
        raise NotFound("none of the images that the presentation state refers to is stored in its study")
    note_access(
        request,
        parts,
        ACCESS_KIND_RETRIEVE,
        partition=partition_of(request),
        study_uid=instance.study_uid,
        sop_uids=[uid for uid in dict.fromkeys(uids) if uid in by_uid],
    )
    return shown


def _animation(
    pictures: PictureMaker,
    instance: StoredInstance,
    table: FrameTable,
    options: RenderOptions,
    state: State | None,
) -> Part:
    async def make() -> Made:
        return Made(await pictures.animation(instance, table, options, state), options.media_type)

    return WholePart(options.media_type, make, weight=instance.size)


async def _report(request: Request, instance: StoredInstance, media_type: str) -> Part:
    report = read_report(await _document_of(request, instance))
    page = report_html(report, base_url(request)) if media_type == HTML else report_text(report)
    content_type = f"{media_type}; charset=utf-8"

    async def make() -> Made:
        return Made(page, content_type)

    return WholePart(content_type, make, weight=len(page), length=len(page))


async def _document(request: Request, instance: StoredInstance, table: FrameTable, media_type: str) -> Part:
    parts = components(request)
    value = await BulkReader(parts.frames).find(instance, table, _ENCAPSULATED_DOCUMENT)
    part = value.part(media_type, "")
    if not isinstance(part, WholePart) or not media_type.startswith("text/"):
        return part

    async def make() -> Made:
        # The byte that makes the value even is none of the text.
        made = await part.make()
        data = made.data.removesuffix(b"\0") if isinstance(made.data, bytes) else made.data
        return Made(data, media_type)

    return WholePart(media_type, make, weight=part.weight)


async def _document_of(request: Request, instance: StoredInstance) -> bytes:
    """Return the DICOM JSON object of an instance; raises ``NotFound``."""
    answer = await components(request).index.metadata(
        partition_of(request), instance.study_uid, instance.series_uid, instance.sop_uid
    )
    if not answer.objects:
        raise NotFound("nothing is stored under these UIDs")
    return answer.objects[0].replace(BASE_MARK, base_url(request).encode())
