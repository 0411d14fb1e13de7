"""Storage commitment over HTTP (PS3.18 chapter 13): asked by POST, looked up by GET."""

from __future__ import annotations

import asyncio
import time

import orjson
from gantry.access.v1.access_pb2 import ACCESS_KIND_SEARCH
from gantry.commitment.v1.commitment_pb2 import CommitmentReport, CommitmentRequest
from gantry_access.policy import Action
from gantry_commitment.documents import references_of, report_document
from gantry_commitment.progress import carry_on
from gantry_dicom.errors import BadRequest, GantryError, NotAcceptable, TooLarge, UnsupportedMediaType
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import current_traceparent
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.bootstrap import Components
from gantry_gateway.entrypoints.context import authorise, components, partition_of, uid_of
from gantry_gateway.entrypoints.recording import note_access
from gantry_gateway.media_types import choose, parse_accept, parse_media_type

log = get_logger(__name__)

DICOM_JSON = "application/dicom+json"
_TAKEN = (DICOM_JSON, "application/json")
# A request for the largest number of instances, and the seconds in which a client is kept waiting.
_MAX_BODY_BYTES = 64 << 20
_ANSWER_WITHIN_SECONDS = 10.0
_ASK_AGAIN_SECONDS = 5


async def request_commitment(request: Request) -> Response:
    """Answer 200 with the report when it is there in time, else 202: then it is fetched later."""
    principal = authorise(request, Action.STORE)
    parts, partition = components(request), partition_of(request)
    _check_accept(request)
    transaction_uid = uid_of(request, "transaction") or ""
    record = CommitmentRequest(
        transaction_uid=transaction_uid,
        partition=partition,
        references=references_of(await _document(request)),
        principal=principal.name,
        requested_at_us=time.time_ns() // 1000,
        traceparent=current_traceparent(),
    )
    note_access(
        request,
        parts,
        ACCESS_KIND_SEARCH,
        partition=partition,
        sop_uids=[reference.sop_instance_uid for reference in record.references],
    )
    await parts.ledger.open(record)
    working = asyncio.create_task(_carry_on(parts, record))
    parts.background.add(working)
    working.add_done_callback(parts.background.discard)
    try:
        report = await asyncio.wait_for(asyncio.shield(working), _ANSWER_WITHIN_SECONDS)
    except TimeoutError:
        report = None
    return _answer(report)


async def check_commitment(request: Request) -> Response:
    """Answer the report of an earlier request, or 202 while there is none."""
    authorise(request, Action.STORE)
    _check_accept(request)
    transaction_uid = uid_of(request, "transaction") or ""
    commitment = await components(request).ledger.read(partition_of(request), transaction_uid)
    return _answer(commitment.report)


async def _carry_on(parts: Components, record: CommitmentRequest) -> CommitmentReport | None:
    """Return the report, or ``None`` when something is down: the storage service then goes on."""
    try:
        return await carry_on(parts.ledger, parts.verifier, record, patience_seconds=0.0)
    except GantryError as error:
        log.warning("commitment_left_to_later", reason=error.outcome.value)
        return None


def _answer(report: CommitmentReport | None) -> Response:
    if report is None:
        return Response(status_code=202, headers={"Retry-After": str(_ASK_AGAIN_SECONDS)})
    return Response(orjson.dumps([report_document(report)]), media_type=DICOM_JSON)


def _check_accept(request: Request) -> None:
    ranges = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    if choose(ranges, _TAKEN) is None:
        raise NotAcceptable(f"commitments are answered as {DICOM_JSON}")


async def _document(request: Request) -> object:
    content_type = parse_media_type(request.headers.get("content-type", "")).essence
    if content_type not in _TAKEN:
        raise UnsupportedMediaType(f"a commitment is requested as {DICOM_JSON}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise TooLarge("the request is too large")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest("the request is no JSON") from error
