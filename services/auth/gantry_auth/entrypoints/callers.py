"""Who calls with a bearer token, checked against the database as it is now."""

from __future__ import annotations

from gantry.access.v1.access_pb2 import ACCESS_KIND_REFUSAL
from gantry_access.policy import EVERY_PARTITION, Action, Principal, Resource, decide
from gantry_access.roles import RULES
from gantry_access.tokens import Bearer, TokenVerifier
from gantry_dicom.errors import NotAllowed, NotAuthenticated
from starlette.requests import Request

from gantry_auth.entrypoints import web
from gantry_auth.service import Service
from gantry_auth.snapshot import compose

_NOBODY = "unknown"


def caller_of(service: Service, request: Request) -> Bearer:
    """Return whom the request's token speaks for. Raises ``NotAuthenticated``, ``Unavailable``."""
    header = request.headers.get("authorization")
    if header is None:
        raise NotAuthenticated("this needs a token", presented=False)
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise NotAuthenticated("the scheme of authentication is Bearer")
    # Such calls are few: a snapshot of this very moment knows of revocations that none was published of.
    with service.database.transaction() as connection:
        snapshot = compose(connection, service.settings, version=1, now=service.clock())
    return TokenVerifier(snapshot, clock=lambda: service.clock().timestamp()).verify(token.strip(" "))


def require_administrator(service: Service, request: Request) -> Bearer:
    """Return the caller when it may administer everything. Raises ``NotAuthenticated``, ``NotAllowed``."""
    try:
        bearer = caller_of(service, request)
    except NotAuthenticated as error:
        if error.presented:
            _record_refusal(service, request, _NOBODY, "not authenticated")
        raise
    principal = Principal(bearer.name, grants=bearer.grants)
    if not decide(RULES, principal, Action.ADMINISTER, Resource(EVERY_PARTITION)).allowed:
        _record_refusal(service, request, bearer.name, "not allowed")
        raise NotAllowed("this is for administrators of every partition")
    return bearer


def _record_refusal(service: Service, request: Request, principal: str, why: str) -> None:
    service.record(
        principal,
        web.address_of(request),
        operation=f"{request.method} {request.scope['route'].path}",
        outcome=why,
        kind=ACCESS_KIND_REFUSAL,
    )
