"""The one policy point: a pure decision before every route and every DIMSE service.

Until the access service is there, the only policy is the named ``open_policy`` of a
loopback-only installation: it is chosen by a setting, never by omission, and denies
nothing. Callers must not go around ``require``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from gantry_dicom.errors import NotAllowed


class Action(Enum):
    """What a caller can want to do."""

    VERIFY = "verify"
    STORE = "store"
    SEARCH = "search"
    RETRIEVE = "retrieve"
    ADMINISTER = "administer"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a user, a service account or an AE title, and from where."""

    name: str
    peer_address: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """What is asked for; ``None`` means every one of the partition."""

    partition: str
    study_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, and the name of the rule that gave it."""

    allowed: bool
    rule: str


Policy = Callable[[Principal, Action, Resource], Decision]


def open_policy(principal: Principal, action: Action, resource: Resource) -> Decision:
    """Allow everything: a single machine on loopback, without login."""
    return Decision(allowed=True, rule="open")


def closed_policy(principal: Principal, action: Action, resource: Resource) -> Decision:
    """Allow nothing: what a service uses when no policy was chosen."""
    return Decision(allowed=False, rule="closed")


POLICIES: dict[str, Policy] = {"open": open_policy, "closed": closed_policy}


def require(policy: Policy, principal: Principal, action: Action, resource: Resource) -> None:
    """Raise ``NotAllowed`` unless ``policy`` lets ``principal`` do ``action`` on ``resource``."""
    decision = policy(principal, action, resource)
    if not decision.allowed:
        raise NotAllowed(f"the policy refuses {action.value} (rule {decision.rule})")
