"""What a service asks: who is this, and may it? One per process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gantry_dicom.errors import NotAuthenticated, NotFound

from gantry_access.policy import (
    POLICIES,
    Action,
    Decision,
    Policy,
    Principal,
    Resource,
    decide,
    is_visible,
    require,
)
from gantry_access.roles import RULES

if TYPE_CHECKING:
    # Only who goes by snapshots loads what checks signatures.
    from gantry_access.feed import PolicyFeed

# The policy that goes by snapshots; the others are named in ``POLICIES``.
RULES_POLICY = "rules"
ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class AccessPoint:
    """Recognises callers and decides; ``feed`` is ``None`` under the policies open and closed."""

    feed: PolicyFeed | None
    policy: Policy

    def bearer(self, token: str | None, peer_address: str) -> Principal:
        """Return the caller of an HTTP request. Raises ``NotAuthenticated``, ``StalePolicy``.

        Under a named policy there is no login: everybody is nobody in particular.
        """
        if self.feed is None:
            return Principal(ANONYMOUS, peer_address)
        in_force = self.feed.current()
        if token is None:
            raise NotAuthenticated("this needs a login", presented=False)
        found = in_force.tokens.verify(token)
        return Principal(found.name, peer_address, found.grants)

    def entity(self, ae_title: str, peer_address: str, certificate: bytes | None = None) -> Principal:
        """Return the caller of a DIMSE service, who has shown ``certificate`` (DER, verified).

        Raises ``NotRegistered``, ``StalePolicy``.
        """
        if self.feed is None:
            return Principal(ae_title.strip(), peer_address)
        return self.feed.current().entities.principal(ae_title, peer_address, certificate)

    def require(self, principal: Principal, action: Action, resource: Resource) -> Decision:
        """Return the decision that allows; raises ``NotAllowed``.

        Raises ``NotFound`` where the caller may do nothing at all: that a partition exists is
        not for everybody to know. Raises ``StalePolicy``.
        """
        if self.feed is not None:
            self.feed.current()
            if not is_visible(RULES, principal, resource.partition):
                raise NotFound("there is no such partition")
        return require(self.policy, principal, action, resource)


def named_point(name: str) -> AccessPoint:
    """Return the point of a named policy; raises ``KeyError`` for a name that is none."""
    return AccessPoint(None, POLICIES[name])


def rules_point(feed: PolicyFeed) -> AccessPoint:
    """Return the point that goes by the snapshots of ``feed``."""
    return AccessPoint(feed, _by_rules)


def _by_rules(principal: Principal, action: Action, resource: Resource) -> Decision:
    return decide(RULES, principal, action, resource)
