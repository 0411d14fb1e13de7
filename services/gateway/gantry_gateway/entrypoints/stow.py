"""STOW-RS: ``POST /studies`` and ``POST /studies/{study}`` (PS3.18 10.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus

from gantry.access.v1.access_pb2 import ACCESS_KIND_STORE
from gantry.reception.v1.reception_pb2 import CHANNEL_STOW, Source
from gantry_access.policy import Action
from gantry_dicom.errors import BadRequest, GantryError, NotAcceptable, UnsupportedMediaType
from gantry_telemetry.logs import get_logger
from gantry_web.problems import RETRY_AFTER_SECONDS
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gantry_gateway.entrypoints.context import authorise, base_url, components, partition_of, uid_of
from gantry_gateway.entrypoints.recording import note_access
from gantry_gateway.media_types import choose, parse_accept, parse_media_type
from gantry_gateway.stow_answer import PartResult, Stored, answer_body, answer_xml, status_of
from gantry_gateway.stow_intake import StowIntake
from gantry_gateway.stow_metadata import (
    DICOM_JSON,
    DICOM_XML,
    METADATA_TYPES,
    store_metadata_alone,
    store_metadata_parts,
)
from gantry_gateway.stow_parts import StowLimits

log = get_logger(__name__)

DICOM = "application/dicom"
# Content types of what can be stored.
STORABLE = tuple(
    content_type
    for root in (DICOM, *METADATA_TYPES)
    for content_type in (f'multipart/related; type="{root}"', root)
)
_TAKEN = f"the body must be one of {', '.join(STORABLE)}"


async def store_instances(request: Request) -> Response:
    """Store the instances of the body and answer what became of each."""
    principal = authorise(request, Action.STORE)
    answer_type = _answer_type(request)
    parts = components(request)
    settings = parts.settings
    intake = StowIntake(
        receiver=parts.receiver,
        verdicts=parts.verdicts,
        spool=parts.spool,
        limits=StowLimits(
            part_bytes=settings.stow_part_bytes,
            body_bytes=settings.stow_body_bytes,
            metadata_bytes=settings.stow_metadata_bytes,
            parallel=settings.stow_parallel,
            verdict_seconds=settings.verdict_seconds,
            gate=settings.gate_limits(),
        ),
        partition=partition_of(request),
        study_uid=uid_of(request, "study"),
        source=Source(channel=CHANNEL_STOW, peer_address=principal.peer_address, principal=principal.name),
    )
    results = await _take_in(request, intake)
    _note(request, results)
    intake.check_decided()
    return _answer(results, base_url(request), answer_type)


def _answer_type(request: Request) -> str:
    ranges = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    chosen = choose(ranges, (DICOM_JSON, "application/json", DICOM_XML))
    if chosen is None:
        raise NotAcceptable(f"a store is answered as {DICOM_JSON} or {DICOM_XML}")
    return DICOM_XML if chosen == DICOM_XML else DICOM_JSON


async def _take_in(request: Request, intake: StowIntake) -> list[PartResult]:
    header = request.headers.get("content-type")
    if header is None:
        raise UnsupportedMediaType(_TAKEN)
    content_type = parse_media_type(header)
    slots = components(request).metadata_slots
    if content_type.essence == DICOM:
        return await intake.store_single(_body(request))
    if content_type.essence in METADATA_TYPES:
        return await store_metadata_alone(intake, _body(request), content_type.essence, slots)
    if content_type.essence != "multipart/related":
        raise UnsupportedMediaType(_TAKEN)
    # PS3.18 8.7.3.5.1 and RFC 2387 3.1 ask for both.
    boundary, root = (content_type.parameters.get(name) for name in ("boundary", "type"))
    if boundary is None or root is None:
        raise BadRequest("multipart/related needs the parameters type and boundary")
    root = root.strip().lower()
    if root == DICOM:
        return await intake.store_multipart(_body(request), boundary)
    if root in METADATA_TYPES:
        return await store_metadata_parts(intake, _body(request), boundary, root, slots)
    raise UnsupportedMediaType(_TAKEN)


async def _body(request: Request) -> AsyncIterator[bytes]:
    """Yield the body; a client that hangs up has sent one that ends early: raises ``BadRequest``."""
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise BadRequest("the body ends early") from None


def _note(request: Request, results: list[PartResult]) -> None:
    studies: dict[str, list[str]] = {}
    for result in results:
        if isinstance(result, Stored):
            studies.setdefault(result.study_instance_uid, []).append(result.sop_instance_uid)
    for study_uid, sop_uids in studies.items():
        try:
            note_access(
                request,
                components(request),
                ACCESS_KIND_STORE,
                partition=partition_of(request),
                study_uid=study_uid,
                sop_uids=sop_uids,
            )
        except GantryError as trouble:
            # They are stored, and the journal says by whom: the sender must hear that.
            log.warning("store_not_recorded", reason=trouble.outcome.value)


def _answer(results: list[PartResult], base: str, answer_type: str) -> Response:
    status = status_of(results)
    write = answer_xml if answer_type == DICOM_XML else answer_body
    answer = Response(write(results, base), status_code=status, media_type=answer_type)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if any(isinstance(result, Stored) and not result.searchable for result in results):
        answer.headers.append("Warning", '299 gantry "stored safely; the index will have it later"')
    return answer
