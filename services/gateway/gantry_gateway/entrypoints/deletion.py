"""DELETE of a study, series or instance: our extension of DICOMweb.

Hidden at once from every search and retrieval; the bytes stay in the object store until the
grace is over, and until then an administrator can have them shown again.
"""

from __future__ import annotations

import time

from gantry.access.v1.access_pb2 import ACCESS_KIND_CHANGE
from gantry.amendment.v1.amendment_pb2 import AMENDMENT_KIND_HIDE, Amendment
from gantry_access.policy import Action
from gantry_dicom.errors import BadRequest
from gantry_objectstore.amendments import MAX_RECEPTIONS
from gantry_telemetry.tracing import current_traceparent
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.entrypoints.absent import absence
from gantry_gateway.entrypoints.context import authorise, components, partition_of, uid_of
from gantry_gateway.entrypoints.recording import note_access

REASON = "deleted"


async def delete(request: Request) -> Response:
    """Answer 204 when it is hidden everywhere, 202 when it will be without more being done."""
    principal = authorise(request, Action.ADMINISTER)
    parts, partition = components(request), partition_of(request)
    study_uid = uid_of(request, "study")
    if study_uid is None:
        raise BadRequest("the path names no study")
    covered = await parts.index.covered(
        partition, study_uid, uid_of(request, "series"), uid_of(request, "instance")
    )
    if not covered:
        raise await absence(request)
    sop_uids = dict.fromkeys(reception.sop_instance_uid for reception in covered)
    note_access(
        request, parts, ACCESS_KIND_CHANGE, partition=partition, study_uid=study_uid, sop_uids=sop_uids
    )
    is_applied = True
    for first in range(0, len(covered), MAX_RECEPTIONS):
        amendment = Amendment(
            partition=partition,
            study_instance_uid=study_uid,
            kind=AMENDMENT_KIND_HIDE,
            principal=principal.name,
            made_at_us=time.time_ns() // 1000,
            reason=REASON,
            receptions=covered[first : first + MAX_RECEPTIONS],
            traceparent=current_traceparent(),
        )
        is_applied = await parts.amender.amend(amendment) and is_applied
    return Response(status_code=204 if is_applied else 202)
