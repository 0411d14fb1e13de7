"""Legal holds, for administrators: ``/admin/holds``.

They are records in the object store before anybody is told that they stand, so neither the loss of a
database nor a rebuild ends one.
"""

from __future__ import annotations

from datetime import UTC, datetime

from gantry.access.v1.access_pb2 import ACCESS_KIND_CHANGE
from gantry.retention.v1.retention_pb2 import (
    HOLD_SCOPE_PARTITION,
    HOLD_SCOPE_PATIENT,
    HOLD_SCOPE_STUDY,
    Hold,
    HoldLift,
    HoldScope,
)
from gantry_dicom.errors import BadRequest
from gantry_dicom.uids import is_valid_uid
from gantry_objectstore.holds import HoldState
from gantry_web.app import TemplateRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gantry_gateway.entrypoints.administration import (
    administrator,
    checked_reason,
    json_answer,
    json_object,
    reason_in,
)
from gantry_gateway.entrypoints.context import components
from gantry_gateway.entrypoints.recording import note_access

PATH = "/admin/holds"
LIFT_PATH = "/admin/holds/{hold}/lift"
_SCOPES = {"study": HOLD_SCOPE_STUDY, "patient": HOLD_SCOPE_PATIENT, "partition": HOLD_SCOPE_PARTITION}
_MEMBERS = {
    "study": {"scope", "reason", "study"},
    "patient": {"scope", "reason", "patientId", "issuer"},
    "partition": {"scope", "reason"},
}
# PS3.5 6.2: LO.
_LONGEST_PATIENT_ID = 64


async def list_holds(request: Request) -> Response:
    """Answer the holds of a partition, oldest first, as a JSON array; with ``all=true`` lifted ones too."""
    partition, _ = administrator(request, {"all"})
    everything = request.query_params.get("all", "false")
    if everything not in ("true", "false"):
        raise BadRequest("all is true or false")
    found = [
        state
        async for state in components(request).holds.all(partition)
        if state.lift is None or everything == "true"
    ]
    found.sort(key=lambda state: state.hold.hold)
    return json_answer([hold_document(state) for state in found])


async def place_hold(request: Request) -> Response:
    """Place a hold; answers 201 with it.

    The body is a JSON object: ``scope`` (study, patient or partition), ``reason``, and ``study`` or
    ``patientId`` and, if it matters, ``issuer``.
    """
    partition, principal = administrator(request, set())
    document = await json_object(request)
    scope = str(document.get("scope"))
    if scope not in _SCOPES:
        raise BadRequest(f"scope is one of {', '.join(sorted(_SCOPES))}")
    if set(document) - _MEMBERS[scope]:
        raise BadRequest(f"the members are {', '.join(sorted(_MEMBERS[scope]))}")
    hold = Hold(
        partition=partition,
        scope=HoldScope.Name(_SCOPES[scope]),
        principal=principal.name,
        reason=checked_reason(document.get("reason")),
    )
    if scope == "study":
        hold.study_instance_uid = str(document.get("study"))
        if not is_valid_uid(hold.study_instance_uid):
            raise BadRequest("study is a UID")
    elif scope == "patient":
        hold.patient_id = _identifier(document.get("patientId"), "patientId")
        hold.issuer_of_patient_id = _identifier(document["issuer"], "issuer") if "issuer" in document else ""
    parts = components(request)
    note_access(request, parts, ACCESS_KIND_CHANGE, partition=partition, study_uid=hold.study_instance_uid)
    return json_answer(hold_document(HoldState(await parts.holds.place(hold), None)), 201)


async def lift_hold(request: Request) -> Response:
    """Lift a hold; answers 200 with it, 404 when there is none, 409 when it was lifted before."""
    partition, principal = administrator(request, {"reason"})
    parts = components(request)
    lift = HoldLift(
        partition=partition,
        hold=request.path_params["hold"],
        principal=principal.name,
        reason=reason_in(request),
    )
    note_access(request, parts, ACCESS_KIND_CHANGE, partition=partition)
    hold = await parts.holds.lift(lift)
    return json_answer(hold_document(HoldState(hold, lift)))


def hold_routes() -> list[Route]:
    """Return the routes of holds."""
    return [
        TemplateRoute(PATH, _list_or_place, methods=["GET", "POST"]),
        TemplateRoute(LIFT_PATH, lift_hold, methods=["POST"]),
    ]


def hold_document(state: HoldState) -> dict[str, object]:
    """Return what an administrator sees of a hold."""
    hold, lift = state.hold, state.lift
    return {
        "hold": hold.hold,
        "partition": hold.partition,
        "scope": HoldScope.Name(hold.scope).removeprefix("HOLD_SCOPE_").lower(),
        "study": hold.study_instance_uid or None,
        "patientId": hold.patient_id or None,
        "issuer": hold.issuer_of_patient_id or None,
        "placed": _time(hold.placed_at_us),
        "by": hold.principal,
        "reason": hold.reason,
        "lifted": None
        if lift is None
        else {"at": _time(lift.lifted_at_us), "by": lift.principal, "reason": lift.reason},
    }


async def _list_or_place(request: Request) -> Response:
    return await (place_hold(request) if request.method == "POST" else list_holds(request))


def _identifier(value: object, name: str) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not 0 < len(text) <= _LONGEST_PATIENT_ID or not text.isprintable():
        raise BadRequest(f"{name} is a text of at most {_LONGEST_PATIENT_ID} characters")
    return text


def _time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="seconds")
