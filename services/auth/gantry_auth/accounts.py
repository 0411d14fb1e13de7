"""Users and service clients: added, listed, revoked. A subject is never deleted, its name stays taken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from gantry_access.policy import Grant
from gantry_dicom.errors import BadRequest, Conflict, NotFound
from gantry_telemetry.logs import get_logger
from psycopg.errors import UniqueViolation

from gantry_auth import sessions
from gantry_auth.adapters.database import Connection, every, one
from gantry_auth.machine_secrets import digest
from gantry_auth.revocations import revoke_tokens_of
from gantry_auth.tokens import AUDIENCE

log = get_logger(__name__)

CLIENT_PREFIX = "client:"
GRANT_TYPES = ("client_credentials", "authorization_code", "refresh_token")
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class User:
    """A person who can log in unless ``revoked_at`` is set."""

    subject: str
    password_hash: str
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Client:
    """A program; without a secret it is a public one (RFC 6749 2.1)."""

    client_id: str
    subject: str
    secret_digest: bytes | None
    grant_types: list[str]
    redirect_uris: list[str]
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A subject as a list shows it."""

    name: str
    created_at: datetime
    revoked_at: datetime | None
    grants: list[str]


def check_name(name: str) -> str:
    """Return ``name`` when a user or client may have it. Raises ``BadRequest``."""
    if not _NAME.fullmatch(name):
        raise BadRequest("a name has 1 to 63 lower-case letters, digits and inner . _ @ -")
    return name


def find_user(connection: Connection, name: str) -> User | None:
    """Return the user of that name, also a revoked one."""
    return one(
        connection,
        User,
        "SELECT u.subject, u.password_hash, s.revoked_at FROM auth.users u"
        " JOIN auth.subjects s ON s.name = u.subject WHERE u.subject = %s",
        [name],
    )


def find_client(connection: Connection, client_id: str) -> Client | None:
    """Return the client of that id, unless it is revoked."""
    return one(
        connection,
        Client,
        "SELECT c.client_id, c.subject, c.secret_digest, c.grant_types, c.redirect_uris, s.revoked_at"
        " FROM auth.clients c JOIN auth.subjects s ON s.name = c.subject"
        " WHERE c.client_id = %s AND s.revoked_at IS NULL",
        [client_id],
    )


def grants_of(connection: Connection, subject: str) -> frozenset[Grant]:
    """Return what ``subject`` is granted, nothing when it is revoked."""
    rows = connection.execute(
        "SELECT g.role, g.partition FROM auth.grants g JOIN auth.subjects s ON s.name = g.subject"
        " WHERE g.subject = %s AND s.revoked_at IS NULL",
        [subject],
    ).fetchall()
    return frozenset(Grant(role, partition) for role, partition in rows)


def is_active(connection: Connection, subject: str) -> bool:
    """Whether there is such a subject, and it is not revoked."""
    row = connection.execute(
        "SELECT 1 FROM auth.subjects WHERE name = %s AND revoked_at IS NULL", [subject]
    ).fetchone()
    return row is not None


def list_users(connection: Connection) -> list[Listed]:
    """Return every user, revoked ones too, by name."""
    return _listed(connection, clients=False)


def list_clients(connection: Connection) -> list[Listed]:
    """Return every client, revoked ones too, by the name of its subject."""
    return _listed(connection, clients=True)


def add_user(
    connection: Connection, name: str, password_hash: str, grants: Sequence[Grant], now: datetime
) -> None:
    """Add a user. Raises ``BadRequest``, and ``Conflict`` for a name that is or was somebody's."""
    _add_subject(connection, check_name(name), grants, now)
    connection.execute(
        "INSERT INTO auth.users (subject, password_hash, password_changed_at) VALUES (%s, %s, %s)",
        [name, password_hash, now],
    )
    log.info("user_added", principal=name)


def add_client(
    connection: Connection,
    client_id: str,
    *,
    secret: str | None,
    grant_types: Sequence[str],
    redirect_uris: Sequence[str],
    grants: Sequence[Grant],
    now: datetime,
) -> None:
    """Add a client; without a secret it is public. Raises ``BadRequest``, ``Conflict``."""
    _check_client(check_name(client_id), secret, grant_types, redirect_uris, grants)
    subject = CLIENT_PREFIX + client_id
    _add_subject(connection, subject, grants, now)
    connection.execute(
        "INSERT INTO auth.clients (client_id, subject, secret_digest, grant_types, redirect_uris)"
        " VALUES (%s, %s, %s, %s, %s)",
        [client_id, subject, digest(secret) if secret else None, list(grant_types), list(redirect_uris)],
    )
    log.info("client_added", principal=subject)


def set_secret(connection: Connection, client_id: str, secret: str) -> None:
    """Give a client another secret."""
    connection.execute(
        "UPDATE auth.clients SET secret_digest = %s WHERE client_id = %s", [digest(secret), client_id]
    )


