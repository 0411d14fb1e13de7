"""Sessions: a login and the one line of refresh tokens that came of it.

A refresh token is good once. One that comes a second time has been stolen, from the client or
by it: the whole session ends, with every access token it has (RFC 9700 4.14.2).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from gantry_telemetry.logs import get_logger

from gantry_auth.adapters.database import Connection, one
from gantry_auth.machine_secrets import digest, new_secret
from gantry_auth.revocations import revoke_token
from gantry_auth.tokens import AccessToken

log = get_logger(__name__)

# How long beyond its end a verifier may still take a token: clocks differ.
LEEWAY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Session:
    """A login; ``client_id`` is ``None`` for a browser at our own pages."""

    session_id: uuid.UUID
    subject: str
    client_id: str | None
    scope: str
    authenticated_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """How long a session lasts after its last use, and after the login."""

    idle: timedelta
    longest: timedelta


class Refresh(Enum):
    """What a refresh token turned out to be."""

    GOOD = "good"
    UNKNOWN = "unknown"
    # Used a moment ago, by another tab of the same browser.
    JUST_USED = "just-used"
    REUSED = "reused"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class _Row:
    session_id: uuid.UUID
    subject: str
    client_id: str | None
    scope: str
    authenticated_at: datetime
    session_expires_at: datetime
    ended_at: datetime | None
    expires_at: datetime
    used_at: datetime | None


def begin(
    connection: Connection,
    *,
    subject: str,
    client_id: str | None,
    scope: str,
    authenticated_at: datetime,
    times: SessionTimes,
) -> Session:
    """Begin a session, without a refresh token yet."""
    session = Session(
        uuid.uuid4(), subject, client_id, scope, authenticated_at, authenticated_at + times.longest
    )
    connection.execute(
        "INSERT INTO auth.sessions (session_id, subject, client_id, scope, authenticated_at, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        [session.session_id, subject, client_id, scope, authenticated_at, session.expires_at],
    )
    log.info("session_begun", principal=subject, kind="client" if client_id else "browser")
    return session


def new_refresh_token(connection: Connection, session: Session, *, now: datetime, times: SessionTimes) -> str:
    """Return the session's next refresh token."""
    token = new_secret()
    connection.execute(
        "INSERT INTO auth.refresh_tokens (digest, session_id, expires_at) VALUES (%s, %s, %s)",
        [digest(token), session.session_id, min(session.expires_at, now + times.idle)],
    )
    return token


def note_access_token(connection: Connection, session: Session, token: AccessToken) -> None:
    """Remember an access token of the session, for the day the session is ended."""
    connection.execute(
        "INSERT INTO auth.access_tokens (token_id, session_id, expires_at) VALUES (%s, %s, %s)",
        [token.token_id, session.session_id, token.expires_at],
    )


def look_at(
    connection: Connection, refresh_token: str, *, now: datetime, grace: timedelta = timedelta(0)
) -> tuple[Refresh, Session | None]:
    """Say what a refresh token is; its session stays locked until the transaction ends.

    A used one ends its session, unless it was used within ``grace``. Nothing is used up yet.
    """
    row = one(
        connection,
        _Row,
        "SELECT s.session_id, s.subject, s.client_id, s.scope, s.authenticated_at,"
        " s.expires_at AS session_expires_at, s.ended_at, t.expires_at, t.used_at"
        " FROM auth.refresh_tokens t JOIN auth.sessions s USING (session_id)"
        " WHERE t.digest = %s FOR UPDATE",
        [digest(refresh_token)],
    )
    if row is None:
        return Refresh.UNKNOWN, None
    session = Session(
        row.session_id, row.subject, row.client_id, row.scope, row.authenticated_at, row.session_expires_at
    )
    if row.ended_at is not None or now >= row.session_expires_at:
        return Refresh.ENDED, session
    if row.used_at is not None and now >= row.used_at + grace:
        log.warning("refresh_token_reused", principal=row.subject)
        end(connection, row.session_id, reason="reuse", now=now)
        return Refresh.REUSED, session
    if row.used_at is not None:
        return Refresh.JUST_USED, session
    return (Refresh.GOOD if now < row.expires_at else Refresh.ENDED), session


def use_up(connection: Connection, refresh_token: str, *, now: datetime) -> None:
    """Note that the refresh token has been used."""
    connection.execute(
        "UPDATE auth.refresh_tokens SET used_at = %s WHERE digest = %s AND used_at IS NULL",
        [now, digest(refresh_token)],
    )


def end(connection: Connection, session_id: uuid.UUID, *, reason: str, now: datetime) -> None:
    """End a session and revoke every access token of it that is still good."""
    ended = connection.execute(
        "UPDATE auth.sessions SET ended_at = %s, end_reason = %s WHERE session_id = %s AND ended_at IS NULL"
        " RETURNING subject",
        [now, reason, session_id],
    ).fetchone()
    if ended is None:
        return
    tokens = connection.execute(
        "SELECT token_id, expires_at FROM auth.access_tokens WHERE session_id = %s AND expires_at > %s",
        [session_id, now - LEEWAY],
    ).fetchall()
    for token_id, expires_at in tokens:
        revoke_token(connection, token_id, now=now, forget_after=expires_at + LEEWAY)
    log.info("session_ended", principal=ended[0], reason=reason)


def end_all_of(connection: Connection, subject: str, *, reason: str, now: datetime) -> None:
    """End every session of ``subject``."""
    rows = connection.execute(
        "SELECT session_id FROM auth.sessions WHERE subject = %s AND ended_at IS NULL", [subject]
    ).fetchall()
    for (session_id,) in rows:
        end(connection, session_id, reason=reason, now=now)
