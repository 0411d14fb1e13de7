"""Conflicts, for administrators: one SOP Instance UID with different bytes, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gantry.access.v1.access_pb2 import ACCESS_KIND_RETRIEVE, ACCESS_KIND_SEARCH
from gantry.index.v1.index_pb2 import VERDICT_STATE_INDEXED
from gantry_access.policy import Action
from gantry_dicom.errors import BadRequest, GantryError, NotFound, Unavailable
from gantry_index.conflicts import RivalReception, list_conflicts, rival_receptions
from gantry_web.app import TemplateRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gantry_gateway.entrypoints.administration import administrator, json_answer, number_in
from gantry_gateway.entrypoints.context import components, may, uid_of
from gantry_gateway.entrypoints.findings import DEFAULT_LIMIT, MOST, MOST_NUMBER, flag_in, study_in
from gantry_gateway.entrypoints.quarantine import source_document
from gantry_gateway.entrypoints.recording import note_access
from gantry_gateway.object_headers import Document, differences, read_header

PATH = "/admin/conflicts"
SHOW_PATH = "/admin/conflicts/{instance}"
# Receptions of one UID that are compared.
_COMPARED = 8


async def list_(request: Request) -> Response:
    """Answer the instances in conflict, found last first; with ``closed=true`` also those looked at."""
    partition, _ = administrator(request, {"study", "closed", "limit", "before"})
    query = request.query_params
    parts, study_uid = components(request), study_in(request)
    before = query.get("before")
    found = await list_conflicts(
        parts.pool,
        partition,
        number_in(query.get("limit", str(DEFAULT_LIMIT)), "limit", MOST),
        study_uid=study_uid,
        with_closed=flag_in(request, "closed"),
        before=number_in(before, "before", MOST_NUMBER) if before is not None else None,
    )
    note_access(request, parts, ACCESS_KIND_SEARCH, partition=partition, study_uid=study_uid)
    return json_answer(
        [
            {
                "instance": one.sop_uid,
                "studies": one.study_uids,
                "kinds": one.kinds,
                "found": one.found_at.isoformat(timespec="seconds"),
                "newest": one.newest,
            }
            for one in found
        ]
    )


async def show(request: Request) -> Response:
    """Answer what came under a UID side by side, with what differs for those who may retrieve it."""
    partition, principal = administrator(request, set())
    sop_uid = uid_of(request, "instance")
    if sop_uid is None:
        raise BadRequest("the path names no instance")
    parts = components(request)
    rivals = await rival_receptions(parts.pool, partition, sop_uid)
    if not rivals:
        raise NotFound("nothing was received under this UID")
    may_see = may(request, principal, Action.RETRIEVE, partition)
    kind = ACCESS_KIND_RETRIEVE if may_see else ACCESS_KIND_SEARCH
    for study_uid in sorted({one.study_uid for one in rivals}):
        note_access(request, parts, kind, partition=partition, study_uid=study_uid, sop_uids=[sop_uid])
    document: dict[str, object] = {
        "instance": sop_uid,
        "receptions": [_reception(one) for one in rivals],
    }
    if may_see:
        document |= await _compared(request, rivals[:_COMPARED])
    return json_answer(document)


def conflict_routes() -> list[Route]:
    """Return the routes of conflicts."""
    return [
        TemplateRoute(PATH, list_, methods=["GET"]),
        TemplateRoute(SHOW_PATH, show, methods=["GET"]),
    ]


async def _compared(request: Request, rivals: Sequence[RivalReception]) -> dict[str, object]:
    """Return in which attributes the receptions differ, or why that cannot be said."""
    parts = components(request)
    try:
        read: list[Document | None] = await asyncio.gather(
            *(read_header(parts.store, parts.workers, one.object_key, one.size) for one in rivals)
        )
    except Unavailable:
        raise
    except GantryError as error:
        return {"differences": None, "trouble": error.detail}
    documents = [document for document in read if document is not None]
    if len(documents) < len(rivals):
        return {"differences": None, "trouble": "too large to be read here"}
    # Pixels and other bulk data are told apart by the digests alone.
    return {"differences": differences(documents), "trouble": None}


def _reception(one: RivalReception) -> dict[str, object]:
    return {
        "objectKey": one.object_key,
        "isShown": one.state == VERDICT_STATE_INDEXED,
        "study": one.study_uid,
        "series": one.series_uid,
        "sopClass": one.sop_class_uid,
        "transferSyntax": one.transfer_syntax_uid,
        "size": one.size,
        "dataSetSha256": one.data_set_digest.hex(),
        "source": source_document(one.source),
        "replaces": one.replaces,
        "received": one.received_at.isoformat(timespec="seconds"),
    }
