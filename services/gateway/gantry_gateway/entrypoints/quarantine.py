"""The quarantine, for administrators: received, and not indexable as it is.

Trying again changes nothing about the object. Rejecting is a decision kept in the object store: it is
hidden with a reason, nothing that is replayed brings it back, and it can be undone like any deletion.
"""

from __future__ import annotations

import time

from gantry.access.v1.access_pb2 import (
    ACCESS_KIND_CHANGE,
    ACCESS_KIND_RETRIEVE,
    ACCESS_KIND_SEARCH,
    AccessKind,
)
from gantry.amendment.v1.amendment_pb2 import AMENDMENT_KIND_HIDE, AmendedReception, Amendment
from gantry.reception.v1.reception_pb2 import Channel, Source
from gantry_access.policy import Action, Principal
from gantry_dicom.errors import BadRequest, GantryError, NotFound, Unavailable
from gantry_index.quarantine import QuarantinedObject, list_quarantined, read_quarantined
from gantry_index.storage_requests import RequestKind
from gantry_objectstore.errors import BadKey
from gantry_objectstore.keys import parse_object_key
from gantry_telemetry.tracing import current_traceparent
from gantry_web.app import TemplateRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gantry_gateway.entrypoints.administration import (
    administrator,
    answer_of_storage,
    json_answer,
    number_in,
    reason_in,
)
from gantry_gateway.entrypoints.context import components, may
from gantry_gateway.entrypoints.findings import DEFAULT_LIMIT, MOST, study_in
from gantry_gateway.entrypoints.recording import note_access
from gantry_gateway.object_headers import read_header, summary

PATH = "/admin/quarantine"
SHOW_PATH = "/admin/quarantine/objects/{object:path}"
RETRY_PATH = "/admin/quarantine/retry/{object:path}"
REJECT_PATH = "/admin/quarantine/reject/{object:path}"


async def list_(request: Request) -> Response:
    """Answer what is in quarantine, downwards by key; ``before`` goes on below a key."""
    partition, _ = administrator(request, {"study", "limit", "before"})
    query = request.query_params
    limit = number_in(query.get("limit", str(DEFAULT_LIMIT)), "limit", MOST)
    parts, study_uid = components(request), study_in(request)
    found = await list_quarantined(
        parts.pool, partition, limit, study_uid=study_uid, before=query.get("before")
    )
    note_access(request, parts, ACCESS_KIND_SEARCH, partition=partition, study_uid=study_uid)
    return json_answer([quarantined_document(one) for one in found])


async def show(request: Request) -> Response:
    """Answer one object, with what tells whose it is for those who may retrieve it."""
    partition, principal = administrator(request, set())
    one = await _object(request, partition)
    document = quarantined_document(one)
    if may(request, principal, Action.RETRIEVE, partition):
        _note(request, one, ACCESS_KIND_RETRIEVE)
        document["header"], document["headerTrouble"] = await _header(request, one)
    else:
        _note(request, one, ACCESS_KIND_SEARCH)
    return json_answer(document)


async def retry(request: Request) -> Response:
    """Have an object indexed again, its attempts counted anew; answers its verdict."""
    partition, principal = administrator(request, set())
    one = await _object(request, partition)
    _note(request, one, ACCESS_KIND_CHANGE)
    arguments = {"object": one.object_key}
    return await answer_of_storage(request, RequestKind.TRY_AGAIN, partition, principal, arguments)


async def reject(request: Request) -> Response:
    """Hide an object for good, with a reason; answers 202 when the index will know it later."""
    partition, principal = administrator(request, {"reason"})
    reason = reason_in(request)
    one = await _object(request, partition)
    _note(request, one, ACCESS_KIND_CHANGE)
    is_applied = await components(request).amender.amend(_rejection(one, principal, reason))
    return json_answer({"objectKey": one.object_key, "state": "tombstoned"}, 200 if is_applied else 202)


def quarantine_routes() -> list[Route]:
    """Return the routes of the quarantine."""
    return [
        TemplateRoute(PATH, list_, methods=["GET"]),
        TemplateRoute(SHOW_PATH, show, methods=["GET"]),
        TemplateRoute(RETRY_PATH, retry, methods=["POST"]),
        TemplateRoute(REJECT_PATH, reject, methods=["POST"]),
    ]


def quarantined_document(one: QuarantinedObject) -> dict[str, object]:
    """Return what an administrator sees of an object without opening it."""
    return {
        "objectKey": one.object_key,
        "partition": one.partition,
        "reason": one.reason,
        "attempts": one.attempts,
        "study": one.study_uid or None,
        "series": one.series_uid or None,
        "instance": one.sop_uid or None,
        "sopClass": one.sop_class_uid or None,
        "transferSyntax": one.transfer_syntax_uid or None,
        "size": one.size,
        "dataSetSha256": one.data_set_digest.hex(),
        "source": source_document(one.source),
        "received": one.received_at.isoformat(timespec="seconds"),
        "quarantined": one.decided_at.isoformat(timespec="seconds") if one.decided_at else None,
    }


def source_document(source: Source) -> dict[str, object]:
    """Return who sent an object."""
    return {
        "channel": Channel.Name(source.channel).removeprefix("CHANNEL_").lower(),
        "callingAE": source.calling_ae_title or None,
        "calledAE": source.called_ae_title or None,
        "address": source.peer_address or None,
        "principal": source.principal or None,
    }


def _rejection(one: QuarantinedObject, principal: Principal, reason: str) -> Amendment:
    reception = AmendedReception(
        object_key=one.object_key, series_instance_uid=one.series_uid, sop_instance_uid=one.sop_uid
    )
    return Amendment(
        partition=one.partition,
        study_instance_uid=one.study_uid,
        kind=AMENDMENT_KIND_HIDE,
        principal=principal.name,
        made_at_us=time.time_ns() // 1000,
        reason=reason,
        receptions=[reception],
        traceparent=current_traceparent(),
    )


async def _header(request: Request, one: QuarantinedObject) -> tuple[object, str | None]:
    parts = components(request)
    try:
        document = await read_header(parts.store, parts.workers, one.object_key, one.size)
    except Unavailable:
        raise
    except GantryError as error:
        return None, error.detail
    return (None, "too large to be read here") if document is None else (summary(document), None)


async def _object(request: Request, partition: str) -> QuarantinedObject:
    key = request.path_params["object"]
    try:
        named = parse_object_key(key)
    except BadKey:
        raise BadRequest("the path names no object") from None
    one = await read_quarantined(components(request).pool, key) if named.partition == partition else None
    if one is None:
        raise NotFound("no such object is in quarantine")
    return one


def _note(request: Request, one: QuarantinedObject, kind: AccessKind) -> None:
    note_access(
        request,
        components(request),
        kind,
        partition=one.partition,
        study_uid=one.study_uid,
        sop_uids=[one.sop_uid] if one.sop_uid else [],
    )
