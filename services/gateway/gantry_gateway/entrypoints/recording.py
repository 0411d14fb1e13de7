"""No answer begins before the record of what it gives is durable.

Entry points note what they are about to give (``note_access``); this middleware holds the
first byte back until the notes are on the disk, and answers 503 when they cannot be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import Future

from gantry.access.v1.access_pb2 import ACCESS_KIND_REFUSAL, ACCESS_KIND_RETRIEVE, AccessKind
from gantry_access.policy import Principal
from gantry_dicom.errors import GantryError
from gantry_telemetry.logs import get_logger
from gantry_web.problems import on_gantry_error
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gantry_gateway.bootstrap import Components

log = get_logger(__name__)

_WRITES = "gantry.access.writes"
_CALLER = "gantry.access.caller"


class _NotRecorded(Exception):
    """Ends an endpoint whose answer was replaced."""


class RecordAccess:
    """Middleware: waits for the access records of a request before its answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        writes: list[Future[None]] = []
        scope[_WRITES] = writes
        replaced = False

        async def send_when_recorded(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and writes:
                try:
                    await asyncio.gather(*(asyncio.wrap_future(write) for write in writes))
                except GantryError as error:
                    replaced = True
                    answer = await on_gantry_error(Request(scope), error)
                    await answer(scope, receive, send)
                    raise _NotRecorded from error
            await send(message)

        try:
            await self.app(scope, receive, send_when_recorded)
        except Exception:
            if not replaced:
                raise


def remember_caller(request: Request, principal: Principal, rule: str) -> None:
    """Keep who was let through, and by which rule, for the records of this request."""
    request.scope[_CALLER] = (principal, rule)


def note_access(
    request: Request,
    parts: Components,
    kind: AccessKind,
    *,
    partition: str,
    study_uid: str | None = None,
    sop_uids: Iterable[str] = (),
) -> None:
    """Note what the caller is about to be given. Raises ``AccessLogFull``, ``AccessLogBroken``."""
    principal, rule = request.scope[_CALLER]
    if kind == ACCESS_KIND_RETRIEVE and study_uid:
        parts.looks.note(partition, study_uid)
    write = parts.access.note(
        kind,
        principal,
        operation=_operation(request),
        outcome=rule,
        partition=partition,
        study_uid=study_uid or "",
        sop_uids=sop_uids,
    )
    if write is not None:
        request.scope[_WRITES].append(write)


def note_refusal(request: Request, parts: Components, principal: Principal, error: GantryError) -> None:
    """Note that the caller was refused; never raises, a refusal stands in any case."""
    try:
        parts.access.note(
            ACCESS_KIND_REFUSAL, principal, operation=_operation(request), outcome=error.outcome.value
        )
    except GantryError as trouble:
        log.warning("refusal_not_recorded", reason=trouble.outcome.value)


def _operation(request: Request) -> str:
    return f"{request.method} {request.scope.get('gantry.route', '')}"
