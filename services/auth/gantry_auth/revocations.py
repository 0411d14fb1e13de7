"""What every service must refuse although it is signed: kept until it would have expired."""

from __future__ import annotations

from datetime import datetime

from gantry_auth.adapters.database import Connection

FORGET_PER_ROUND = 1000


def revoke_token(connection: Connection, token_id: str, *, now: datetime, forget_after: datetime) -> None:
    """Revoke one token; that it is revoked already changes nothing."""
    connection.execute(
        "INSERT INTO auth.revocations (token_id, revoked_at, forget_after) VALUES (%s, %s, %s)"
        " ON CONFLICT (token_id) DO NOTHING",
        [token_id, now, forget_after],
    )


def revoke_tokens_of(connection: Connection, subject: str, *, now: datetime, forget_after: datetime) -> None:
    """Revoke every token of ``subject`` issued up to now."""
    connection.execute(
        "INSERT INTO auth.revocations (subject, revoked_at, forget_after) VALUES (%s, %s, %s)",
        [subject, now, forget_after],
    )


def last_revoked_at(connection: Connection, subject: str) -> datetime | None:
    """Return when the tokens of ``subject`` were last revoked, while that is remembered."""
    row = connection.execute(
        "SELECT max(revoked_at) FROM auth.revocations WHERE subject = %s", [subject]
    ).fetchone()
    return row[0] if row else None
