"""WADO-RS: frames (PS3.18 10.4.1.6), as stored or as native samples."""

from __future__ import annotations

import asyncio

from gantry_access.policy import Action
from gantry_dicom.errors import BadRequest, NotFound
from gantry_dicom.frames import FrameTable
from gantry_index.records import StoredInstance
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.entrypoints.context import authorise, components, partition_of, uid_of
from gantry_gateway.frames import parse_frame_list
from gantry_gateway.media_types import parse_accept
from gantry_gateway.multipart import closing, new_boundary, part_head
from gantry_gateway.representations import Delivery, FrameChoice, choose_frame


async def retrieve_frames(request: Request) -> Response:
    """Answer the frames that the path lists, in its order."""
    authorise(request, Action.RETRIEVE)
    numbers = frame_numbers(request)
    ranges = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    instance = await find_instance(request)
    choice = choose_frame(ranges, instance.transfer_syntax_uid, single_allowed=len(numbers) == 1)
    table = FrameTable.unpack(instance.frame_table)
    frames = await asyncio.gather(*(_frame(request, instance, table, number, choice) for number in numbers))
    if choice.single_part:
        return Response(frames[0], headers={"Content-Type": choice.content_type})
    boundary = new_boundary()
    pieces: list[bytes] = []
    for position, frame in enumerate(frames):
        pieces.append(part_head(boundary, {"Content-Type": choice.content_type}, first=position == 0))
        pieces.append(frame)
    pieces.append(closing(boundary))
    media_type = choice.content_type.partition(";")[0]
    return Response(
        b"".join(pieces),
        headers={"Content-Type": f'multipart/related; type="{media_type}"; boundary={boundary}'},
    )


def frame_numbers(request: Request) -> list[int]:
    """Return the frame numbers in the path; raises ``BadRequest``."""
    try:
        return list(parse_frame_list(request.path_params["frames"]))
    except ValueError as error:
        raise BadRequest("the frame list is a list of numbers from 1, separated by commas") from error


async def find_instance(request: Request) -> StoredInstance:
    """Return the instance that the path names; raises ``NotFound``."""
    study_uid, sop_uid = uid_of(request, "study"), uid_of(request, "instance")
    if study_uid is None or sop_uid is None:
        raise NotFound("the path names no instance")
    instance = await components(request).index.instance(
        partition_of(request), study_uid, uid_of(request, "series"), sop_uid
    )
    if instance is None:
        raise NotFound("nothing is stored under these UIDs")
    return instance


async def _frame(
    request: Request, instance: StoredInstance, table: FrameTable, number: int, choice: FrameChoice
) -> bytes:
    frames = components(request).frames
    if choice.delivery is Delivery.AS_STORED:
        return (await frames.stored(instance, table, number)).data
    return await frames.native(instance, table, number)
