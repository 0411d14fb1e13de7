"""WADO-RS: frames (PS3.18 10.4.1.6), as stored, as native samples or compressed without loss."""

from __future__ import annotations

from gantry.access.v1.access_pb2 import ACCESS_KIND_RETRIEVE
from gantry_access.policy import Action
from gantry_dicom.errors import NotFound
from gantry_dicom.frames import FrameTable
from gantry_index.records import StoredInstance
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.byte_ranges import strong_etag
from gantry_gateway.entrypoints.absent import absence
from gantry_gateway.entrypoints.context import authorise, components, partition_of, uid_of
from gantry_gateway.entrypoints.recording import note_access
from gantry_gateway.frames import parse_frame_list
from gantry_gateway.media_types import parse_accept
from gantry_gateway.outgoing import respond
from gantry_gateway.representations import choose_frame


async def retrieve_frames(request: Request) -> Response:
    """Answer the frames that the path lists, in its order; one that is not there fails them all."""
    authorise(request, Action.RETRIEVE)
    numbers = parse_frame_list(request.path_params["frames"])
    ranges = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    instance = await find_instance(request)
    table = FrameTable.unpack(instance.frame_table)
    if table.count == 0:
        raise NotFound("the instance has no frames")
    choice = choose_frame(ranges, instance.transfer_syntax_uid, table, single_allowed=len(numbers) == 1)
    frames = components(request).frames
    parts = [frames.part(instance, table, number, choice.target, choice.content_type) for number in numbers]
    etag = strong_etag("frames", instance.store_id, instance.object_key, numbers, choice)
    answer = await respond(request, parts, single=choice.single_part, etag=etag)
    components(request).study_traces.first_frame(partition_of(request), instance.study_uid)
    return answer


async def find_instance(request: Request) -> StoredInstance:
    """Return the instance that the path names; raises ``NotFound``."""
    study_uid, sop_uid = uid_of(request, "study"), uid_of(request, "instance")
    if study_uid is None or sop_uid is None:
        raise NotFound("the path names no instance")
    instance = await components(request).index.instance(
        partition_of(request), study_uid, uid_of(request, "series"), sop_uid
    )
    if instance is None:
        raise await absence(request)
    note_access(
        request,
        components(request),
        ACCESS_KIND_RETRIEVE,
        partition=partition_of(request),
        study_uid=study_uid,
        sop_uids=[sop_uid],
    )
    return instance
