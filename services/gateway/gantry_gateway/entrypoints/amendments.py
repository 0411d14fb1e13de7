"""What is decided about studies and patients, for administrators.

``GET`` answers the decisions from the object store, where they are permanent, ``POST`` makes one more,
and another one undoes it; ``POST .../restore`` has shown again what a deletion hid. A patient is named
in the query or the body, never in a path.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import orjson
from gantry.access.v1.access_pb2 import ACCESS_KIND_CHANGE, ACCESS_KIND_SEARCH
from gantry.amendment.v1.amendment_pb2 import (
    AMENDMENT_KIND_HIDE,
    AMENDMENT_KIND_REJECT,
    AMENDMENT_KIND_RESTORE,
    AMENDMENT_KIND_UNDO,
    Amendment,
    AmendmentKind,
    PatientIdentity,
)
from gantry_access.policy import Action, Principal
from gantry_dicom.errors import BadRequest, NotFound
from gantry_objectstore.amendments import MAX_RECEPTIONS, scope_of
from gantry_objectstore.keys import amendment_scope, is_partition
from gantry_objectstore.tombstones import tombstones
from gantry_telemetry.tracing import current_traceparent
from gantry_web.app import TemplateRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gantry_gateway.amendment_requests import patient_amendment, patient_in, study_amendment, undoing
from gantry_gateway.entrypoints.absent import absence
from gantry_gateway.entrypoints.administration import (
    administrator,
    checked_reason,
    json_answer,
    json_object,
    number_in,
    reason_in,
)
from gantry_gateway.entrypoints.context import DEFAULT_PARTITION, authorise, components, uid_of
from gantry_gateway.entrypoints.recording import note_access

PATH = "/admin/studies/{study}/amendments"
RESTORE_PATH = "/admin/studies/{study}/restore"
UNDO_PATH = "/admin/studies/{study}/undo"
PATIENT_PATH = "/admin/patients/amendments"
PATIENT_UNDO_PATH = "/admin/patients/undo"

_LONGEST_REASON = 500
_MOST_REVISIONS = 2**31 - 1


async def list_amendments(request: Request) -> Response:
    """Answer a study's amendments, oldest first, as a JSON array; an empty one when there are none."""
    partition, study_uid = _place(request, {"partition"})
    authorise(request, Action.ADMINISTER, partition)
    found = await components(request).amender.history(partition, study_uid)
    return json_answer(_documents(found))


async def list_of_patient(request: Request) -> Response:
    """Answer the amendments of a patient, as ``list_amendments`` does."""
    partition, _ = administrator(request, {"patient", "issuer"})
    query, parts = request.query_params, components(request)
    patient = patient_in({"id": query.get("patient"), "issuer": query.get("issuer", "")}, "patient")
    note_access(request, parts, ACCESS_KIND_SEARCH, partition=partition)
    found = await parts.amender.history_of(partition, scope_of(Amendment(patient=patient)))
    return json_answer(_documents(found))


async def amend(request: Request) -> Response:
    """Correct, move, reject or hide a study, a series or an instance.

    The body is a JSON object: ``kind``, ``reason``, where it is about a part ``series`` and
    ``instance``, and ``attributes`` by keyword or tag, ``remove``, ``target`` or ``code`` by kind.
    Answers the revisions with 200 when every search says so, with 202 when it will without more
    being done; 404 when nothing of it is here.
    """
    partition, principal = administrator(request, set())
    study_uid = uid_of(request, "study") or ""
    body = await json_object(request)
    wanted = study_amendment(study_uid, body)
    wanted.reason = checked_reason(body.get("reason"))
    parts = components(request)
    covered = await parts.index.covered(
        partition, study_uid, wanted.series_instance_uid or None, wanted.sop_instance_uid or None
    )
    if not covered:
        raise await absence(request)
    sop_uids = dict.fromkeys(each.sop_instance_uid for each in covered)
    note_access(
        request, parts, ACCESS_KIND_CHANGE, partition=partition, study_uid=study_uid, sop_uids=sop_uids
    )
    if wanted.kind not in (AMENDMENT_KIND_HIDE, AMENDMENT_KIND_REJECT):
        return await _made(request, principal, partition, [wanted])
    parted = []
    for first in range(0, len(covered), MAX_RECEPTIONS):
        part = Amendment()
        part.CopyFrom(wanted)
        part.receptions.extend(covered[first : first + MAX_RECEPTIONS])
        parted.append(part)
    return await _made(request, principal, partition, parted)


