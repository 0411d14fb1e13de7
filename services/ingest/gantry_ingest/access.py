"""The policy point before every association and every DIMSE service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gantry.access.v1.access_pb2 import ACCESS_KIND_REFUSAL
from gantry_access.assembly import Access
from gantry_access.policy import Action, Decision, Principal, Resource, is_visible
from gantry_access.roles import RULES
from gantry_dicom.errors import GantryError, NotAllowed, NotFound
from gantry_telemetry.logs import get_logger

log = get_logger(__name__)

ASSOCIATION = "A-ASSOCIATE"
C_ECHO = "C-ECHO"
C_STORE = "C-STORE"
C_FIND = "C-FIND"
C_MOVE = "C-MOVE"
C_GET = "C-GET"
N_ACTION = "N-ACTION"

# What each DIMSE service that we answer needs; a service that is not here has no handler.
SERVICE_ACTIONS: Mapping[str, Action] = {
    C_ECHO: Action.VERIFY,
    C_STORE: Action.STORE,
    C_FIND: Action.SEARCH,
    C_MOVE: Action.RETRIEVE,
    C_GET: Action.RETRIEVE,
    # Storage commitment is part of storing, as over HTTP.
    N_ACTION: Action.STORE,
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the association has it, and the partition of the title it called."""

    ae_title: str
    peer_address: str
    partition: str
    # Of the peer's TLS certificate, in DER, when it has shown one.
    certificate: bytes | None = field(default=None, repr=False)
    # Of the user that the association was opened for (PS3.7 D.3.3.7): what is allowed, both may do.
    token: str = field(default="", repr=False)


def admit(access: Access, caller: Caller) -> None:
    """Raise ``NotAllowed`` unless ``caller`` may do something in its partition.

    Raises ``StalePolicy`` while the rules are not known.
    """
    try:
        principal = access.point.entity(caller.ae_title, caller.peer_address, caller.certificate)
        if access.point.feed is not None and not is_visible(RULES, principal, caller.partition):
            raise NotAllowed("the calling AE title has no rights in this partition")
    except GantryError as error:
        note_refusal(access, caller, ASSOCIATION, error)
        raise


def allow(access: Access, caller: Caller, service: str) -> tuple[Principal, Decision]:
    """Return who asks and the decision that allows ``service``.

    Asked for every message, so that what is revoked ends within an association too. Raises
    ``NotAllowed``, ``StalePolicy``.
    """
    try:
        principal = access.point.entity(caller.ae_title, caller.peer_address, caller.certificate)
        resource = Resource(caller.partition)
        decision = access.point.require(principal, SERVICE_ACTIONS[service], resource)
        if caller.token:
            # Each time anew: a token that has expired or was revoked ends within an association too.
            user = access.point.bearer(caller.token, caller.peer_address)
            access.point.require(user, SERVICE_ACTIONS[service], resource)
            principal = replace(principal, name=f"{user.name} at {principal.name}")
    except NotFound as error:
        note_refusal(access, caller, service, error)
        raise NotAllowed(error.detail) from None
    except GantryError as error:
        note_refusal(access, caller, service, error)
        raise
    return principal, decision


def note_refusal(access: Access, caller: Caller, operation: str, error: GantryError) -> None:
    """Note that a peer was refused; never raises, a refusal stands in any case."""
    try:
        access.note(
            ACCESS_KIND_REFUSAL,
            Principal(caller.ae_title.strip(), caller.peer_address),
            operation=operation,
            outcome=error.outcome.value,
            partition=caller.partition,
        )
    except GantryError as trouble:
        log.warning("refusal_not_recorded", reason=trouble.outcome.value)
