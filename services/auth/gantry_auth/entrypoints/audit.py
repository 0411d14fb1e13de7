"""Access records for administrators: searched in their index, verified in the bucket.

Who looks is recorded too, before the answer.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

import orjson
from gantry.access.v1.access_pb2 import ACCESS_KIND_SEARCH
from gantry_access.audit_chain import Fault, WriterReport
from gantry_access.tokens import Bearer
from gantry_dicom.errors import BadRequest
from starlette.requests import Request
from starlette.responses import Response

from gantry_auth import audit_records
from gantry_auth.audit_records import KINDS, LONGEST_PAGE, Cursor, FoundRecord, RecordFilter
from gantry_auth.entrypoints import web
from gantry_auth.entrypoints.callers import require_administrator
from gantry_auth.service import Service

_DEFAULT_PAGE = 100
_PARAMETERS = frozenset({"from", "to", "actor", "action", "outcome", "partition", "study", "limit", "before"})


async def search_records(request: Request) -> Response:
    """Return the newest records that match, the newest first; ``Link`` leads to the page before."""
    service = web.service_of(request)

    def work() -> list[FoundRecord]:
        caller = require_administrator(service, request)
        wanted = _wanted(request)
        _record(service, request, caller, "audit search", wanted)
        with service.database.transaction() as connection:
            return list(audit_records.search(connection, wanted))

    found = await web.in_thread(work)
    response = _json([_shown(record) for record in found])
    if found and len(found) == _limit(request):
        asked = {name: value for name, value in request.query_params.items() if name != "before"}
        query = urlencode(asked | {"before": str(found[-1].cursor)})
        response.headers["Link"] = f'<{service.settings.issuer}/admin/audit?{query}>; rel="next"'
    return response


async def verify_records(request: Request) -> Response:
    """Check every batch in the bucket, or those of one writer, and say what is wrong with each."""
    service = web.service_of(request)

    def begin() -> str:
        caller = require_administrator(service, request)
        writer = _text(request, "writer")
        _record(service, request, caller, "audit verify", RecordFilter())
        return writer

    writer = await web.in_thread(begin)
    reports = await web.parts_of(request).audit.verify(writer)
    return _json([_reported(report, indexed) for report, indexed in reports])


def _record(service: Service, request: Request, caller: Bearer, operation: str, wanted: RecordFilter) -> None:
    service.record(
        caller.name,
        web.address_of(request),
        operation=operation,
        outcome="allowed",
        kind=ACCESS_KIND_SEARCH,
        partition=wanted.partition,
        study_uid=wanted.study_instance_uid,
    )


def _wanted(request: Request) -> RecordFilter:
    query = request.query_params
    if unknown := set(query) - _PARAMETERS:
        raise BadRequest(f"there is no parameter {min(unknown)[:50]}")
    kind = _text(request, "action")
    if kind and kind not in KINDS:
        raise BadRequest(f"an action is one of {', '.join(KINDS)}")
    before = _text(request, "before")
    return RecordFilter(
        since=_moment(request, "from"),
        until=_moment(request, "to"),
        principal=_text(request, "actor"),
        kind=kind,
        outcome=_text(request, "outcome"),
        partition=_text(request, "partition"),
        study_instance_uid=_text(request, "study"),
        before=Cursor.parse(before) if before else None,
        limit=_limit(request),
    )


def _text(request: Request, name: str) -> str:
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise BadRequest(f"the parameter {name} comes twice")
    return values[0] if values else ""


def _limit(request: Request) -> int:
    text = _text(request, "limit")
    if not text:
        return _DEFAULT_PAGE
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= LONGEST_PAGE):
        raise BadRequest(f"the limit is a number from 1 to {LONGEST_PAGE}")
    return int(text)


def _moment(request: Request, name: str) -> datetime | None:
    text = _text(request, name)
    if not text:
        return None
    try:
        # A plus that was not encoded comes as a space.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise BadRequest(f"{name} is a time as of ISO 8601") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _shown(record: FoundRecord) -> dict[str, object]:
    return {
        "writer": record.writer,
        "sequence": record.sequence,
        "occurred_at": record.occurred_at,
        "kind": record.kind,
        "principal": record.principal,
        "peer_address": record.peer_address,
        "partition": record.partition,
        "study_instance_uid": record.study_instance_uid,
        "instance_count": record.instance_count,
        "operation": record.operation,
        "outcome": record.outcome,
        "traceparent": record.traceparent,
    }


def _reported(report: WriterReport, indexed: int) -> dict[str, object]:
    faults = [problem.fault for problem in report.problems]
    return {
        "writer": report.writer,
        "batches": report.batches,
        "records": report.records,
        "indexed_up_to": indexed,
        "closed": report.closed,
        "last_sealed_at": report.last_sealed_at,
        "gaps": faults.count(Fault.GAP),
        "broken_links": faults.count(Fault.BROKEN_LINK),
        "problems": [
            {"object_key": problem.key, "fault": problem.fault, "what": problem.what}
            for problem in report.problems
        ],
    }


def _json(document: object) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")
