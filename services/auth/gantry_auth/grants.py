"""Grants as texts, ``role@partition``, and the scopes that ask for a part of them."""

from __future__ import annotations

from collections.abc import Iterable

from gantry_access.policy import EVERY_PARTITION, Grant
from gantry_access.roles import ROLES
from gantry_dicom.errors import BadRequest
from gantry_objectstore.keys import is_partition

# Scopes that are no grants (OpenID Connect Core 3.1.2.1, 11).
PLAIN_SCOPES = frozenset({"openid", "profile", "offline_access"})
MAX_SCOPES = 64


class BadGrant(BadRequest, ValueError):
    """The text is no grant."""


class NotGranted(BadRequest):
    """What was asked for is not among what the subject has."""


def parse_grant(text: str) -> Grant:
    """Return the grant that ``role@partition`` says. Raises ``BadGrant``."""
    role, _, partition = text.partition("@")
    if role not in ROLES:
        raise BadGrant(f"a grant is role@partition with one of the roles {', '.join(ROLES)}")
    if partition != EVERY_PARTITION and not is_partition(partition):
        raise BadGrant("a grant is role@partition with the name of a partition, or * for every one")
    return Grant(role, partition)


def grant_text(grant: Grant) -> str:
    """Return the grant as tokens carry it."""
    return f"{grant.role}@{grant.partition}"


def scopes_of(scope: str | None) -> list[str]:
    """Return the single scopes of a scope parameter (RFC 6749 3.3)."""
    return (scope or "").split()


def is_scope(text: str) -> bool:
    """Whether ``text`` is a scope that can be asked for."""
    if text in PLAIN_SCOPES:
        return True
    try:
        parse_grant(text)
    except BadGrant:
        return False
    return True


def narrowed(held: Iterable[Grant], scope: str | None) -> frozenset[Grant]:
    """Return the grants that a token with ``scope`` carries: those asked for, or all.

    Raises ``NotGranted`` when one is asked for that no grant of ``held`` covers.
    """
    have = frozenset(held)
    wanted = [parse_grant(text) for text in scopes_of(scope) if text not in PLAIN_SCOPES]
    if not wanted:
        return have
    if not all(any(_covers(grant, one) for grant in have) for one in wanted):
        raise NotGranted("the scope asks for more than is granted")
    return frozenset(wanted)


def _covers(held: Grant, wanted: Grant) -> bool:
    # An administrator may do everything that any role may.
    return held.role in (wanted.role, "admin") and held.partition in (wanted.partition, EVERY_PARTITION)
