"""What entry points for administrators share: their partition, their words, and what storage answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from http import HTTPStatus

import orjson
from gantry_access.policy import Action, Principal
from gantry_dicom.errors import BadRequest, Conflict, TooLarge
from gantry_index.storage_requests import RequestKind, StorageRequest, ask_storage, read_request
from gantry_objectstore.keys import is_partition
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.entrypoints.context import DEFAULT_PARTITION, authorise, components

LONGEST_REASON = 500
_BODY_BYTES = 64 << 10
# How long an answer of the storage service is waited for, and between two looks.
_WAIT_SECONDS, _POLL_SECONDS = 20.0, 0.1


def administrator(request: Request, parameters: set[str]) -> tuple[str, Principal]:
    """Return the partition and who asks, who administers it. Raises ``BadRequest``, and as ``authorise``."""
    partition = request.query_params.get("partition", DEFAULT_PARTITION)
    principal = authorise(request, Action.ADMINISTER, partition)
    if set(request.query_params) - {"partition", *parameters}:
        raise BadRequest(f"the parameters are {', '.join(sorted({'partition', *parameters}))}")
    if not is_partition(partition):
        raise BadRequest("partition is the name of one")
    return partition, principal


def reason_in(request: Request) -> str:
    """Return the reason that a request gives. Raises ``BadRequest`` without one."""
    return checked_reason(request.query_params.get("reason", ""))


def checked_reason(text: object) -> str:
    """Return a reason without blanks around it. Raises ``BadRequest``."""
    reason = text.strip() if isinstance(text, str) else ""
    if not 0 < len(reason) <= LONGEST_REASON:
        raise BadRequest(f"a reason of at most {LONGEST_REASON} characters is needed")
    return reason


def number_in(text: str, name: str, most: int) -> int:
    """Return a parameter that is a number from 1 to ``most``. Raises ``BadRequest``."""
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:19]) <= most:
        raise BadRequest(f"{name} is a number from 1 to {most}")
    return int(text)


async def json_object(request: Request) -> Mapping[str, object]:
    """Return the JSON object in a request's body. Raises ``BadRequest`` and ``TooLarge``."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _BODY_BYTES:
            raise TooLarge("the body is too large")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise BadRequest("the body is a JSON object")
    return document


def json_answer(document: object, status: int = HTTPStatus.OK) -> Response:
    """Return ``document`` as JSON."""
    return Response(orjson.dumps(document), status_code=status, media_type="application/json")


async def answer_of_storage(
    request: Request,
    kind: RequestKind,
    partition: str,
    principal: Principal,
    arguments: Mapping[str, object],
) -> Response:
    """Ask the storage service and wait a while.

    Answers 200 with what it says, or 202 with the number under which that can be asked for later.
    Raises ``Conflict`` for what it refuses, and ``Unavailable``.
    """
    pool = components(request).pool
    number = await ask_storage(pool, kind, partition, arguments, principal.name)
    give_up_at = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < give_up_at:
        found = await read_request(pool, partition, number)
        if found is not None and found.ended_at is not None:
            return request_answer(found)
        await asyncio.sleep(_POLL_SECONDS)
    return json_answer({"request": number, "state": "waiting"}, HTTPStatus.ACCEPTED)


def request_answer(found: StorageRequest) -> Response:
    """Return what has become of a request. Raises ``Conflict`` for one that was refused."""
    if found.trouble is not None:
        raise Conflict(found.trouble)
    if found.ended_at is None:
        return json_answer({"request": found.id, "state": "waiting"}, HTTPStatus.ACCEPTED)
    return json_answer({"request": found.id, "state": "done", **(found.answer or {})})