def set_password(connection: Connection, name: str, password_hash: str, now: datetime) -> None:
    """Set a password; what was open with the old one is closed. Raises ``NotFound``."""
    changed = connection.execute(
        "UPDATE auth.users SET password_hash = %s, password_changed_at = %s WHERE subject = %s",
        [password_hash, now, name],
    )
    if not changed.rowcount:
        raise NotFound("there is no such user")
    log.info("password_changed", principal=name)


def set_password_hash(connection: Connection, name: str, password_hash: str) -> None:
    """Keep the same password at today's costs."""
    connection.execute("UPDATE auth.users SET password_hash = %s WHERE subject = %s", [password_hash, name])


def set_grants(connection: Connection, subject: str, grants: Sequence[Grant]) -> None:
    """Replace what a subject is granted; see ``close_all``. Raises ``NotFound``."""
    if not is_active(connection, subject):
        raise NotFound("there is no such subject")
    connection.execute("DELETE FROM auth.grants WHERE subject = %s", [subject])
    _insert_grants(connection, subject, grants)
    log.info("grants_changed", principal=subject)


def revoke(connection: Connection, subject: str, now: datetime) -> None:
    """Let a subject do nothing any more; see ``close_all``. Raises ``NotFound``."""
    found = connection.execute(
        "UPDATE auth.subjects SET revoked_at = coalesce(revoked_at, %s) WHERE name = %s", [now, subject]
    )
    if not found.rowcount:
        raise NotFound("there is no such subject")
    log.info("subject_revoked", principal=subject)


def reinstate(connection: Connection, subject: str) -> None:
    """Let a revoked subject in again. Raises ``NotFound``."""
    found = connection.execute("UPDATE auth.subjects SET revoked_at = NULL WHERE name = %s", [subject])
    if not found.rowcount:
        raise NotFound("there is no such subject")


def close_all(
    connection: Connection, subject: str, *, reason: str, now: datetime, token_life: timedelta
) -> None:
    """End every session of ``subject`` and revoke all its tokens."""
    sessions.end_all_of(connection, subject, reason=reason, now=now)
    # A token may be dated a second ahead (tokens.issue_time), and verifiers have a leeway.
    revoke_tokens_of(connection, subject, now=now, forget_after=now + token_life + sessions.LEEWAY)


def _check_client(
    client_id: str,
    secret: str | None,
    grant_types: Sequence[str],
    redirect_uris: Sequence[str],
    grants: Sequence[Grant],
) -> None:
    if client_id == AUDIENCE:
        # The audience of an ID token is its client: it must not be that of access tokens.
        raise BadRequest(f"no client is called {AUDIENCE}")
    if not grant_types or not set(grant_types) <= set(GRANT_TYPES):
        raise BadRequest(f"a client has some of the grant types {', '.join(GRANT_TYPES)}")
    for_people = "authorization_code" in grant_types
    if "client_credentials" in grant_types and (secret is None or for_people):
        raise BadRequest("a client acts for itself, with a secret, or for people")
    if for_people != bool(redirect_uris):
        raise BadRequest("a client that acts for people, and no other, has redirect URIs")
    if grants and for_people:
        raise BadRequest("a client that acts for people has their grants, and none of its own")
    for uri in redirect_uris:
        parts = urlsplit(uri)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        if not safe or not parts.hostname or parts.fragment or not uri.isascii() or not uri.isprintable():
            raise BadRequest("a redirect URI is https, or http on loopback, without a fragment")


def _add_subject(connection: Connection, subject: str, grants: Sequence[Grant], now: datetime) -> None:
    try:
        with connection.transaction():
            connection.execute("INSERT INTO auth.subjects (name, created_at) VALUES (%s, %s)", [subject, now])
    except UniqueViolation:
        raise Conflict("that name is or was somebody's already") from None
    _insert_grants(connection, subject, grants)


def _insert_grants(connection: Connection, subject: str, grants: Sequence[Grant]) -> None:
    for grant in sorted(set(grants)):
        connection.execute(
            "INSERT INTO auth.grants (subject, role, partition) VALUES (%s, %s, %s)",
            [subject, grant.role, grant.partition],
        )


def _listed(connection: Connection, *, clients: bool) -> list[Listed]:
    return every(
        connection,
        Listed,
        "SELECT s.name, s.created_at, s.revoked_at,"
        " coalesce(array_agg(g.role || '@' || g.partition ORDER BY g.role, g.partition)"
        " FILTER (WHERE g.role IS NOT NULL), '{}') AS grants"
        " FROM auth.subjects s LEFT JOIN auth.grants g ON g.subject = s.name"
        " WHERE (s.name LIKE 'client:%%') = %s GROUP BY s.name ORDER BY s.name",
        [clients],
    )
