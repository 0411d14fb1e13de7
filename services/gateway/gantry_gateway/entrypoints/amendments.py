"""What was decided about a study, for administrators: ``/admin/studies/{study}/amendments``.

``GET`` answers the decisions from the object store, where they are permanent; ``POST .../restore``
has shown again what a deletion hid.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
from gantry.access.v1.access_pb2 import ACCESS_KIND_CHANGE
from gantry.amendment.v1.amendment_pb2 import (
    AMENDMENT_KIND_HIDE,
    AMENDMENT_KIND_RESTORE,
    Amendment,
    AmendmentKind,
)
from gantry_access.policy import Action
from gantry_dicom.errors import BadRequest, NotFound
from gantry_objectstore.keys import is_partition
from gantry_objectstore.tombstones import tombstones
from gantry_telemetry.tracing import current_traceparent
from gantry_web.app import TemplateRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gantry_gateway.entrypoints.context import DEFAULT_PARTITION, authorise, components, uid_of
from gantry_gateway.entrypoints.recording import note_access

PATH = "/admin/studies/{study}/amendments"
RESTORE_PATH = "/admin/studies/{study}/restore"
_LONGEST_REASON = 500


async def list_amendments(request: Request) -> Response:
    """Answer a study's amendments, oldest first, as a JSON array; an empty one when there are none."""
    partition, study_uid = _place(request, {"partition"})
    authorise(request, Action.ADMINISTER, partition)
    found = await components(request).amender.history(partition, study_uid)
    undone = {each.undoes: each.revision for each in found if each.kind == AMENDMENT_KIND_RESTORE}
    documents = [_document(each, undone.get(each.revision)) for each in found]
    return Response(orjson.dumps(documents), media_type="application/json")


async def restore(request: Request) -> Response:
    """Undo the deletions of a study, or the one of ``revision``.

    Answers 200 when what comes back is on its way into the index, 202 when it will be without more
    being done, with the revisions undone; 404 when nothing (or not that) is hidden.
    """
    partition, study_uid = _place(request, {"partition", "revision", "reason"})
    principal = authorise(request, Action.ADMINISTER, partition)
    parts = components(request)
    reason = request.query_params.get("reason", "").strip()
    if not 0 < len(reason) <= _LONGEST_REASON:
        raise BadRequest(f"a reason of at most {_LONGEST_REASON} characters is needed")
    standing = _standing(
        await parts.amender.history(partition, study_uid), request.query_params.get("revision")
    )
    sop_uids = dict.fromkeys(each.sop_instance_uid for hide in standing for each in hide.receptions)
    note_access(
        request, parts, ACCESS_KIND_CHANGE, partition=partition, study_uid=study_uid, sop_uids=sop_uids
    )
    is_applied = True
    for hide in standing:
        amendment = Amendment(
            partition=partition,
            study_instance_uid=study_uid,
            kind=AMENDMENT_KIND_RESTORE,
            principal=principal.name,
            made_at_us=time.time_ns() // 1000,
            reason=reason,
            undoes=hide.revision,
            traceparent=current_traceparent(),
        )
        is_applied = await parts.amender.amend(amendment) and is_applied
    body = {"restored": [hide.revision for hide in standing], "instances": len(sop_uids)}
    return Response(orjson.dumps(body), status_code=200 if is_applied else 202, media_type="application/json")


def amendment_routes() -> list[Route]:
    """Return the routes of amendments."""
    return [
        TemplateRoute(PATH, list_amendments, methods=["GET"]),
        TemplateRoute(RESTORE_PATH, restore, methods=["POST"]),
    ]


def _place(request: Request, parameters: set[str]) -> tuple[str, str]:
    """Return partition and study of the request. Raises ``BadRequest``."""
    query = request.query_params
    partition, study_uid = query.get("partition", DEFAULT_PARTITION), uid_of(request, "study")
    if set(query) - parameters:
        raise BadRequest(f"the parameters are {', '.join(sorted(parameters))}")
    if not is_partition(partition):
        raise BadRequest("partition is the name of one")
    if study_uid is None:
        raise BadRequest("the path names no study")
    return partition, study_uid


def _standing(history: Sequence[Amendment], revision: str | None) -> list[Amendment]:
    """Return the deletions that can be undone, or the one asked for. Raises ``NotFound``."""
    if revision is not None and not (revision.isascii() and revision.isdigit()):
        raise BadRequest("revision is the number of a deletion")
    standing = tombstones(history)
    found = [
        each
        for each in history
        if each.kind == AMENDMENT_KIND_HIDE
        and standing.hidden_by(each.revision)
        and (revision is None or str(each.revision) == revision)
    ]
    if not found:
        raise NotFound("no deletion stands that could be undone")
    return found


def _document(amendment: Amendment, undone_by: int | None) -> dict[str, object]:
    made_at = datetime.fromtimestamp(amendment.made_at_us / 1e6, UTC)
    return {
        "revision": amendment.revision,
        "kind": AmendmentKind.Name(amendment.kind).removeprefix("AMENDMENT_KIND_").lower(),
        "principal": amendment.principal,
        "made": made_at.isoformat(timespec="seconds"),
        "reason": amendment.reason,
        "objects": len(amendment.receptions),
        "undoes": amendment.undoes or None,
        "undoneBy": undone_by,
    }
