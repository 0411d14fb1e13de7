"""WADO-RS: studies, series and instances as DICOM objects (PS3.18 10.4.1.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from gantry_access.policy import Action
from gantry_dicom.errors import NotAcceptable, NotFound
from gantry_index.records import StoredInstance
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gantry_gateway.entrypoints.context import authorise, components, partition_of, uid_of
from gantry_gateway.instance_stream import InstanceBody, Outgoing
from gantry_gateway.media_types import parse_accept
from gantry_gateway.representations import DICOM, choose_instance, delivery_of


async def retrieve(request: Request) -> Response:
    """Answer a study, a series or an instance with its objects."""
    authorise(request, Action.RETRIEVE)
    sop_uid = uid_of(request, "instance")
    ranges = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    choice = choose_instance(ranges, single_allowed=sop_uid is not None)
    instances = await find_instances(request)
    outgoing = [
        Outgoing(instance, delivery)
        for instance in instances
        if (delivery := delivery_of(instance.transfer_syntax_uid, choice.transfer_syntax)) is not None
    ]
    if not outgoing:
        raise NotAcceptable("no instance can be given in the transfer syntax asked for")
    parts = components(request)
    body = InstanceBody.of(parts.store, parts.workers, outgoing)
    if choice.single_part:
        return await _stream(
            body.single(), body.single_length, f"{DICOM}; transfer-syntax={outgoing[0].syntax}"
        )
    answer = await _stream(body.chunks(), body.length, body.content_type)
    if len(outgoing) < len(instances):
        # PS3.18 10.4.3: some of the instances cannot be given as asked.
        answer.status_code = 206
        missing = len(instances) - len(outgoing)
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
        raise NotFound("nothing is stored under these UIDs")
    return instances


async def _stream(chunks: AsyncIterator[bytes], length: int | None, content_type: str) -> Response:
    # The first piece is awaited before the status goes out: a missing object must be an
    # error status, not a 200 that breaks off.
    first = await anext(chunks)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    headers = {"Content-Type": content_type}
    if length is not None:
        headers["Content-Length"] = str(length)
    return StreamingResponse(whole(), headers=headers)
