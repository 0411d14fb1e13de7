"""WADO-RS: studies, series and instances as DICOM objects (PS3.18 10.4.1.1)."""

from __future__ import annotations

from gantry.access.v1.access_pb2 import ACCESS_KIND_RETRIEVE
from gantry_access.policy import Action
from gantry_dicom.errors import NotAcceptable, NotFound
from gantry_index.records import StoredInstance
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.byte_ranges import strong_etag
from gantry_gateway.entrypoints.absent import absence
from gantry_gateway.entrypoints.bulk_answers import respond_with_bulk_data
from gantry_gateway.entrypoints.context import authorise, components, partition_of, uid_of
from gantry_gateway.entrypoints.recording import note_access
from gantry_gateway.entrypoints.zip_answers import respond_with_zip
from gantry_gateway.instance_parts import InstanceParts
from gantry_gateway.media_types import parse_accept
from gantry_gateway.outgoing import partial_answer, respond
from gantry_gateway.representations import Form, choose_instance


async def retrieve(request: Request) -> Response:
    """Answer a study, a series or an instance with its objects."""
    authorise(request, Action.RETRIEVE)
    sop_uid = uid_of(request, "instance")
    ranges = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    choice = choose_instance(ranges, single_allowed=sop_uid is not None)
    instances = await find_instances(request)
    if choice.form is Form.BULK_DATA:
        # PS3.18 10.4.4: the same as the resource's bulk data.
        return await respond_with_bulk_data(request, instances, ranges)
    made_of = InstanceParts(components(request).frames, choice.wishes)
    given = [(instance, part) for instance in instances if (part := made_of.of(instance)) is not None]
    if not given:
        raise NotAcceptable("no instance can be given in the transfer syntax asked for")
    if choice.form is Form.ZIP:
        answer = await respond_with_zip(request, given)
    else:
        keys = [(instance.store_id, instance.object_key) for instance, _ in given]
        etag = strong_etag("instances", keys, choice)
        parts = [part for _, part in given]
        answer = await respond(request, parts, single=choice.form is Form.SINGLE, etag=etag)
    return partial_answer(answer, len(instances) - len(given), "instances are not in the transfer syntax")


async def find_instances(request: Request) -> list[StoredInstance]:
    """Return the instances that the path names; raises ``NotFound`` when there are none."""
    study_uid = uid_of(request, "study")
    if study_uid is None:
        raise NotFound("the path names no study")
    instances = await components(request).index.instances(
        partition_of(request), study_uid, uid_of(request, "series"), uid_of(request, "instance")
    )
    if not instances:
        raise await absence(request)
    note_access(
        request,
        components(request),
        ACCESS_KIND_RETRIEVE,
        partition=partition_of(request),
        study_uid=study_uid,
        sop_uids=[instance.sop_uid for instance in instances],
    )
    return instances
