"""The policy point before every association and every DIMSE service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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

# What each DIMSE service that we answer needs; a service that is not here has no handler.
SERVICE_ACTIONS: Mapping[str, Action] = {C_ECHO: Action.VERIFY, C_STORE: Action.STORE}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the association has it, and the partition of the title it called."""

    ae_title: str
    peer_address: str
    partition: str


def admit(access: Access, caller: Caller) -> None:
    """Raise ``NotAllowed`` unless ``caller`` may do something in its partition.

    Raises ``StalePolicy`` while the rules are not known.
    """
    try:
        principal = access.point.entity(caller.ae_title, caller.peer_address)
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
        principal = access.point.entity(caller.ae_title, caller.peer_address)
        decision = access.point.require(principal, SERVICE_ACTIONS[service], Resource(caller.partition))
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
