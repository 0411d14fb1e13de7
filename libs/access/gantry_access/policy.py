"""The one policy point: a pure decision before every route and every DIMSE service.

``decide`` weighs grants against a table of roles and denies what no grant allows. The named
policies ``open`` (a single machine on loopback, without login) and ``closed`` are chosen by a
setting, never by omission. Callers must not go around ``require``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from gantry_dicom.errors import NotAllowed

# In a grant: every partition.
EVERY_PARTITION = "*"


class Action(Enum):
    """What a caller can want to do."""

    VERIFY = "verify"
    STORE = "store"
    SEARCH = "search"
    RETRIEVE = "retrieve"
    ADMINISTER = "administer"


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """A role in one partition, or in every one (``*``)."""

    role: str
    partition: str


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a user, a service account or an AE title, from where, and with which grants."""

    name: str
    peer_address: str = ""
    grants: frozenset[Grant] = frozenset()


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


@dataclass(frozen=True, slots=True)
class Rules:
    """What each role may do; a role that is not in the table may do nothing."""

    roles: Mapping[str, frozenset[Action]]


Policy = Callable[[Principal, Action, Resource], Decision]


def decide(rules: Rules, principal: Principal, action: Action, resource: Resource) -> Decision:
    """Return whether a grant of ``principal`` allows ``action``; deny what none does.

    More grants never allow less, and a grant of one partition says nothing of another.
    """
    allowing = [
        grant
        for grant in principal.grants
        if _covers(grant, resource.partition) and _allows(rules, grant, action)
    ]
    if not allowing:
        return Decision(allowed=False, rule="no-grant")
    grant = min(allowing)
    return Decision(allowed=True, rule=f"{grant.role}@{grant.partition}")


def is_visible(rules: Rules, principal: Principal, partition: str) -> bool:
    """Whether ``principal`` may know that ``partition`` exists: it may do something there."""
    return any(_covers(grant, partition) and rules.roles.get(grant.role) for grant in principal.grants)


def open_policy(principal: Principal, action: Action, resource: Resource) -> Decision:
    """Allow everything: a single machine on loopback, without login."""
    return Decision(allowed=True, rule="open")


def closed_policy(principal: Principal, action: Action, resource: Resource) -> Decision:
    """Allow nothing: what a service uses when no policy was chosen."""
    return Decision(allowed=False, rule="closed")


POLICIES: dict[str, Policy] = {"open": open_policy, "closed": closed_policy}


def require(policy: Policy, principal: Principal, action: Action, resource: Resource) -> Decision:
    """Raise ``NotAllowed`` unless ``policy`` lets ``principal`` do ``action`` on ``resource``."""
    decision = policy(principal, action, resource)
    if not decision.allowed:
        raise NotAllowed(f"the policy refuses {action.value} (rule {decision.rule})")
    return decision


def _covers(grant: Grant, partition: str) -> bool:
    return bool(partition) and grant.partition in (partition, EVERY_PARTITION)


def _allows(rules: Rules, grant: Grant, action: Action) -> bool:
    return action in rules.roles.get(grant.role, frozenset())
