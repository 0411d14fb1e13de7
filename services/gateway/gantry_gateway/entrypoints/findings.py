"""What is wrong in the archive, for administrators: findings, their repair, and one study side by side.

Findings are read and closed in the index. What mends them, or reads the bucket, is asked of the storage
service, which alone has the right to write over an object.
"""

from __future__ import annotations

from datetime import UTC, datetime

from gantry.access.v1.access_pb2 import ACCESS_KIND_CHANGE, ACCESS_KIND_SEARCH
from gantry_dicom.errors import BadRequest, Conflict, NotFound
from gantry_dicom.uids import is_valid_uid
from gantry_index.findings import Finding, Wanted, close_finding, list_findings, read_finding
from gantry_index.records import FindingKind
from gantry_index.storage_requests import RequestKind
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
from gantry_gateway.entrypoints.context import components, uid_of
from gantry_gateway.entrypoints.recording import note_access

PATH = "/admin/findings"
FINDING_PATH = "/admin/findings/{finding}"
CLOSE_PATH = "/admin/findings/{finding}/close"
REPAIR_PATH = "/admin/findings/{finding}/repair"
RECONCILE_PATH = "/admin/studies/{study}/reconcile"
SCRUB_PATH = "/admin/scrub"

STATES = ("open", "closed", "all")
DEFAULT_LIMIT, MOST = 100, 1000
MOST_NUMBER = 2**63 - 1
_KINDS = frozenset(kind.value for kind in FindingKind)


async def list_(request: Request) -> Response:
    """Answer findings of a partition, newest first; ``before`` goes on below a number."""
    partition, _ = administrator(request, {"kind", "study", "state", "limit", "before"})
    query = request.query_params
    kind, state, before = query.get("kind"), query.get("state", "open"), query.get("before")
    if kind is not None and kind not in _KINDS:
        raise BadRequest(f"kind is one of {', '.join(sorted(_KINDS))}")
    if state not in STATES:
        raise BadRequest(f"state is one of {', '.join(STATES)}")
    wanted = Wanted(
        partition,
        kind,
        study_in(request),
        None if state == "all" else state == "open",
        number_in(before, "before", MOST_NUMBER) if before is not None else None,
    )
    limit = number_in(query.get("limit", str(DEFAULT_LIMIT)), "limit", MOST)
    parts = components(request)
    found = await list_findings(parts.pool, wanted, limit)
    note_access(request, parts, ACCESS_KIND_SEARCH, partition=partition, study_uid=wanted.study_uid)
    return json_answer([finding_document(finding) for finding in found])


async def show(request: Request) -> Response:
    """Answer one finding with its evidence."""
    partition, _ = administrator(request, set())
    finding = await _finding(request, partition)
    _note(request, finding, change=False)
    return json_answer(finding_document(finding))


async def close(request: Request) -> Response:
    """Close a finding with a reason; answers it. 409 when it was closed before."""
    partition, principal = administrator(request, {"reason"})
    reason = reason_in(request)
    finding = await _finding(request, partition)
    _note(request, finding, change=True)
    pool = components(request).pool
    if not await close_finding(pool, partition, finding.id, principal.name, reason):
        raise Conflict("the finding is closed")
    return json_answer(finding_document(await _finding(request, partition)))


async def repair(request: Request) -> Response:
    """Have mended what a finding is about; answers how. 409 when that cannot be done, with the reason."""
    partition, principal = administrator(request, set())
    finding = await _finding(request, partition)
    _note(request, finding, change=True)
    arguments = {"finding": finding.id}
    return await answer_of_storage(request, RequestKind.REPAIR, partition, principal, arguments)


async def reconcile(request: Request) -> Response:
    """Answer a study in the bucket, the manifests and the index side by side.

    ``digests=true`` reads every object, ``repair=true`` mends what differs, ``since`` reads all manifests
    from that moment on, for what the index has lost with its whole batch.
    """
    partition, principal = administrator(request, {"digests", "repair", "since"})
    study_uid = uid_of(request, "study")
    since = request.query_params.get("since")
    arguments = {
        "study": study_uid,
        "since": None if since is None else _moment(since).isoformat(),
        "digests": flag_in(request, "digests"),
        "repair": flag_in(request, "repair"),
    }
    kind = ACCESS_KIND_CHANGE if arguments["repair"] else ACCESS_KIND_SEARCH
    note_access(request, components(request), kind, partition=partition, study_uid=study_uid)
    return await answer_of_storage(request, RequestKind.RECONCILE, partition, principal, arguments)


async def scrub(request: Request) -> Response:
    """Have everything read again that was received ``since`` a day; answers how many days that are."""
    partition, principal = administrator(request, {"since"})
    since = _moment(request.query_params.get("since", ""))
    note_access(request, components(request), ACCESS_KIND_CHANGE, partition=partition)
    arguments = {"since": since.date().isoformat()}
    return await answer_of_storage(request, RequestKind.SCRUB, partition, principal, arguments)


def finding_routes() -> list[Route]:
    """Return the routes of findings, reconciliation and scrub."""
    return [
        TemplateRoute(PATH, list_, methods=["GET"]),
        TemplateRoute(FINDING_PATH, show, methods=["GET"]),
        TemplateRoute(CLOSE_PATH, close, methods=["POST"]),
        TemplateRoute(REPAIR_PATH, repair, methods=["POST"]),
        TemplateRoute(RECONCILE_PATH, reconcile, methods=["POST"]),
        TemplateRoute(SCRUB_PATH, scrub, methods=["POST"]),
    ]


def finding_document(finding: Finding) -> dict[str, object]:
    """Return what an administrator sees of a finding."""
    closed_at = finding.closed_at
    return {
        "finding": finding.id,
        "kind": finding.kind,
        "partition": finding.partition,
        "study": finding.study_uid or None,
        "series": finding.series_uid or None,
        "instance": finding.sop_uid or None,
        "objectKey": finding.object_key or None,
        "evidence": dict(finding.evidence),
        "found": finding.found_at.isoformat(timespec="seconds"),
        "seen": finding.seen_at.isoformat(timespec="seconds"),
        "attempts": finding.attempts,
        "trouble": finding.trouble,
        "closed": None
        if closed_at is None
        else {
            "at": closed_at.isoformat(timespec="seconds"),
            "by": finding.closed_by,
            "resolution": finding.resolution,
        },
    }


def study_in(request: Request) -> str | None:
    """Return the UID in the parameter ``study``, if there is one. Raises ``BadRequest``."""
    study_uid = request.query_params.get("study")
    if study_uid is not None and not is_valid_uid(study_uid):
        raise BadRequest("study is a UID")
    return study_uid


def flag_in(request: Request, name: str) -> bool:
    """Return a parameter that is true or false, as which it counts when missing. Raises ``BadRequest``."""
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise BadRequest(f"{name} is true or false")
    return text == "true"


def _moment(text: str) -> datetime:
    try:
        # A plus sign that nobody has encoded arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise BadRequest("since is a day or time of ISO 8601") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


async def _finding(request: Request, partition: str) -> Finding:
    number = number_in(request.path_params["finding"], "finding", MOST_NUMBER)
    finding = await read_finding(components(request).pool, partition, number)
    if finding is None:
        raise NotFound("there is no such finding")
    return finding


def _note(request: Request, finding: Finding, *, change: bool) -> None:
    note_access(
        request,
        components(request),
        ACCESS_KIND_CHANGE if change else ACCESS_KIND_SEARCH,
        partition=finding.partition,
        study_uid=finding.study_uid,
        sop_uids=[finding.sop_uid] if finding.sop_uid else [],
    )
