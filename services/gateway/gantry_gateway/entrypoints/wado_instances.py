"""WADO-RS: studies, series and instances as DICOM objects (PS3.18 10.4.1.1)."""

from __future__ import annotations

from gantry.access.v1.access_pb2 import ACCESS_KIND_RETRIEVE
from gantry_access.policy import Action
from gantry_dicom.errors import NotAcceptable, NotFound
from gantry_index.records import StoredInstance
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.entrypoints.absent import absence
from gantry_gateway.entrypoints.context import authorise, components, partition_of, uid_of
from gantry_gateway.entrypoints.recording import note_access
from gantry_gateway.instance_parts import InstanceParts
from gantry_gateway.media_types import parse_accept
from gantry_gateway.outgoing import respond
from gantry_gateway.representations import choose_instance


async def retrieve(request: Request) -> Response:
    """Answer a study, a series or an instance with its objects."""
    authorise(request, Action.RETRIEVE)
    sop_uid = uid_of(request, "instance")
    ranges = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    choice = choose_instance(ranges, single_allowed=sop_uid is not None)
    instances = await find_instances(request)
    made_of = InstanceParts(components(request).store, components(request).workers, choice.transfer_syntax)
    parts = [part for instance in instances if (part := made_of.of(instance)) is not None]
    if not parts:
        raise NotAcceptable("no instance can be given in the transfer syntax asked for")
    answer = await respond(request, parts, single=choice.single_part)
    missing = len(instances) - len(parts)
    if missing:
        # PS3.18 10.4.3: some of the instances cannot be given as asked.
        answer.status_code = 206
        answer.headers.append("Warning", f'299 gantry "{missing} instances are not in the transfer syntax"')
    return answer


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