async def amend_patient(request: Request) -> Response:
    """Correct a patient, or merge it into another one, also before anything of it has come.

    The body is a JSON object: ``kind``, ``reason``, ``patient`` with ``id`` and ``issuer``,
    ``attributes``, ``remove``, and ``into`` of a merge. Answers as ``amend`` does.
    """
    partition, principal = administrator(request, set())
    body = await json_object(request)
    wanted = patient_amendment(body)
    wanted.reason = checked_reason(body.get("reason"))
    note_access(request, components(request), ACCESS_KIND_CHANGE, partition=partition)
    return await _made(request, principal, partition, [wanted])


async def undo(request: Request) -> Response:
    """Undo the amendment ``revision`` of a study, for a ``reason``; answers as ``amend`` does.

    404 when there is none of that number, or it has been undone.
    """
    partition, principal = administrator(request, {"revision", "reason"})
    study_uid = uid_of(request, "study") or ""
    revision = request.query_params.get("revision", "")
    note_access(request, components(request), ACCESS_KIND_CHANGE, partition=partition, study_uid=study_uid)
    scope = amendment_scope(study_uid)
    return await _undone(request, principal, partition, scope, revision, reason_in(request))


async def undo_of_patient(request: Request) -> Response:
    """Undo an amendment of a patient: the body has ``patient``, ``revision`` and ``reason``."""
    partition, principal = administrator(request, set())
    body = await json_object(request)
    if set(body) - {"patient", "revision", "reason"}:
        raise BadRequest("the members are patient, reason, revision")
    patient: PatientIdentity = patient_in(body.get("patient"), "patient")
    reason, scope = checked_reason(body.get("reason")), scope_of(Amendment(patient=patient))
    note_access(request, components(request), ACCESS_KIND_CHANGE, partition=partition)
    return await _undone(request, principal, partition, scope, str(body.get("revision", "")), reason)


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
        TemplateRoute(PATH, _list_or_amend, methods=["GET", "POST"]),
        TemplateRoute(RESTORE_PATH, restore, methods=["POST"]),
        TemplateRoute(UNDO_PATH, undo, methods=["POST"]),
        TemplateRoute(PATIENT_PATH, _list_or_amend_patient, methods=["GET", "POST"]),
        TemplateRoute(PATIENT_UNDO_PATH, undo_of_patient, methods=["POST"]),
    ]


async def _list_or_amend(request: Request) -> Response:
    return await (amend(request) if request.method == "POST" else list_amendments(request))


async def _list_or_amend_patient(request: Request) -> Response:
    return await (amend_patient(request) if request.method == "POST" else list_of_patient(request))


async def _made(
    request: Request, principal: Principal, partition: str, amendments: Iterable[Amendment]
) -> Response:
    """Make amendments permanent one after another; the answer says their revisions."""
    is_applied, revisions = True, []
    for amendment in amendments:
        amendment.partition = partition
        amendment.principal = principal.name
        amendment.made_at_us = time.time_ns() // 1000
        amendment.traceparent = current_traceparent()
        is_applied = await components(request).amender.amend(amendment) and is_applied
        revisions.append(amendment.revision)
    return json_answer({"revisions": revisions}, 200 if is_applied else 202)


async def _undone(
    request: Request, principal: Principal, partition: str, scope: str, revision: str, reason: str
) -> Response:
    number = number_in(revision, "revision", _MOST_REVISIONS)
    found = await components(request).amender.history_of(partition, scope)
    amendment = next((each for each in found if each.revision == number), None)
    if amendment is None or number in {each.undoes for each in found}:
        raise NotFound("no amendment of that number stands")
    if amendment.kind == AMENDMENT_KIND_HIDE:
        _standing(found, revision)
    undo = undoing(amendment)
    undo.reason = reason
    return await _made(request, principal, partition, [undo])


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


def _documents(history: Sequence[Amendment]) -> list[dict[str, object]]:
    kinds = (AMENDMENT_KIND_RESTORE, AMENDMENT_KIND_UNDO)
    undone = {each.undoes: each.revision for each in history if each.kind in kinds}
    return [_document(each, undone.get(each.revision)) for each in history]


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
        "series": amendment.series_instance_uid or None,
        "instance": amendment.sop_instance_uid or None,
        "attributes": orjson.loads(amendment.attributes) if amendment.attributes else None,
        "removed": [f"{tag:08X}" for tag in amendment.removed_tags],
        "target": amendment.target_study_instance_uid or None,
        "into": {"id": amendment.into.patient_id, "issuer": amendment.into.issuer_of_patient_id}
        if amendment.HasField("into")
        else None,
        "code": amendment.rejection.value or None,
    }
